/** What people tell a move that is not as it should be, or that its host refuses, does not confirm, or answers too late. */
import { describe, expect, it } from 'vitest';
import { signEnvelope } from '../../domain/envelope.js';
import { failure } from '../../domain/failures.js';
import { ADA, fenceOf, migrationId } from '../support/documents.js';
import { Hold, type Planned } from './faults.js';
import { named } from './history.js';
import { type Move, problemsOf, startMove } from './moves.js';
import { openStage } from './stage.js';
import { refusal, trouble } from './step-cases.js';
import { BASES } from './step-rows.js';
import { OTHER_LIMITS, SAID, approvalFor, holdIn, limitsChangeFor } from './update-rows.js';

const stage = openStage('details');
const other = { migrationId: migrationId(9) };

async function copyingMove() {
  const { plan, hold } = holdIn('copying');
  const tuning: Planned = { on: 'source', activity: 'tuneCopy', fault: { kind: 'fails', failure: refusal } };
  const move = await startMove(stage, [...plan, tuning]);
  await hold.reached('a move that copies', move.lastSeen);
  await move.untilStatus('phase copying', ({ phase }) => phase === 'copying');
  return { move, hold };
}

/** Waits for a destination that does not answer; `hold` is where that is. */
async function movesInDoubt(plan: readonly Planned[] = [], hold = new Hold('ends')) {
  const held: Planned = { on: 'destination', activity: 'settleDestination', fault: { kind: 'is-held', hold } };
  const move = await startMove(stage, [held, ...plan, ...BASES['no verdict came'].plan()]);
  await move.untilStatus('people to be told of a silent destination', ({ nextAction }) => nextAction !== null);
  return { move, hold };
}

const fenceOn = async (move: Move, host: string) => SAID.fence(move, host);

describe.concurrent('what is not valid', () => {
  const INVALID: readonly (readonly [string, string, (move: Move) => unknown, string])[] = [
    ['abort', 'that is nothing', () => null, 'INTERNAL'],
    ['abort', 'without a reason', () => ({ reason: '' }), 'ORDER_INVALID'],
    ['setHeld', 'that says neither', () => ({ isHeld: 'yes' }), 'ORDER_INVALID'],
    ['setLimits', 'of another move', (move) => limitsChangeFor(move, other), 'ORDER_INVALID'],
    ['setLimits', 'that would slow the guest otherwise', (move) => limitsChangeFor(move, { limits: { ...OTHER_LIMITS, autoConverge: { initialPercent: 1, incrementPercent: 1, maxPercent: 2 } } }), 'LIMITS_INVALID'],
    ['setLimits', 'that is an approval', (move) => approvalFor(move), 'ORDER_INVALID'],
    ['approve', 'of another move', (move) => approvalFor(move, other), 'ORDER_INVALID'],
    ['fence', 'of another move', ({ order: { vmId, destination: host } }) => signEnvelope(fenceOf({ ...other, vmId, host }), ADA), 'ORDER_INVALID'],
  ];

  it('is refused, and so are limits that the source refuses: those before stay in force', async () => {
    const { move, hold } = await copyingMove();
    try {
      const { limits } = await move.status();
      for (const [update, what, said, code] of INVALID) expect([update, what, await move.tell(update, await said(move))]).toEqual([update, what, { code }]);
      expect(await move.tell('setLimits', await limitsChangeFor(move))).toEqual({ code: refusal.code });
      expect((await move.status()).limits).toEqual(limits);
      hold.release();
      const ended = await move.end();
      expect(move.hosts.recorded.map(({ limitsChanges }) => limitsChanges)).toEqual([[]]);
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });
});

describe.concurrent('an approval', () => {
  async function approvedTwice(fault: Planned['fault']) {
    const move = await startMove(stage, [{ on: 'source', activity: 'holdCopy', fault }], { requiresApproval: true });
    await move.untilStatus('the move to wait for an approval', ({ awaits }) => awaits === 'approval');
    const first = await move.tell('approve', await approvalFor(move));
    const between = await move.status();
    const second = await move.tell('approve', await approvalFor(move, { reason: 'once more' }));
    const ended = await move.end();
    return { move, first, between, second, ended };
  }

  it.each([['refuses', { kind: 'fails', failure: refusal }, refusal.code, true], ['does not confirm', { kind: 'fails', failure: trouble }, trouble.code, false]] as const)('that the source %s may be said again', async (_, fault, code, isHeld) => {
    const { move, first, between, second, ended } = await approvedTwice(fault);
    expect({ first, second, awaits: between.awaits, isHeld: between.isHeld }).toEqual({ first: { code }, second: { answer: undefined }, awaits: 'approval', isHeld });
    expect(move.hosts.recorded.map(({ approval }) => approval?.envelope)).toEqual([move.hosts.holds[0]?.approval]);
    expect(ended.result.outcome.kind).toBe('moved');
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('is not given by whoever lets the copy go on', async () => {
    const move = await startMove(stage, [], { requiresApproval: true });
    try {
      await move.untilStatus('the move to wait for an approval', ({ awaits }) => awaits === 'approval');
      expect(await move.tell('setHeld', { isHeld: false })).toEqual({ answer: { isHeld: true, isCertain: true } });
      expect(move.hosts.source).toBe('owner');
      expect(await move.tell('abort', { reason: 'nobody approves it' })).toEqual({ answer: undefined });
      const ended = await move.end();
      expect(ended.codes).toEqual(['ABORTED']);
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });
});

describe.concurrent('a fence', () => {
  const ofUndo = BASES['no verdict came'];

  it('of the host that answers is refused, and the move goes on waiting', async () => {
    const { move, hold } = await movesInDoubt();
    expect(await move.tell('fence', await fenceOn(move, move.order.source))).toEqual({ code: 'NOTHING_TO_FENCE' });
    hold.release();
    const ended = await move.end();
    expect({ codes: ended.codes, fences: move.hosts.recorded.map(({ fences }) => fences) }).toEqual({ codes: ofUndo.codes, fences: [[]] });
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('that the other host does not admit ends no wait', async () => {
    const { move, hold } = await movesInDoubt([{ on: 'source', activity: 'admitFence', fault: { kind: 'fails', failure: refusal } }]);
    expect(await move.tell('fence', await fenceOn(move, move.order.destination))).toEqual({ code: refusal.code });
    hold.release();
    const ended = await move.end();
    expect({ codes: ended.codes, isFenced: ended.scheduled.some(({ activity }) => activity === 'fenceDestination') }).toEqual({ codes: ofUndo.codes, isFenced: false });
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('of a host whose answer is on its way is refused', async () => {
    const { move, hold } = await movesInDoubt([], new Hold('goes-on'));
    expect(await move.tell('fence', await fenceOn(move, move.order.destination))).toEqual({ code: 'FENCE_REFUSED' });
    hold.release();
    const ended = await move.end();
    expect({ codes: ended.codes, fences: move.hosts.recorded.map(({ fences }) => fences) }).toEqual({ codes: ofUndo.codes, fences: [[]] });
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('that the source takes no more is forgotten, and the destination asked again', async () => {
    const expired = failure('ORDER_EXPIRED', { notAfter: 'a while ago', host: 'host-a', now: 'now' });
    const { move } = await movesInDoubt([{ on: 'source', activity: 'fenceDestination', fault: { kind: 'fails', failure: expired } }]);
    expect(await move.tell('fence', await fenceOn(move, move.order.destination))).toEqual({ answer: undefined });
    const ended = await move.end();
    const back = ended.scheduled.filter(({ isAfter }) => isAfter).map(named);
    expect(back.slice(1, 6)).toEqual(['destination: settleDestination', 'source: admitFence', 'source: fenceDestination', 'destination: settleDestination', 'source: resolveSource']);
    expect({ codes: ended.codes, fences: move.hosts.recorded.map(({ fences }) => fences) }).toEqual({ codes: ofUndo.codes, fences: [[]] });
    expect(problemsOf(move, ended)).toEqual([]);
  });
});
