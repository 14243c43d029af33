/** Every thing that people may tell a move, in every phase: taken or refused, and what it did. */
import { describe, expect, it } from 'vitest';
import { PHASES, type Phase, type StepName } from '../../domain/steps.js';
import { named } from './history.js';
import { type Ended, type Move, problemsOf, startMove } from './moves.js';
import { openStage } from './stage.js';
import { BASES, BREAKS_IN, type Base, doneUntil } from './step-rows.js';
import { ANSWERS, HELD_IN, OTHER_LIMITS, SAID, type UpdateName, approvalFor, holdIn } from './update-rows.js';
import * as messages from '../../workflows/messages.js';

const stage = openStage('updates');

const UPDATES = Object.keys(ANSWERS) as UpdateName[];
const cells = UPDATES.flatMap((update) => PHASES.map((phase) => ({ update, phase, answer: ANSWERS[update][phase] })));

it('there is a row of every update', () => {
  const defined = Object.values(messages).flatMap(({ type, name }) => (type === 'update' ? [name] : []));
  expect([...UPDATES].sort()).toEqual(defined.sort());
});

async function heldMove(phase: Phase) {
  const { plan, hold } = holdIn(phase);
  const move = await startMove(stage, plan);
  await hold.reached(`a move that is held in phase ${phase}`, move.lastSeen);
  await move.untilStatus(`phase ${phase}`, (status) => status.phase === phase);
  return { move, hold };
}

const waitedFor = (phase: Phase, { order }: Move): string => (HELD_IN[phase].on === 'source' ? order.source : order.destination);
const back = ({ scheduled }: Ended) => scheduled.filter(({ isAfter }) => isAfter).map(named);

describe.concurrent('what is refused changes nothing', () => {
  it.each(PHASES)('in phase %s', async (phase) => {
    const { move, hold } = await heldMove(phase);
    try {
      const refused = cells.filter((cell) => cell.phase === phase && cell.answer !== 'taken');
      const told = await Promise.all(refused.map(async ({ update }) => [update, await move.tell(update, await SAID[update](move, move.order.destination))]));
      expect(Object.fromEntries(told)).toEqual(Object.fromEntries(refused.map(({ update, answer }) => [update, { code: answer }])));
      hold.release();
      const ended = await move.end();
      const base: Base = BASES[HELD_IN[phase].base];
      expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: base.outcome, codes: base.codes });
      if (base.outcome === 'moved') expect(ended.scheduled.map(named).sort()).toEqual([...doneUntil('record')].sort());
      else expect(back(ended)).toEqual([...base.undos, 'control: recordEvidence']);
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });
});

/** In which step a move broke, as far as its undos tell, that was aborted while it was held in a phase. */
const ABORTED_IN: Partial<Record<Phase, StepName>> = { requested: 'openSessions', admitted: 'openSessions', attested: 'wrap', sealed: 'move', copying: 'move' };

/** What a fence does to a move that was held in a phase. */
const FENCED_IN: Partial<Record<Phase, { readonly kind: string; readonly codes: readonly string[]; readonly runsOn: 'source' | 'destination' | null; readonly without: readonly string[]; readonly admitted: string }>> = {
  activated: { kind: 'moved', codes: [], runsOn: 'destination', without: ['source: giveReceipt', 'source: closeSession'], admitted: 'destination: admitFence' },
  compensating: { kind: 'source-resumed', codes: ['SESSION_LOST', 'VM_NOT_RUNNING', 'HOST_FENCED'], runsOn: null, without: ['source: closeSession'], admitted: 'destination: admitFence' },
  'in-doubt': { kind: 'source-resumed', codes: ['SESSION_LOST', 'VM_REBOOTED', 'HOST_FENCED'], runsOn: 'source', without: ['destination: closeSession'], admitted: 'source: admitFence' },
};

interface Taken {
  readonly move: Move;
  readonly phase: Phase;
  readonly answer: unknown;
  readonly said: unknown;
  readonly ended: Ended;
}

const DID: { readonly [U in UpdateName]: (taken: Taken) => void } = {
  abort({ phase, ended }) {
    const { outcome, undos } = BREAKS_IN[ABORTED_IN[phase] as StepName];
    expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: outcome, codes: ['ABORTED'] });
    expect(ended.messages).toEqual(['the move was aborted: the window closes']);
    expect(back(ended)).toEqual([...undos, 'control: recordEvidence']);
  },
  setLimits({ move, answer, said, ended }) {
    expect(answer).toEqual(OTHER_LIMITS);
    expect(move.hosts.changes).toEqual([said]);
    expect(move.hosts.recorded.map(({ limitsChanges }) => limitsChanges.map(({ envelope }) => envelope))).toEqual([[said]]);
    expect(ended.result.outcome.kind).toBe('moved');
  },
  setHeld({ move, answer, ended }) {
    expect(answer).toEqual({ isHeld: true, isCertain: true });
    expect(move.hosts.holds.map(({ isHeld, approval }) => ({ isHeld, approval }))).toEqual([{ isHeld: true, approval: null }, { isHeld: false, approval: null }]);
    expect(ended.result.outcome.kind).toBe('moved');
  },
  approve({ move, said, ended }) {
    expect(move.hosts.holds.map(({ isHeld, approval }) => ({ isHeld, approval }))).toEqual([{ isHeld: false, approval: said }]);
    expect(move.hosts.recorded.map(({ approval }) => approval?.envelope)).toEqual([said]);
    expect(ended.result.outcome.kind).toBe('moved');
  },
  fence({ move, phase, said, ended }) {
    const expected = FENCED_IN[phase];
    if (!expected) throw new Error(`what does a fence do in phase ${phase}?`);
    const { kind, runsOn } = ended.result.outcome;
    expect({ kind, runsOn, codes: ended.codes }).toEqual({ kind: expected.kind, runsOn: expected.runsOn && move.order[expected.runsOn], codes: expected.codes });
    const done = ended.scheduled.map(named);
    expect(done).toContain(expected.admitted);
    for (const one of expected.without) expect(done).not.toContain(one);
    expect(move.hosts.recorded.map(({ fences }) => fences.map(({ envelope }) => envelope))).toEqual([[said]]);
  },
};

describe.concurrent('what is taken', () => {
  it.each(cells.filter(({ answer }) => answer === 'taken').map(({ update, phase }) => [update, phase] as const))('%s in phase %s', async (update, phase) => {
    const { move, hold } = await heldMove(phase);
    try {
      if (update === 'fence') await move.untilStatus('people to be told of a silent host', ({ nextAction }) => nextAction !== null);
      const said = await SAID[update](move, waitedFor(phase, move));
      const told = await move.tell(update, said);
      if (!('answer' in told)) throw new Error(`it was refused: ${told.code}`);
      if (update === 'setHeld') {
        hold.release();
        expect((await move.status()).isHeld).toBe(true);
        expect(await move.tell('setHeld', { isHeld: false })).toEqual({ answer: { isHeld: false, isCertain: true } });
      }
      // An aborted copy is told so by its host's own heartbeats, and ends by that.
      if (update !== 'abort' || phase !== 'copying') hold.release();
      const ended = await move.end();
      DID[update]({ move, phase, answer: told.answer, said, ended });
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });

  it('approve in phase copying, of a move that waits for it', async () => {
    const move = await startMove(stage, [], { requiresApproval: true });
    try {
      await move.untilStatus('the move to wait for an approval', ({ awaits }) => awaits === 'approval');
      const said = await approvalFor(move);
      const told = await move.tell('approve', said);
      const ended = await move.end();
      DID.approve({ move, phase: 'copying', answer: told, said, ended });
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });
});
