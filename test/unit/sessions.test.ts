/**
 * Sessions (activities/session.ts) under whoever calls any step at any time: one a migration, its steps take turns, closing waits for what is in flight, and no
 * key is used after it.
 */
import { describe, expect, it, vi } from 'vitest';
import { type IncomingMove, type MoveSecrets, type Session, type SessionKey, createSessions } from '../../activities/session.js';
import { KororaError, refuse } from '../../domain/failures.js';
import { Epoch } from '../../domain/ids.js';
import { SecretKey } from '../../domain/secret-key.js';
import { settleable } from '../../domain/settleable.js';
import { SOURCE, digest, migrationId } from '../support/documents.js';
import { settled } from '../support/settled.js';

const key: SessionKey = { migrationId: migrationId(1), orderDigest: digest(1), role: 'source' };
const why = refuse('ABORTED', { reason: 'the test says so' });
const secretsOf = (): MoveSecrets => ({ sessionKey: SecretKey.of(Buffer.alloc(32, 7)), vtpmMigrationKey: SecretKey.of(Buffer.alloc(32, 8)), epoch: Epoch.parse(2), vtpmIdentity: digest(2), disks: [], previousVerdict: null });
const sessionOf = (more: Partial<Session> = {}): Session => ({ secrets: null, gathering: null, outgoing: null, incoming: null, wrappingKey: null, ...more }) as Session;
const codeOf = (work: Promise<unknown>) => work.then(() => 'none', (error: unknown) => (error instanceof KororaError ? error.code : String(error)));

async function opened(more: Partial<Session> = {}) {
  const sessions = createSessions(SOURCE);
  const session = await sessions.open(key, async () => sessionOf(more));
  return { sessions, session };
}

describe('a session', () => {
  it('is one for two who open it at once', async () => {
    const sessions = createSessions(SOURCE);
    const made: Session[] = [];
    const make = async () => {
      await settled();
      made.push(sessionOf());
      return made.at(-1) as Session;
    };
    const [one, other] = await Promise.all([sessions.open(key, make), sessions.open(key, make)]);
    expect([one === other, made.length]).toEqual([true, 1]);
  });

  it('that could not be made leaves its place to the next', async () => {
    const sessions = createSessions(SOURCE);
    expect(await codeOf(sessions.open(key, () => Promise.reject(refuse('HOST_UNKNOWN', { host: 'x' }))))).toBe('HOST_UNKNOWN');
    expect(await codeOf(sessions.open(key, async () => sessionOf()))).toBe('none');
  });

  it('that could not be made, and is closed meanwhile, takes nobody’s place with it', async () => {
    const sessions = createSessions(SOURCE);
    const made = settleable<Session>();
    const opening = codeOf(sessions.open(key, () => made.promise)).then(async (code) => [code, await codeOf(sessions.open(key, async () => sessionOf()))]);
    const closing = sessions.close(key.migrationId, why);
    made.reject(refuse('HOST_UNKNOWN', { host: 'x' }));
    expect(await closing).toBeUndefined();
    expect(await opening).toEqual(['HOST_UNKNOWN', 'none']);
    await settled();
    expect(sessions.isUnderWay(key)).toBe(true);
  });

  it('that could not be made, and is closed meanwhile, leaves alone what is in its place by then', async () => {
    const sessions = createSessions(SOURCE);
    const made = settleable<Session>();
    const opening = codeOf(sessions.open(key, () => made.promise));
    const closing = sessions.close(key.migrationId, why);
    // In the very turn in which its place is free, before it is closed to its end.
    const next = made.promise.catch(() => sessions.open(key, async () => sessionOf()));
    made.reject(refuse('HOST_UNKNOWN', { host: 'x' }));
    expect([await opening, await closing]).toEqual(['HOST_UNKNOWN', undefined]);
    expect(sessions.find(key.migrationId)).toBe(await next);
  });

  it('is for one order and one role', async () => {
    const { sessions } = await opened();
    for (const other of [{ ...key, orderDigest: digest(9) }, { ...key, role: 'destination' as const }]) {
      expect(await codeOf(sessions.inTurn(other, async () => undefined))).toBe('SESSION_LOST');
      expect(await codeOf(sessions.open(other, async () => sessionOf()))).toBe('SESSION_LOST');
    }
    expect([sessions.isUnderWay(key), sessions.isUnderWay({ ...key, orderDigest: digest(9) })]).toEqual([true, false]);
  });

  it('takes its steps one after the other', async () => {
    const { sessions } = await opened();
    const first = settleable<void>();
    const done: string[] = [];
    const steps = [
      sessions.inTurn(key, async () => {
        await first.promise;
        done.push('first');
      }),
      sessions.inTurnOf(key.migrationId, async () => done.push('second')),
    ];
    await settled();
    expect(done).toEqual([]);
    first.resolve();
    await Promise.all(steps);
    expect(done).toEqual(['first', 'second']);
  });

  it('goes on after a step that failed', async () => {
    const { sessions } = await opened();
    expect(await codeOf(sessions.inTurn(key, () => Promise.reject(why)))).toBe('ABORTED');
    expect(await sessions.inTurn(key, async () => 'the next')).toBe('the next');
  });
});

describe('closing a session', () => {
  it('waits for the step in flight, which has its keys to its end', async () => {
    const secrets = secretsOf();
    const { sessions } = await opened({ secrets });
    const goesOn = settleable<void>();
    const step = sessions.inTurn(key, async (session) => {
      await goesOn.promise;
      return session.secrets?.sessionKey.use((bytes) => bytes[0]);
    });
    await settled();
    const closing = sessions.close(key.migrationId, why);
    await settled();
    expect(secrets.sessionKey.isDestroyed).toBe(false);
    goesOn.resolve();
    expect(await step).toBe(7);
    await closing;
    expect([secrets.sessionKey.isDestroyed, secrets.vtpmMigrationKey.isDestroyed]).toEqual([true, true]);
  });

  it('lets no step in that waited for its turn, nor a new one, nor a new session before it is over', async () => {
    const { sessions } = await opened();
    const goesOn = settleable<void>();
    const first = sessions.inTurn(key, () => goesOn.promise);
    const waited = codeOf(sessions.inTurn(key, async () => undefined));
    await settled();
    const closing = sessions.close(key.migrationId, why);
    expect(await codeOf(sessions.inTurn(key, async () => undefined))).toBe('SESSION_LOST');
    expect(await sessions.inTurnOf(key.migrationId, async () => 'in')).toBeNull();
    expect(await codeOf(sessions.open(key, async () => sessionOf()))).toBe('SESSION_LOST');
    expect(sessions.isUnderWay(key)).toBe(false);
    goesOn.resolve();
    await Promise.all([first, closing]);
    expect(await waited).toBe('SESSION_LOST');
    expect(await codeOf(sessions.open(key, async () => sessionOf()))).toBe('none');
  });

  it('ends the copy, also one that the last step began, and waits until nothing of it goes on', async () => {
    const secrets = secretsOf();
    const ended = settleable<void>();
    const aborted: unknown[] = [];
    const { sessions } = await opened({ secrets });
    const goesOn = settleable<void>();
    const step = sessions.inTurn(key, async (session) => {
      await goesOn.promise;
      session.outgoing = { abort: (reason: unknown) => aborted.push(reason), ended: ended.promise } as unknown as Session['outgoing'];
    });
    await settled();
    const closing = sessions.close(key.migrationId, why);
    goesOn.resolve();
    await step;
    await settled();
    expect(new Set(aborted)).toEqual(new Set([why]));
    expect(secrets.sessionKey.isDestroyed).toBe(false);
    ended.resolve();
    await closing;
    expect(secrets.sessionKey.isDestroyed).toBe(true);
  });

  it('gives up the receiving, waits for its verdict, closes the door and forgets the wrapping key', async () => {
    const verification = settleable<never>();
    const done: string[] = [];
    const incoming = { giveUp: new AbortController(), verification: verification.promise, listener: { close: async () => void done.push('door closed') } } as unknown as IncomingMove;
    const wrappingKey = Promise.resolve({ forget: async () => void done.push('forgotten') }) as unknown as Session['wrappingKey'];
    const { sessions } = await opened({ incoming, wrappingKey });
    const closing = sessions.close(key.migrationId, why);
    await settled();
    expect([incoming.giveUp.signal.reason, done]).toEqual([why, []]);
    verification.reject(why);
    await closing;
    expect(done).toEqual(['door closed', 'forgotten']);
  });

  it('destroys the secrets that are still on their way out of the TPM', async () => {
    const secrets = secretsOf();
    const gathering = settleable<MoveSecrets>();
    const { sessions } = await opened({ gathering: gathering.promise });
    const closing = sessions.close(key.migrationId, why);
    await settled();
    gathering.resolve(secrets);
    await closing;
    expect(secrets.sessionKey.isDestroyed).toBe(true);
  });

  it('twice at once is once, and of none is nothing', async () => {
    const { sessions } = await opened();
    await Promise.all([sessions.close(key.migrationId, why), sessions.close(key.migrationId, why)]);
    await sessions.close(migrationId(2), why);
    expect(sessions.find(key.migrationId)).toBeUndefined();
  });
});

describe('a session that takes too long', () => {
  it.each([
    ['ends where its hosts have not met', false, false],
    ['goes on where they have', true, true],
  ])('%s', async (_, isConnected, isThere) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const sessions = createSessions(SOURCE, 1000);
      const outgoing = { isConnected, abort: () => undefined, ended: Promise.resolve() } as unknown as Session['outgoing'];
      await sessions.open(key, async () => sessionOf({ outgoing }));
      vi.advanceTimersByTime(999);
      expect(sessions.isUnderWay(key)).toBe(true);
      vi.advanceTimersByTime(1);
      expect(sessions.isUnderWay(key)).toBe(isThere);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a session that nobody closes', () => {
  const beginsToExpire = async (more: Partial<Session>) => {
    const sessions = createSessions(SOURCE, 1000);
    await sessions.open(key, async () => sessionOf(more));
    return async (ms: number) => {
      vi.advanceTimersByTime(ms);
      await settled();
      return sessions.isUnderWay(key);
    };
  };
  const unconnected = { isConnected: false, abort: () => undefined, ended: Promise.resolve() } as unknown as Session['outgoing'];

  it.each<[string, Partial<Session>]>([['before there is a copy', {}], ['whose copy never met its peer', { outgoing: unconnected }]])('ends after its time %s', async (_, more) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const underWayAfter = await beginsToExpire(more);
      expect([await underWayAfter(999), await underWayAfter(1)]).toEqual([true, false]);
    } finally {
      vi.useRealTimers();
    }
  });

  it.each(['outgoing', 'incoming'] as const)('lasts as long as its %s copy, however long that is, and once more its time', async (side) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const over = settleable<never>();
      const outgoing = { isConnected: true, abort: () => undefined, ended: over.promise };
      const incoming = { isConnected: true, giveUp: new AbortController(), verification: over.promise, listener: { close: async () => undefined } };
      const underWayAfter = await beginsToExpire(side === 'outgoing' ? { outgoing: outgoing as unknown as Session['outgoing'] } : { incoming: incoming as unknown as IncomingMove });
      for (let i = 0; i < 5; i++) expect(await underWayAfter(1000)).toBe(true);
      over.reject(new Error('it ended'));
      await settled();
      expect([await underWayAfter(999), await underWayAfter(1)]).toEqual([true, false]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('ends some time after its copy did, so that no key stays in memory for ever', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const secrets = secretsOf();
      const copied = settleable<void>();
      const sessions = createSessions(SOURCE, 1000);
      await sessions.open(key, async () => sessionOf({ secrets, outgoing: { isConnected: true, abort: () => undefined, ended: copied.promise } as unknown as Session['outgoing'] }));
      vi.advanceTimersByTime(10_000);
      expect(sessions.isUnderWay(key)).toBe(true);
      copied.resolve();
      await settled();
      vi.advanceTimersByTime(999);
      expect(sessions.isUnderWay(key)).toBe(true);
      vi.advanceTimersByTime(1);
      await settled();
      expect([sessions.isUnderWay(key), secrets.sessionKey.isDestroyed]).toEqual([false, true]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a secret key', () => {
  it('is 32 bytes that are not all zeros', () => {
    for (const bytes of [Buffer.alloc(32), Buffer.alloc(31, 1), Buffer.alloc(33, 1), Buffer.alloc(0)]) expect(() => SecretKey.of(bytes)).toThrow('a key of this move is none');
  });

  it('is a copy of what it was made of, and its copies have an end of their own', () => {
    const bytes = Buffer.alloc(32, 5);
    const first = SecretKey.of(bytes);
    bytes.fill(0);
    const second = first.copy();
    first.destroy();
    expect(second.use((key) => [...key].every((byte) => byte === 5))).toBe(true);
    expect(() => first.use(() => undefined)).toThrow('a key of this move is none');
    expect(() => first.copy()).toThrow('a key of this move is none');
  });

  it('is written nowhere', () => {
    expect(JSON.stringify({ key: SecretKey.of(Buffer.alloc(32, 5)) })).toBe('{"key":"a secret"}');
  });
});
