/**
 * Attestations of another time: everything that a move that succeeded left in Temporal, played again in a move of the same VM between the same hosts; and
 * quotes that were made beforehand, over challenges that he guesses.
 */
import type { HostEvidence, WrappedSecrets } from '../../../domain/attestation.js';
import type { Role } from '../../../domain/ids.js';
import { workflowIdOf } from '../../../client/index.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import { type Answers, poachedMove } from './poacher.js';
import { appraised, believeEachOther, closed, judged, opened, quoted, unwrapped, withSessions } from './sessions.js';

/** What the hosts answered in one move, by `HOST ACTIVITY`. */
export type RecordedAnswers = ReadonlyMap<string, unknown>;

/** Of the last move of the arena's VM, as its history has them. */
export async function answersInHistory({ testbed, vm }: Arena): Promise<RecordedAnswers> {
  const { events } = await testbed.temporal.workflow.getHandle(workflowIdOf(vm.vmId)).fetchHistory();
  const asked = new Map<string, string>();
  const answers = new Map<string, unknown>();
  for (const { eventId, activityTaskScheduledEventAttributes: scheduled, activityTaskCompletedEventAttributes: completed } of events ?? []) {
    if (scheduled) asked.set(String(eventId), `${scheduled.taskQueue?.name?.replace(/^host-/, '')} ${scheduled.activityType?.name}`);
    const question = asked.get(String(completed?.scheduledEventId));
    const data = completed?.result?.payloads?.[0]?.data;
    if (question && data?.length) answers.set(question, JSON.parse(Buffer.from(data).toString('utf8')));
  }
  return answers;
}

export async function recordedAttestation(arena: Arena, recorded: RecordedAnswers): Promise<readonly Trial[]> {
  const { attacked, orderTo } = arena;
  const of = <T>(question: string) => recorded.get(question) as T;
  const evidence: Readonly<Record<Role, HostEvidence>> = { source: of('host-a quoteHost'), destination: of('host-b quoteHost') };
  const given = (judge: Role, one: HostEvidence) => async () => withSessions(arena, await orderTo('host-b'), (now) => judged(arena, now, judge, one));
  const answersOfB: Answers = Object.fromEntries(['inspectDestination', 'openSession', 'quoteHost', 'appraisePeer', 'unwrapSecrets', 'closeSession'].map((activity) => [activity, () => recorded.get(`host-b ${activity}`)]));
  return [
    await attacked('of a move that succeeded, to the source', 'host-b', ['BINDING_MISMATCH', 'NONCE_UNKNOWN'], given('source', evidence.destination)),
    await attacked('of a move that succeeded, to the destination', 'host-b', ['BINDING_MISMATCH', 'NONCE_UNKNOWN'], given('destination', evidence.source)),
    await attacked('the secrets that were wrapped then, after genuine evidence of both', 'host-b', ['SECRETS_INVALID'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        return unwrapped(arena, now, of<WrappedSecrets>('host-a wrapSecrets'));
      })),
    await attacked('all that host-b answered then, by a worker on its queue, in a whole move', 'host-b', ['BINDING_MISMATCH', 'NONCE_UNKNOWN'], () => poachedMove(arena, answersOfB)),
  ];
}

/** Sessions whose challenges must all differ: two a session. */
const SESSIONS = 25;
const AT_ONCE = 5;
const STOCKPILE = 10;

export async function fixedNonce(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue } = arena;
  const guesses = Array.from({ length: STOCKPILE }, (_, i) => i.toString(16).padStart(64, '0'));

  /** Both challenges of sessions that end at once. */
  async function challenges(): Promise<readonly string[]> {
    const order = await orderTo('host-b');
    const nonces = [await opened(arena, order, 'source'), await opened(arena, order, 'destination')].map(({ nonce }) => nonce);
    await closed(arena, order);
    return nonces;
  }
  return [
    await attacked('a challenge of his own in the first question', 'host-b', ['ORDER_INVALID'], async () => rogue.codesOf('host-a', 'openSession', { order: (await orderTo('host-b')).signed, role: 'source', nonce: guesses[0] })),
    await attacked(`${STOCKPILE} quotes of host-b over challenges that he guessed`, 'host-b', ['NONCE_UNKNOWN'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        const codes: string[] = [];
        for (const nonce of guesses) codes.push(...(await judged(arena, now, 'source', await quoted(arena, now, 'destination', { ...now.offers.source, nonce }))));
        return codes;
      })),
    await attacked('a quote over such a one, with the challenge of today written over it', 'host-b', ['QUALIFYING_DATA_MISMATCH'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        const { nonce } = now.offers.source;
        const evidence = await quoted(arena, now, 'destination', { ...now.offers.source, nonce: '00'.repeat(32) });
        return judged(arena, now, 'source', { ...evidence, binding: { ...evidence.binding, verifierNonce: nonce } });
      })),
    await attacked(`a quote over a challenge that came before: none of ${2 * SESSIONS} came twice`, 'host-b', ['NONCE_UNKNOWN'], async () => {
      const seen: string[] = [];
      while (seen.length < 2 * SESSIONS) seen.push(...(await Promise.all(Array.from({ length: AT_ONCE }, challenges))).flat());
      const codes = await withSessions(arena, await orderTo('host-b'), async (now) => {
        seen.push(now.offers.source.nonce, now.offers.destination.nonce);
        return appraised(arena, now, 'source', await quoted(arena, now, 'destination', { ...now.offers.source, nonce: seen[0] ?? '' }));
      });
      return new Set(seen).size === seen.length ? codes : [...codes, 'a challenge came twice'];
    }),
  ];
}
