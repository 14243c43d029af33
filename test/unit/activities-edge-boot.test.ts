/** activities/edge.ts, boot.ts and copy.ts: what an activity does not take, in which words; a VM without a vTPM; keys after a boot; limits of another VM. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { createCopying } from '../../activities/copy.js';
import { atTheEdge } from '../../activities/edge.js';
import { KororaError, failure } from '../../domain/failures.js';
import { SecretKey } from '../../domain/secret-key.js';
import { VmDocument } from '../../domain/vm.js';
import { FOREVER, OPERATOR, sign, vmOf } from '../../infra/testbed/hostile/people.js';
import { beginHosts } from '../support/hosts-in-memory.js';
import { sessionOn, waiting } from '../support/moves-in-memory.js';

describe('an argument that an activity does not take', () => {
  /** What it refuses, of an activity that takes these members, each a number. */
  async function refused(members: readonly string[], ...args: readonly unknown[]) {
    const input = z.strictObject(Object.fromEntries(members.map((name) => [name, z.number(`no ${name}`)])));
    const { activity } = atTheEdge('host-a', { activity: input }, { activity: () => Promise.resolve('taken') });
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR', () => undefined) });
    const error: unknown = await environment.run(activity as (...all: readonly unknown[]) => Promise<unknown>, ...args).then((answer) => answer, (thrown: { readonly cause: unknown }) => thrown.cause);
    return error instanceof KororaError ? error.failures : error;
  }

  it('is one of two', async () => {
    expect(await refused(['a'], { a: 1 })).toBe('taken');
    expect(await refused(['a'], { a: 1 }, { a: 1 })).toEqual([failure('ORDER_INVALID', { problem: 'there is one argument' })]);
  });

  it('is refused by the code of each wrong member, with what is wrong with that member alone', async () => {
    const members = ['vm', 'evidence', 'peer', 'statement', 'wrapped', 'order'];
    expect(await refused(members, Object.fromEntries(members.map((name) => [name, 'x'])))).toEqual([
      failure('VM_DOCUMENT_INVALID', { problem: 'vm: no vm' }),
      failure('EVIDENCE_INVALID', { problem: 'evidence: no evidence' }),
      failure('EVIDENCE_INVALID', { problem: 'peer: no peer' }),
      failure('EVIDENCE_INVALID', { problem: 'statement: no statement' }),
      failure('SECRETS_INVALID', { host: 'host-a', problem: 'wrapped: no wrapped' }),
      failure('ORDER_INVALID', { problem: 'order: no order' }),
    ]);
  });
});

describe('a boot', () => {
  it('of a VM without a vTPM starts none', async () => {
    const hosts = await beginHosts();
    await hosts.start(VmDocument.parse({ ...vmOf('plain'), vtpm: null }), 'host-a');
    expect([hosts.state('host-a', 'plain'), hosts.machine('host-a').runs('plain'), hosts.machine('host-a').vtpms.has('/run/host-a/plain')]).toEqual(['owner', true, false]);
  });

  it('leaves no key behind', async () => {
    const made: SecretKey[] = [];
    const original = SecretKey.of.bind(SecretKey);
    const spy = vi.spyOn(SecretKey, 'of').mockImplementation((bytes) => {
      const key = original(bytes);
      made.push(key);
      return key;
    });
    try {
      const hosts = await beginHosts();
      made.length = 0;
      await hosts.start(vmOf('plain'), 'host-a');
      expect(hosts.machine('host-a').vtpms.has('/run/host-a/plain')).toBe(true);
      expect([made.length > 0, made.filter(({ isDestroyed }) => !isDestroyed)]).toEqual([true, []]);
    } finally {
      spy.mockRestore();
    }
  });
});

describe('a copy that runs', () => {
  it('tells Temporal how far it is', async () => {
    const { hosts, move } = await waiting();
    const heard: unknown[] = [];
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR', () => undefined) });
    environment.on('heartbeat', (details: unknown) => heard.push(details));
    const { copyMemory } = createCopying(hosts.services('host-a'), {} as never);
    environment.run(() => copyMemory({ order: move.signed, port: move.port } as never)).catch(() => undefined);
    await hosts.quiet();
    for (let i = 0; i < 2; i++) {
      vi.advanceTimersByTime(200);
      await hosts.quiet();
    }
    const progress = await hosts.drive(sessionOn(hosts, 'host-a', move).outgoing?.progress() ?? Promise.reject(new Error('no copy')));
    expect(heard).toEqual([undefined, { progress }]);
    expect(progress).toMatchObject({ round: expect.any(Number) as number });
  });
});

describe('other limits', () => {
  it('are of the VM that moves', async () => {
    const { hosts, move } = await waiting();
    const { migrationId, limits } = move.order;
    const change = await sign({ kind: 'korora/limits', version: 1, migrationId, vmId: 'other', limits, by: OPERATOR, notAfter: FOREVER } as never);
    expect(await hosts.refused('host-a', 'tuneCopy', { move: move.key, change })).toEqual(['ORDER_INVALID: the order is not valid: migrationId: it is of another move']);
  });
});
