/** `korora migrate|watch|abort|fence|limits`: order a move, follow it, end it, tune it. */
import { type Command, InvalidArgumentError } from 'commander';
import { type KororaClient, MigrationFailedError } from '../../client/index.js';
import { type AutoConverge, type CopyLimits, DEFAULT_AUTO_CONVERGE } from '../../domain/progress.js';
import { visibleLine } from '../../domain/visible.js';
import { type GlobalOptions, command, print, withClient } from '../context.js';
import { follow } from '../follow.js';
import { renderResult } from '../render.js';
import { say, sayJson, terminalScreen } from '../terminal.js';
import { DRAFT_OPTION, writeDraft } from './words.js';

interface LimitOptions {
  readonly downtimeLimit?: number;
  readonly bandwidth?: number;
  readonly maxRounds?: number;
  readonly stallRounds?: number;
}

interface MigrateOptions extends LimitOptions {
  readonly to: string;
  readonly autoConverge?: true | AutoConverge;
  readonly approveBeforeStop?: boolean;
  readonly detach?: boolean;
}

export function addMigrateCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();

  withLimits(program.command('migrate'))
    .description('move a running VM to another host and follow the move')
    .argument('<vm>')
    .requiredOption('--to <host>', 'destination')
    .option('--auto-converge [percents]', `slow the guest each time that the copy stalls, to these percent of its time: at first, more each time, at most (default ${percentsOf(DEFAULT_AUTO_CONVERGE)})`, autoConverge)
    .option('--approve-before-stop', 'hold the copy, the guest running, until `korora approve`')
    .option('--detach', 'order the move and return')
    .action(command(globals, async (vmId: string, options: MigrateOptions) => {
      await withClient(globals(), async (client) => {
        const started = await client.migrate({ vmId, destination: options.to, limits: { ...limitsIn(options), ...slowingIn(options) }, requiresApproval: options.approveBeforeStop ?? false });
        const said = visibleLine(`move ${started.migrationId} of ${vmId} from ${started.source} to ${started.destination}`);
        if (options.detach) return print(globals(), started, () => said);
        if (!globals().json) say(said);
        await followToResult(client, vmId, started.runId);
      });
    }));

  program
    .command('watch')
    .description('follow the move of a VM, or see how the last one ended')
    .argument('<vm>')
    .action(command(globals, (vmId: string) => withClient(globals(), (client) => followToResult(client, vmId, undefined))));

  program
    .command('abort')
    .description('abort the move of a VM; taken until the source has stopped')
    .argument('<vm>')
    .option('--reason <text>', 'why, for the record', 'an operator aborted it')
    .action(command(globals, async (vmId: string, options: { reason: string }) => {
      await withClient(globals(), (client) => client.abort(vmId, options.reason));
      print(globals(), { aborted: vmId }, ({ aborted }) => `abort of ${aborted} is under way; see \`korora watch ${aborted}\``);
    }));

  program
    .command('fence')
    .description('say that a host is powered off, so that a move which waits for it in vain can end without it')
    .argument('<vm>')
    .requiredOption('--host <host>', 'the host; it must be off, and stay off until its worker is started again')
    .requiredOption('--reason <text>', 'how you know, for the record')
    .option(...DRAFT_OPTION)
    .action(command(globals, async (vmId: string, { host, reason, draft }: { host: string; reason: string; draft?: string }) => {
      if (draft !== undefined) {
        await writeDraft(draft, await withClient(globals(), (client) => client.draftFence(vmId, { host, reason })));
        return print(globals(), { draft }, () => `drafted in ${draft}, for another operator: \`korora countersign ${draft}\``);
      }
      await withClient(globals(), (client) => client.fence(vmId, { host, reason }));
      print(globals(), { fenced: host, vmId }, ({ fenced, vmId }) => `the move of ${vmId} ends without ${fenced}; see \`korora vm show ${vmId}\``);
    }));

  withLimits(program.command('limits'))
    .description('change the limits of a move while its rounds run')
    .argument('<vm>')
    .action(command(globals, async (vmId: string, options: LimitOptions) => {
      const limits = await withClient(globals(), (client) => client.setLimits(vmId, limitsIn(options)));
      print(globals(), limits, () => `limits of ${vmId}: downtime ${limits.downtimeLimitMs} ms, bandwidth ${limits.bandwidthBytesPerSecond ?? 'unlimited'} bytes/s, ${limits.maxRounds} rounds, stalled after ${limits.stallRounds}`);
    }));

  async function followToResult(client: KororaClient, vmId: string, runId: string | undefined): Promise<void> {
    if (globals().json) for await (const view of client.watch(vmId, runId)) sayJson(view);
    else await follow(client, vmId, runId, terminalScreen());
    try {
      const result = await client.result(vmId, runId);
      print(globals(), { result }, (shown) => renderResult(shown.result));
    } catch (error) {
      if (error instanceof MigrationFailedError && error.result) {
        const { result } = error;
        print(globals(), { result }, (shown) => renderResult(shown.result));
      }
      throw error;
    }
  }
}

function withLimits(command: Command): Command {
  return command
    .option('--downtime-limit <ms>', 'longest pause to plan for, in ms; shorter ones are tried first', wholeNumber)
    .option('--bandwidth <bytes>', 'most bytes a second', wholeNumber)
    .option('--max-rounds <number>', 'give up after so many memory rounds', wholeNumber)
    .option('--stall-rounds <number>', 'give up, or slow the guest, after so many rounds in a row that left no less to send', wholeNumber);
}

function limitsIn({ downtimeLimit, bandwidth, maxRounds, stallRounds }: LimitOptions): Partial<CopyLimits> {
  return {
    ...(downtimeLimit === undefined ? {} : { downtimeLimitMs: downtimeLimit }),
    ...(bandwidth === undefined ? {} : { bandwidthBytesPerSecond: bandwidth }),
    ...(maxRounds === undefined ? {} : { maxRounds }),
    ...(stallRounds === undefined ? {} : { stallRounds }),
  };
}

function slowingIn({ autoConverge: wish }: MigrateOptions): Partial<CopyLimits> {
  if (wish === undefined) return {};
  return { autoConverge: wish === true ? DEFAULT_AUTO_CONVERGE : wish };
}

function autoConverge(text: string): AutoConverge {
  const [, initialPercent, incrementPercent, maxPercent] = /^(\d+),(\d+),(\d+)$/.exec(text) ?? [];
  if (maxPercent === undefined) throw new InvalidArgumentError('not three whole numbers with commas between');
  return { initialPercent: Number(initialPercent), incrementPercent: Number(incrementPercent), maxPercent: Number(maxPercent) };
}

function percentsOf({ initialPercent, incrementPercent, maxPercent }: AutoConverge): string {
  return [initialPercent, incrementPercent, maxPercent].join(',');
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('not a whole number');
  return Number(text);
}
