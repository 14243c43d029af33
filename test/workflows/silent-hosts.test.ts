/** Hosts that take what people told a move, or its own question, and are heard of no more. */
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { Hold, type Planned } from './faults.js';
import { named } from './history.js';
import { type Move, problemsOf, startMove } from './moves.js';
import { openStage } from './stage.js';
import { refusal, trouble } from './step-cases.js';
import { BASES } from './step-rows.js';
import { SAID, type UpdateName, approvalFor, holdIn } from './update-rows.js';

const stage = openStage('mute');
const silent: Planned['fault'] = { kind: 'is-silent' };
const silentOnce: Planned['fault'] = { kind: 'is-silent', times: 1 };

describe.concurrent('what a silent source is told', () => {
  it.each([['setHeld', 'holdCopy'], ['setLimits', 'tuneCopy']] as const)('by %s is answered HOST_UNREACHABLE, and the move goes on', async (update, activity) => {
    const { plan, hold } = holdIn('copying');
    const move = await startMove(stage, [...plan, { on: 'source', activity, fault: silent }]);
    await hold.reached('a move that copies', move.lastSeen);
    await move.untilStatus('phase copying', ({ phase }) => phase === 'copying');
    expect(await move.tell(update, await SAID[update as UpdateName](move, move.order.source))).toEqual({ code: 'HOST_UNREACHABLE' });
    hold.release();
    const ended = await move.end();
    expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: 'moved', codes: [] });
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('by approve is answered HOST_UNREACHABLE, and may be said again', async () => {
    const move = await startMove(stage, [{ on: 'source', activity: 'holdCopy', fault: silent }], { requiresApproval: true });
    await move.untilStatus('the move to wait for an approval', ({ awaits }) => awaits === 'approval');
    expect(await move.tell('approve', await approvalFor(move))).toEqual({ code: 'HOST_UNREACHABLE' });
    expect((await move.status()).awaits).toBe('approval');
    expect(await move.tell('approve', await approvalFor(move, { reason: 'once more' }))).toEqual({ answer: undefined });
    const ended = await move.end();
    expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: 'moved', codes: [] });
    expect(problemsOf(move, ended)).toEqual([]);
  });
});

interface Fenced {
  readonly what: string;
  readonly plan: readonly Planned[];
  readonly host: 'source' | 'destination';
  readonly kind: 'moved' | 'source-resumed';
  readonly runsOn: 'source' | 'destination' | null;
  readonly codes: readonly string[];
}

const FENCED: readonly Fenced[] = [
  {
    ...{ what: 'the destination that should have said its verdict', host: 'destination', kind: 'source-resumed', runsOn: 'source', codes: ['SESSION_LOST', 'VM_REBOOTED', 'HOST_FENCED'] },
    plan: [...BASES['no verdict came'].plan(), { on: 'destination', activity: 'settleDestination', fault: silentOnce }],
  },
  {
    ...{ what: 'the source that should have taken the VM back', host: 'source', kind: 'source-resumed', runsOn: null, codes: ['SESSION_LOST', 'VM_NOT_RUNNING', 'HOST_FENCED'] },
    plan: [...BASES['no verdict came'].plan(), { on: 'source', activity: 'resolveSource', fault: silentOnce }],
  },
  {
    ...{ what: 'the source that should have given the VM up', host: 'source', kind: 'moved', runsOn: 'destination', codes: [] },
    plan: [{ on: 'source', activity: 'resolveSource', fault: silentOnce }],
  },
];

const told = (move: Move, text: string) => move.untilStatus(`people to be told: ${text}`, ({ nextAction }) => nextAction?.includes(text) ?? false);

describe.concurrent('a fence of a host that died with its task in hand is taken:', () => {
  it.each(FENCED.map((row) => [row.what, row] as const))('%s', async (_, { plan, host, kind, runsOn, codes }) => {
    const move = await startMove(stage, plan);
    await told(move, 'Bring the worker');
    const said = await SAID.fence(move, move.order[host]);
    expect(await move.tell('fence', said)).toEqual({ answer: undefined });
    const ended = await move.end();
    expect({ kind: ended.result.outcome.kind, runsOn: ended.result.outcome.runsOn, codes: ended.codes }).toEqual({ kind, runsOn: runsOn && move.order[runsOn], codes });
    expect(move.hosts.recorded.map(({ fences }) => fences.map(({ envelope }) => envelope))).toEqual([[said]]);
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('the one whom two operators fence at once, both of whom are told so', async () => {
    const [{ plan }] = FENCED as [Fenced];
    const move = await startMove(stage, plan);
    await told(move, 'Bring the worker');
    const fence = async () => move.tell('fence', await SAID.fence(move, move.order.destination));
    expect(await Promise.all([fence(), fence()])).toEqual([{ answer: undefined }, { answer: undefined }]);
    const ended = await move.end();
    expect(move.hosts.recorded.map(({ fences }) => fences.length)).toEqual([1]);
    expect(problemsOf(move, ended)).toEqual([]);
  });
});

describe.concurrent('a host that says no', () => {
  const asked = { on: 'destination', activity: 'settleDestination' } as const;
  const base = BASES['no verdict came'];

  it.each([['refuses', refusal], ['fails', trouble], ['cannot tell', failure('RECORDS_IN_DOUBT', { host: 'a host', problem: 'it is made up' })]] as const)('while it is being fenced, because it %s, lives: the fence is refused, and it is asked again', async (_, told) => {
    const hold = new Hold('goes-on');
    const move = await startMove(stage, [...base.plan(), { ...asked, fault: { kind: 'fails-late', hold, failure: told } }]);
    await move.untilStatus('people to be told of its silence', ({ nextAction }) => nextAction !== null);
    expect(await move.tell('fence', await SAID.fence(move, move.order.destination))).toEqual({ code: 'FENCE_REFUSED' });
    const ended = await move.end();
    expect({ codes: ended.codes, fences: move.hosts.recorded.map(({ fences }) => fences) }).toEqual({ codes: base.codes, fences: [[]] });
    expect(ended.scheduled.filter(({ isAfter }) => isAfter).map(named).slice(1, 5)).toEqual(['destination: settleDestination', 'source: admitFence', 'destination: settleDestination', 'source: resolveSource']);
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('to every question can be fenced, once it is off', async () => {
    const refuses = Array.from({ length: 100 }, (_, occurrence): Planned => ({ ...asked, occurrence, fault: { kind: 'fails', failure: refusal } }));
    const move = await startMove(stage, [...base.plan(), ...refuses]);
    const { phase, nextAction } = await told(move, refusal.message);
    expect({ phase, nextAction }).toMatchObject({ phase: 'in-doubt', nextAction: expect.stringContaining(`korora fence ${move.order.vmId} --host ${move.order.destination}`) });
    expect(nextAction).toContain(refusal.remedy);
    expect(await fencedInTime(move, move.order.destination)).toEqual({ answer: undefined });
    const ended = await move.end();
    expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: 'source-resumed', codes: ['SESSION_LOST', 'VM_REBOOTED', 'HOST_FENCED'] });
    expect(problemsOf(move, ended)).toEqual([]);
  });
});

it('a source that refuses the fence of its destination cannot be fenced itself, and people are not told to', async () => {
  const base = BASES['the destination was fenced'];
  const move = await startMove(stage, [{ on: 'source', activity: 'fenceDestination', fault: { kind: 'fails', failure: refusal } }, ...base.plan()]);
  const [{ nextAction }] = await Promise.all([told(move, refusal.message), base.drive(move)]);
  expect(nextAction).toContain(refusal.remedy);
  expect(nextAction).not.toContain('korora fence');
  const ended = await move.end();
  expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: base.outcome, codes: base.codes });
  expect(problemsOf(move, ended)).toEqual([]);
});

/** It may be answering just then. */
async function fencedInTime(move: Move, host: string) {
  for (;;) {
    const answer = await move.tell('fence', await SAID.fence(move, host));
    if (!('code' in answer) || answer.code !== 'FENCE_REFUSED') return answer;
  }
}
