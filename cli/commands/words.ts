/** `korora countersign|submit`: what two operators must sign, where the trust bundle says so. */
import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Envelope } from '../../domain/envelope.js';
import { problemOf, refuse } from '../../domain/failures.js';
import { type GlobalOptions, command, print, withClient } from '../context.js';

export const DRAFT_OPTION = ['--draft <file>', 'sign it, write it to this file and send it to nobody: for another operator to countersign'] as const;

export function addWordCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();

  program
    .command('countersign')
    .description('add your signature to a fence or a reinstatement that another operator drafted')
    .argument('<file>')
    .action(command(globals, async (file: string) => {
      const draft = await readDraft(file);
      await writeDraft(file, await withClient(globals(), (client) => client.countersign(draft)));
      print(globals(), { signed: file }, () => `${file} is signed by two; see \`korora submit ${file}\``);
    }));

  program
    .command('submit')
    .description('send a fence or a reinstatement that was drafted and countersigned')
    .argument('<file>')
    .action(command(globals, async (file: string) => {
      const signed = await readDraft(file);
      const findings = await withClient(globals(), (client) => client.submit(signed));
      print(globals(), { submitted: file, findings }, () => [`${file} was taken`, ...findings.map(({ vmId, found, done }) => `VM ${vmId}: ${found}; ${done}`)].join('\n'));
    }));
}

/** HOST_COMMAND_FAILED. */
export async function writeDraft(file: string, envelope: Envelope): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(envelope)}\n`, { mode: 0o600 });
  } catch (error) {
    throw refuse('HOST_COMMAND_FAILED', { command: `writing ${file}`, host: 'this machine', problem: problemOf(error) }, error);
  }
}

/** ORDER_INVALID. */
async function readDraft(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw refuse('ORDER_INVALID', { problem: `${file}: ${problemOf(error)}` }, error);
  }
}
