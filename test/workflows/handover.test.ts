/** What breaks once the source has relinquished, where only the destination's decision, and no clock, says who runs the VM. */
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { type Fault, Hold, type Planned } from './faults.js';
import { named } from './history.js';
import { problemsOf, startMove } from './moves.js';
import { openStage } from './stage.js';
import { BASES, BREAKS_IN } from './step-rows.js';

const stage = openStage('handover');
const lost = failure('CHANNEL_LOST', { problem: 'it is made up' });
const breaks: Fault = { kind: 'fails', failure: lost };
const silent: Fault = { kind: 'is-silent' };

const taking: Omit<Planned, 'fault'> = { on: 'destination', activity: 'verifyImage' };
const giving: Omit<Planned, 'fault'> = { on: 'source', activity: 'stopAndCopy', point: 'relinquished' };
const askedBack = BASES['no verdict came'].undos;

interface Row {
  readonly what: string;
  readonly planned: Planned;
  readonly kind: 'moved' | 'source-resumed';
  readonly codes: readonly string[];
  /** Of what takes the move back; the rest of a move that was accepted all the same is left out. */
  readonly undos: readonly string[];
}

const ROWS: readonly Row[] = [
  { what: 'the source breaks, and the destination accepts', planned: { ...giving, fault: breaks }, kind: 'moved', codes: [], undos: [] },
  { what: 'the source falls silent, and the destination accepts', planned: { ...giving, fault: silent }, kind: 'moved', codes: [], undos: [] },
  { what: 'the destination breaks before it decides', planned: { ...taking, point: 'relinquished', fault: breaks }, kind: 'source-resumed', codes: ['CHANNEL_LOST'], undos: askedBack },
  { what: 'the destination falls silent before it decides', planned: { ...taking, point: 'relinquished', fault: silent }, kind: 'source-resumed', codes: ['HOST_UNREACHABLE'], undos: askedBack },
  { what: 'the destination accepts and breaks before it says so', planned: { ...taking, point: 'decided', fault: breaks }, kind: 'moved', codes: [], undos: ['source: settleSource', 'destination: settleDestination'] },
  { what: 'the destination accepts and falls silent', planned: { ...taking, point: 'decided', fault: silent }, kind: 'moved', codes: [], undos: ['source: settleSource', 'destination: settleDestination'] },
];

describe.concurrent('once the source has relinquished', () => {
  it.each(ROWS.map((row) => [row.what, row] as const))('%s', async (_, { planned, kind, codes, undos }) => {
    const move = await startMove(stage, [planned]);
    const ended = await move.end();
    expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind, codes });
    const settled = ended.scheduled.map(named).filter((one) => askedBack.includes(one as never) && !one.endsWith('closeSession'));
    expect(settled).toEqual(kind === 'moved' ? [...undos, 'source: resolveSource'] : undos.filter((one) => !one.endsWith('closeSession')));
    expect(move.hosts.source).toBe(kind === 'moved' ? 'retired' : 'owner');
    expect(problemsOf(move, ended)).toEqual([]);
  });

  it('the move is cancelled: the destination rejects, and the source goes on by that verdict', async () => {
    const hold = new Hold('goes-on');
    const move = await startMove(stage, [{ ...taking, point: 'relinquished', fault: { kind: 'is-held', hold } }]);
    try {
      await hold.reached('the source to have relinquished', move.lastSeen);
      await move.handle.cancel();
      const ended = await move.end();
      expect({ kind: ended.result.outcome.kind, codes: ended.codes }).toEqual({ kind: 'source-resumed', codes: ['ABORTED'] });
      expect(ended.scheduled.filter(({ isAfter }) => isAfter).map(named)).toEqual([...BREAKS_IN.move.undos, 'control: recordEvidence']);
      expect({ source: move.hosts.source, destination: move.hosts.destination }).toEqual({ source: 'owner', destination: 'rejected' });
      expect(problemsOf(move, ended)).toEqual([]);
    } finally {
      move.hosts.close();
    }
  });
});
