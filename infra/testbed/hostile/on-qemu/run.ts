/** One run on QEMU: an honest move, somebody who owns Temporal beside it, and what must be so during it and after it. */
import { setTimeout as delay } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import { MigrationFailedError } from '../../../../client/index.js';
import { readEnvelope } from '../../../../domain/envelope.js';
import { isFailureCode, problemOf } from '../../../../domain/failures.js';
import { Order } from '../../../../domain/order.js';
import type { OwnershipRecord } from '../../../../domain/ownership.js';
import type { MigrationResult } from '../../../../domain/status.js';
import { MOVE_LIMIT_MS, statusText } from '../../end-of-move.js';
import { copyProblems, evidenceProblems, guestProblems, workerProblems } from '../../faults/checks.js';
import { HOSTS, type HostName, otherHost } from '../../faults/move.js';
import { answered, until } from '../../until.js';
import { type Attack, attackOf } from '../attacker.js';
import { recordPath } from '../judge.js';
import type { Asked } from './caller.js';
import type { HostReply } from './calls-workflow.js';
import { listen } from './overheard.js';
import type { Accident, Burst, Plan } from './plan.js';
import { ACTIVITIES, LIFETIME_MS, type Stage, orderIn } from './stage.js';
import { KEPT } from './witness.js';

export interface RunResult {
  /** How the honest move ended. */
  readonly outcome: MigrationResult['outcome']['kind'] | 'terminated' | 'never';
  /** Of his calls, by code; `done` where a host did as it was asked. */
  readonly replies: readonly string[];
  readonly attacks: readonly string[];
  /** What honest people did beside the move to bring it to its end. */
  readonly helped: readonly string[];
  /** Empty where all is as it must be. */
  readonly breaches: readonly string[];
}

interface End {
  readonly kind: RunResult['outcome'];
  readonly result: MigrationResult | null;
}

/** After which operators do something about a move that does not go on, where he has done all that he does by the clock. */
const PATIENCE_MS = 8_000;
const SHOWN_CHARACTERS = 500;

export async function runOnce(stage: Stage, plan: Plan): Promise<RunResult> {
  const { testbed, guest, witness } = stage;
  const { judge } = witness;
  const { client, temporal } = testbed;
  const { vmId } = stage.prize;
  const source = stage.owner;
  const destination = otherHost(source);
  const before = { ...stage.state, lastCount: await guest.mark(source) };
  const loot = stage.loot.copy();
  const overBefore = new Set(loot.moves.flatMap(({ migrationId }) => HOSTS.filter((host) => judge.isOver(host, migrationId)).map((host) => `${migrationId} ${host}`)));
  const [attacks, replies, helped, problems]: [string[], string[], string[], string[]] = [[], [], [], []];

  witness.setLooking(false);
  const { workflowId, runId, migrationId } = await client.migrate({ vmId, destination, lifetimeMs: LIFETIME_MS });
  const heard = listen(temporal, workflowId, runId, [loot, stage.loot]);
  await heard.started;
  const known = loot.moves.find((move) => move.migrationId === migrationId);
  if (!known) throw new Error(`the history of ${workflowId} does not begin with an order`);
  witness.knows(orderIn(known.envelope));
  witness.setLooking(true);

  const moving = endOf(client.result(vmId, runId));
  const calls: Promise<void>[] = [];
  const byTheClock = (async () => {
    for (const burst of plan.bursts.filter(({ upon }) => upon === null)) {
      await delay(burst.waitMs);
      calls.push(attack(burst));
    }
  })();
  const inWait = plan.bursts.map(async (burst) => {
    if (burst.upon === null) return;
    await heard.asks(burst.upon);
    await delay(burst.waitMs);
    await attack(burst);
  });
  const accident = plan.accident && befall(plan.accident);
  const helping = help(byTheClock.then(() => Promise.all(calls)));
  const end = await answered(`the end of the move of ${vmId}`, moving, { limitMs: MOVE_LIMIT_MS, tell: () => statusText(client, vmId) }).catch((error: unknown): End => {
    judge.tell('moves-end', problemOf(error));
    return { kind: 'never', result: null };
  });
  await Promise.all([byTheClock, ...inWait, accident, helping]);
  await Promise.all(calls);
  if (end.kind !== 'never') await heard.over;
  witness.look();
  if (end.kind !== 'moved' && end.kind !== 'terminated') judge.over.add(migrationId);

  const owner = end.kind === 'never' ? null : await tidied(stage, helped);
  if (owner) {
    stage.owner = owner;
    problems.push(...(await stateProblems(owner)));
  } else judge.tell('way-back', `nobody owns it, or two do: ${describe(stage)}`);
  witness.look();
  return { outcome: end.kind, replies, attacks, helped, breaches: [...judge.breaches.map(({ invariant, what }) => `${invariant}: ${what}`), ...problems] };

  async function attack({ acts, cancelAfterMs }: Burst): Promise<void> {
    const asked = acts.map((act): Asked => {
      const { host, activity, argument }: Attack = attackOf(act, loot, ACTIVITIES, null);
      return { host: host === 'host-c' ? destination : host, activity, argument, cancelAfterMs };
    });
    for (const one of asked) {
      attacks.push(`${one.host} ${one.activity} ${shown(one.argument)}`);
      loot.asked(one.host, one.activity, one.argument);
    }
    const given = await stage.caller.call(asked);
    given.forEach((reply, i) => judgeReply(asked[i]!, reply));
  }

  function judgeReply({ host, activity, argument }: Asked, reply: HostReply): void {
    if ('failed' in reply) return void replies.push(reply.failed);
    if ('codes' in reply) {
      replies.push(reply.codes[0] ?? '');
      if (reply.codes.some((code) => !isFailureCode(code) || code === 'INTERNAL')) judge.tell('typed-refusals', `${host} ${activity}: ${reply.message}`);
      return;
    }
    replies.push('done');
    loot.answered(reply.value);
    witness.look();
    judge.answered(host, reply.value);
    const order = activity === 'openSession' ? readEnvelope(Order, 'korora/order', (argument as { readonly order?: unknown } | null)?.order) : null;
    if (order && 'document' in order && overBefore.has(`${order.document.migrationId} ${host}`)) judge.tell('refused-is-refused', `${host} opens a session of ${order.document.migrationId}, which it settled`);
  }

  async function befall({ what, upon, waitMs }: Accident): Promise<void> {
    const activityId = await heard.asks(upon);
    await delay(waitMs);
    attacks.push(`${what}, ${waitMs} ms after ${upon}`);
    const handle = temporal.workflow.getHandle(workflowId, runId);
    switch (what) {
      case 'terminate':
        return ignoringWhatIsOver(handle.terminate('he wants it'));
      case 'abort':
        return ignoringWhatIsOver(client.abort(vmId, 'he wants it'));
      case 'lose':
        if (activityId) await ignoringWhatIsOver(temporal.activity.fail({ workflowId, runId, activityId }, ApplicationFailure.retryable('he says so', 'INTERNAL')));
        return;
      default: {
        const host = what === 'restart-source' ? source : destination;
        await testbed.hosts[host].worker.kill();
        await testbed.restartWorker(host);
      }
    }
  }

  /** He may hold a copy, and leave it so: an operator lets it go on, and then gives it up. */
  async function help(hisCalls: Promise<unknown>): Promise<void> {
    await Promise.race([hisCalls, moving]);
    for (const [what, act] of [['let the copy go on', () => client.setHeld(vmId, false)], ['aborted', () => client.abort(vmId, 'it does not go on')]] as const) {
      if (await isOverWithin(moving, PATIENCE_MS)) return;
      helped.push(what);
      await act().catch(() => undefined); // it may be of no use now
    }
  }

  async function stateProblems(owner: HostName): Promise<readonly string[]> {
    const { result } = end;
    const works = await guestProblems(guest, owner === source ? [source] : [source, destination], before, false);
    stage.state = works.state;
    const named = { moved: destination, 'source-resumed': source, refused: source } as Partial<Record<string, HostName>>;
    const told = named[end.kind];
    return [
      ...(told && told !== owner ? [`the move is said to be ${end.kind}, and ${owner} owns the VM`] : []),
      ...(result?.outcome.runsOn && result.outcome.runsOn !== owner ? [`the result says that the VM runs on ${result.outcome.runsOn}, and ${owner} owns it`] : []),
      ...(result ? await evidenceProblems(testbed, result) : []),
      ...works.problems,
      ...(await copyProblems(testbed, guest, owner)),
      ...(await keptProblems(stage, owner)),
      ...workerProblems(testbed),
    ];
  }
}

/** Who owns the VM, once honest people have settled what he left; null where they cannot. */
async function tidied(stage: Stage, helped: string[]): Promise<HostName | null> {
  const { testbed, prize: { vmId } } = stage;
  const reconcile = () => testbed.client.reconcile(vmId).then(() => undefined, (error: unknown) => void helped.push(`reconciled in vain: ${problemOf(error)}`));
  const restart = async () => {
    for (const host of HOSTS) await testbed.restartWorker(host);
    await reconcile();
  };
  for (const [what, act] of [['reconciled', reconcile], ['started the workers anew', restart]] as const) {
    const owner = ownerOf(stage);
    if (owner) return owner;
    helped.push(what);
    await act();
  }
  return ownerOf(stage);
}

function ownerOf(stage: Stage): HostName | null {
  stage.witness.look();
  const [owner, ...others] = HOSTS.filter((host) => recordOn(stage, host)?.state === 'owner');
  if (!owner || others.length > 0) return null;
  const other = recordOn(stage, otherHost(owner));
  return other === null || other.state === 'none' || other.state === 'retired' ? owner : null;
}

/** vTPM state and keys are where the VM is, and nowhere else but where a host keeps what it gave up to another host's word. */
async function keptProblems(stage: Stage, owner: HostName): Promise<readonly string[]> {
  const { witness, prize: { vmId } } = stage;
  const other = otherHost(owner);
  const missing = KEPT.filter((name) => !witness.keptOf(owner, vmId).includes(name)).map((name) => `${owner} owns ${vmId}, and has no ${name} of it`);
  const record = recordOn(stage, other);
  if (record?.state === 'retired' && record.keptUntil !== null) return missing;
  const left = await until(`${other} to have nothing of ${vmId}`, () => witness.keptOf(other, vmId), (kept) => kept.length === 0, { limitMs: PATIENCE_MS }).then(() => [], (error: unknown) => [problemOf(error)]);
  return [...missing, ...left];
}

function recordOn({ witness, prize }: Stage, host: HostName): OwnershipRecord | null {
  return witness.judge.recordOf(host, prize.vmId);
}

function describe(stage: Stage): string {
  return HOSTS.map((host) => `${recordPath(host, stage.prize.vmId)} says ${recordOn(stage, host)?.state ?? 'nothing'}`).join('; ');
}

async function endOf(result: Promise<MigrationResult>): Promise<End> {
  try {
    const moved = await result;
    return { kind: moved.outcome.kind, result: moved };
  } catch (error) {
    if (error instanceof MigrationFailedError && error.result) return { kind: error.result.outcome.kind, result: error.result };
    if ((error as { readonly cause?: unknown }).cause instanceof Error && (error as Error & { readonly cause: Error }).cause.name === 'TerminatedFailure') return { kind: 'terminated', result: null };
    throw error;
  }
}

async function isOverWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const over = new AbortController();
  const late = delay(ms, false, { signal: over.signal }).catch(() => false);
  return Promise.race([work.then(() => true, () => true), late]).finally(() => over.abort());
}

/** Of a workflow or a step that ended meanwhile. */
async function ignoringWhatIsOver(work: Promise<unknown>): Promise<void> {
  await work.catch(() => undefined);
}

function shown(argument: unknown): string {
  const text = JSON.stringify(argument, (_, value: unknown) => (typeof value === 'string' && value.length > 60 ? `${value.slice(0, 20)}…` : value)) ?? 'nothing';
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

