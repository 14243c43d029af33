/**
 * A button's trial: a move whose workflow is ended at a point by somebody who knows no better, with or without another run of its order beside what hosts hold. No
 * workflow tells of a terminated move: where the VM is then, hosts' records say. What people have to do for it, and only that, is done and noted.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { TerminatedFailure, WorkflowFailedError } from '@temporalio/client';
import { MigrationFailedError, workflowIdOf } from '../../../client/index.js';
import { readPublicKey } from '../../../cli/keys.js';
import { verifyEvidence } from '../../../client/verify/index.js';
import { Evidence } from '../../../domain/evidence.js';
import type { MigrationResult } from '../../../domain/status.js';
import { orderAgain, resetMove, terminateMove } from '../temporal-buttons.js';
import type { Testbed } from '../testbed.js';
import { until } from '../until.js';
import type { Button, ButtonEnd, WayOut } from './buttons.js';
import { type Problems, phaseProblems, vmOnHosts } from './checks.js';
import { HOSTS, type HostName, type Move, moveOf, resultOf } from './move.js';
import { type Pressing, pressingOf } from './press.js';
import { tracesOn } from './remains.js';
import { SESSION_LIMIT_SIGNAL } from './session-limit.js';
import { type EndedMove, type Stage, markHere, replayProblems, stateProblems } from './stage.js';

const REST_LIMIT_MS = 90_000;
const POLL_MS = 200;
/** Things that people do for one move, at most. */
const WAYS_OUT = 3;
/** Not of a move: how the harness itself asks hosts. */
const NOT_OF_A_MOVE = ['surveyHost', 'showSurvey'];

interface Pressed {
  /** Of the other run; null where there is none. */
  readonly runId: string | null;
  /** Evidence that there was. */
  readonly files: Files;
}
type Files = ReadonlyMap<string, string>;

export async function runButton(stage: Stage, button: Button): Promise<{ readonly outcome: ButtonEnd | null; readonly problems: Problems }> {
  const { testbed, injector, guest: { vmId } } = stage;
  const move = moveOf(testbed, stage.networks, stage.guest, stage.owner);
  await markHere(stage);
  let runId = '';
  const press = async (): Promise<Pressed> => {
    const files = await evidenceFiles(testbed);
    return { files, runId: await pressButton(testbed, vmId, button, runId || (await newestRun(testbed, vmId))) };
  };
  const pressing = pressingOf(button, move, press);
  const accident = injector.follow(pressing.script);
  const started = await testbed.client.migrate({ vmId, destination: move.destination });
  runId = started.runId;
  const first = endOf(stage, runId);
  stage.moving = first;
  const pressed = await Promise.race([accident, whenPressed(testbed, button, pressing, press, first, move, vmId)]);
  if (pressed === null) return { outcome: null, problems: [`the button was not pressed: the move never came there, and ended ${told(await first)}`] };
  const again = pressed.runId === null ? null : endOf(stage, pressed.runId);
  stage.moving = Promise.all([first, again]);
  const [firstEnd, secondEnd] = await Promise.race([accident, Promise.all([first, again])]);
  await Promise.race([accident, atRest(stage)]);
  await Promise.race([accident, pressing.over()]);
  void injector.follow(null);

  const running = (await vmOnHosts(testbed, vmId, withPower(move, button, []))).filter(({ status }) => status === 'running');
  const ways = await putRight(stage, move, button);
  const vms = await vmOnHosts(testbed, vmId);
  const owner = vms.find(({ mayRun }) => mayRun)?.hostId;
  if (!isHost(owner)) return { outcome: null, problems: [`no record says that it may run: ${vms.map((vm) => `${vm.hostId} ${vm.ownership}`).join(', ')}`] };
  stage.owner = owner;
  const by = ways.length > 0 ? ` by ${ways.join(', then ')}` : '';
  const outcome = `${secondEnd?.result.outcome.kind ?? 'terminated'}, at the ${owner === move.source ? 'source' : 'destination'}${by}` as ButtonEnd;
  const isStartedAgain = button.cause === 'destination-fenced' || ways.includes('fence');
  return {
    outcome,
    problems: [
      ...(running.length <= 1 ? [] : ['it ran on both hosts']),
      ...(pressing.isCaused() ? [] : [`what was to break first did not: ${button.cause}`]),
      ...(button.ends.includes(outcome) ? [] : [`it ended ${outcome}, not ${button.ends.join(' or ')}`]),
      ...(button.moment === 'ended' || firstEnd === null ? [] : [`the first run was not terminated: it ended ${told(firstEnd)}`]),
      ...(secondEnd ? [...phaseProblems(secondEnd.result), ...placeProblems(secondEnd.result, owner)] : []),
      ...(await recordedProblems(testbed, `${vmId}-${started.migrationId}-`, pressed.files, secondEnd?.result ?? null)),
      ...(await stateProblems(stage, move.source, isStartedAgain)),
      ...(await replayedProblems(testbed, vmId, [runId, ...(pressed.runId === null ? [] : [pressed.runId])])),
    ],
  };
}

/** Null where it was terminated. */
async function endOf(stage: Stage, runId: string): Promise<EndedMove | null> {
  try {
    return { result: await resultOf(stage.testbed, stage.guest.vmId, runId, () => stage.isGivenUp), codes: [], runId };
  } catch (error) {
    if (error instanceof MigrationFailedError && error.result) return { result: error.result, codes: error.failures.map((f) => f.code), runId };
    if (error instanceof WorkflowFailedError && error.cause instanceof TerminatedFailure) return null;
    throw error;
  }
}

/** Null where the move ended, and nobody had pressed. */
async function whenPressed<T>({ client }: Testbed, { moment }: Button, pressing: Pressing<T>, press: () => Promise<T>, first: Promise<EndedMove | null>, { destination }: Move, vmId: string): Promise<T | null> {
  if (moment === 'ended') {
    await first;
    return press();
  }
  if (moment === 'in-doubt') {
    await until(`the move to name ${destination} as silent`, () => client.status(vmId), ({ nextAction }) => nextAction?.includes(`--host ${destination}`) === true, { limitMs: REST_LIMIT_MS, everyMs: POLL_MS });
    return press();
  }
  const isTerminated = first.then((end) => (end === null ? pressing.pressed : null));
  return Promise.race([pressing.pressed, isTerminated]);
}

/** Gives the id of the other run, if there is one. */
async function pressButton({ temporal, client }: Testbed, vmId: string, { press, moment }: Button, runId: string): Promise<string | null> {
  if (press === 'reset') return resetMove(temporal, vmId, runId);
  const { order, vm } = await client.status(vmId);
  if (moment !== 'ended') await terminateMove(temporal, vmId);
  return press === 'again' ? orderAgain(temporal, vmId, { order, vm }) : null;
}

async function newestRun({ temporal }: Testbed, vmId: string): Promise<string> {
  return (await temporal.workflow.getHandle(workflowIdOf(vmId)).describe()).runId;
}

/** What was in hand has ended; then what sessions there are end, too, as they do by themselves in time. */
async function atRest({ injector, testbed }: Stage): Promise<void> {
  const inHand = () => injector.inHand().filter((activity) => !NOT_OF_A_MOVE.includes(activity));
  await until('hosts to end what nobody waits for', inHand, (activities) => activities.length === 0, { limitMs: REST_LIMIT_MS });
  for (const host of HOSTS) {
    const { child, pid } = testbed.hosts[host].worker;
    if (child.exitCode === null && child.signalCode === null) process.kill(pid, SESSION_LIMIT_SIGNAL);
  }
}

/** As docs/runbook.md says, by what anybody sees; what was done for it. */
async function putRight({ testbed, guest: { vmId } }: Stage, move: Move, button: Button): Promise<readonly WayOut[]> {
  const ways: WayOut[] = [];
  for (;;) {
    const vms = await vmOnHosts(testbed, vmId, withPower(move, button, ways));
    const surplus = await Promise.all(vms.filter(({ mayRun }) => !mayRun).map(async (vm) => ({ ...vm, traces: await tracesOn(testbed.hosts[vm.hostId as HostName], vmId) })));
    const next = surplus.find(({ ownership, status, traces }) => ownership === 'relinquished' || ownership === 'incoming' || status !== 'absent' || traces.length > 0);
    if (!next) return ways;
    if (ways.length === WAYS_OUT) throw new Error(`${ways.join(', ')}, and still ${next.hostId} says ${next.ownership}, ${next.status}, and has ${next.traces.join(', ')}`);
    if (next.ownership !== 'relinquished') {
      ways.push(next.hostId === move.source ? 'restart of the source' : 'restart of the destination');
      await testbed.restartWorker(next.hostId as HostName);
    } else if (button.moment === 'in-doubt') {
      ways.push('fence');
      await testbed.client.fence(vmId, { host: move.destination, reason: 'it is powered off' });
      await move.powerOn(move.destination);
    } else {
      ways.push('reconcile');
      await testbed.client.reconcile(vmId);
    }
  }
}

/** Of which an answer may be expected, after what was done. */
function withPower({ source, destination }: Move, { moment }: Button, ways: readonly WayOut[]): readonly HostName[] {
  return moment === 'in-doubt' && !ways.includes('fence') ? [source] : [source, destination];
}

/** Of all moves: text by name. */
async function evidenceFiles({ root }: Testbed): Promise<Files> {
  const names = (await readdir(join(root, 'evidence')).catch(() => [])).filter((name) => !name.startsWith('.')).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(root, 'evidence', name), 'utf8')] as const)));
}

/** `before`: what there was when the button was pressed. An auditor finds nothing wrong in any file of the move, the other run tells of all that are not its own. */
async function recordedProblems(testbed: Testbed, ofTheMove: string, before: Files, result: MigrationResult | null): Promise<Problems> {
  const files = await evidenceFiles(testbed);
  const own = [...files.keys()].filter((name) => name.startsWith(ofTheMove));
  const paths = own.map((name) => join(testbed.root, 'evidence', name));
  const others = paths.filter((path) => path !== result?.evidencePath);
  const codes = result?.notes.map(({ code }) => code) ?? [];
  return [
    ...[...before].filter(([name, text]) => files.get(name) !== text).map(([name]) => `the evidence ${name} was replaced`),
    ...(await Promise.all(own.map((name) => auditProblems(testbed, name, files.get(name) ?? '')))).flat(),
    ...(result === null || paths.includes(result.evidencePath) ? [] : ['the other run left no evidence']),
    ...(result === null || isDeepStrictEqual(codes, others.length > 0 ? ['EVIDENCE_DIFFERS'] : []) ? [] : [`beside ${others.length} files of the move the other run says: ${codes.join(', ')}`]),
    ...(result ? others.filter((path) => !result.notes.some(({ message }) => message.includes(path))).map((path) => `the other run does not tell of ${path}`) : []),
    ...(result && !isDeepStrictEqual(outcomeIn(files.get(own[paths.indexOf(result.evidencePath)] ?? '')), result.outcome) ? ['the evidence of the other run tells another outcome than its result'] : []),
  ];
}

function outcomeIn(text: string | undefined): unknown {
  return text ? (JSON.parse(text) as Evidence).outcome : null;
}

async function auditProblems(testbed: Testbed, name: string, text: string): Promise<Problems> {
  const evidence = Evidence.safeParse(JSON.parse(text));
  if (!evidence.success) return [`the evidence ${name} is not valid`];
  const bundle: unknown = JSON.parse(await readFile(join(testbed.root, 'trust.json'), 'utf8'));
  const { problems } = verifyEvidence(evidence.data, bundle, [await readPublicKey(testbed.keys.policy.publicFile)]);
  return problems.map(({ field, problem }) => `the evidence ${name} does not hold: ${field}: ${problem}`);
}

/** The other run may not know where the VM is, and must not say that it is elsewhere. */
function placeProblems({ outcome: { kind, runsOn } }: MigrationResult, owner: HostName): Problems {
  return runsOn === owner || (runsOn === null && kind !== 'moved') ? [] : [`the other run ended ${kind} and says that the VM runs on ${runsOn}; it runs on ${owner}`];
}

async function replayedProblems({ temporal }: Testbed, vmId: string, runIds: readonly string[]): Promise<Problems> {
  const workflowId = workflowIdOf(vmId);
  const histories = await Promise.all(runIds.map((runId) => temporal.workflow.getHandle(workflowId, runId).fetchHistory()));
  return (await Promise.all(histories.map((history) => replayProblems(history, workflowId)))).flat();
}

function told(end: EndedMove | null): string {
  return end === null ? 'terminated' : `${end.result.outcome.kind} (${end.codes.join(', ')})`;
}

function isHost(host: string | undefined): host is HostName {
  return HOSTS.some((one) => one === host);
}
