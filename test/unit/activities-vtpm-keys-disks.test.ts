/** activities/vtpm-keys.ts and disks.ts: what becomes of the bytes of keys, and whether two hosts see one disk. */
import { describe, expect, it, vi } from 'vitest';
import { A, beginHosts, refusalsOf } from '../support/hosts-in-memory.js';
import { assertSameDisks, diskDigests, diskFacts } from '../../activities/disks.js';
import { destroyKeys, sealKeys, unsealKeys, withKeyBytes } from '../../activities/vtpm-keys.js';
import { digestOf } from '../../domain/canonical.js';
import { SecretKey } from '../../domain/secret-key.js';
import { VmDocument } from '../../domain/vm.js';
import { vmOf } from '../../infra/testbed/hostile/people.js';

const bytesOf = (key: SecretKey | undefined) => key?.use((bytes) => Buffer.from(bytes).toString('hex'));

describe('the keys of a vTPM', () => {
  const keys = () => ({ stateKey: SecretKey.of(Buffer.alloc(32, 1)), migrationKey: SecretKey.of(Buffer.alloc(32, 2)) });

  it('come out of the TPM as they went in, and nothing of them stays', async () => {
    const hosts = await beginHosts();
    const seen: Buffer[] = [];
    const { tpm } = hosts.services('host-a');
    const watched = { ...tpm, sealAtRest: (secret: Buffer) => (seen.push(secret), tpm.sealAtRest(secret)), unsealAtRest: async (blob: never) => {
      const both = await tpm.unsealAtRest(blob);
      seen.push(both);
      return both;
    } };
    const sealed = await hosts.drive(sealKeys(watched, keys()));
    const { stateKey, migrationKey } = await hosts.drive(unsealKeys(watched, 'host-a', sealed));
    expect([bytesOf(stateKey), bytesOf(migrationKey)]).toEqual(['01'.repeat(32), '02'.repeat(32)]);
    expect(seen.map((bytes) => [bytes.length, bytes.every((byte) => byte === 0)])).toEqual([[64, true], [64, true]]);
    destroyKeys({ stateKey, migrationKey });
    expect([stateKey.isDestroyed, migrationKey.isDestroyed]).toEqual([true, true]);
  });

  it('are zeros after the work that they were given for, also where it fails', async () => {
    const given: Buffer[] = [];
    const work = (fails: boolean) => withKeyBytes(keys(), async ({ stateKey, migrationKey }) => {
      expect([stateKey[0], migrationKey[0]]).toEqual([1, 2]);
      given.push(stateKey, migrationKey);
      if (fails) throw new Error('a test');
      return 'done';
    });
    expect(await work(false)).toBe('done');
    await expect(work(true)).rejects.toThrow('a test');
    expect(given.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true, true, true, true]);
  });

  it.each([32, 63, 65, 96])('are none where %i bytes come out', async (length) => {
    const hosts = await beginHosts();
    const both = Buffer.alloc(length, 1);
    expect(await refusalsOf(hosts.drive(unsealKeys({ unsealAtRest: () => Promise.resolve(both) } as never, 'host-a', {} as never)))).toEqual([expect.stringMatching(new RegExp(`^TPM_COMMAND_FAILED: .*unseal.*host-a.*${length} bytes are not the keys of a vTPM`))]);
    expect(both.every((byte) => byte === 0)).toBe(true);
  });

  it('are gathered without the one of the state, which stays with its host', async () => {
    const destroyed: (string | undefined)[] = [];
    const original = Reflect.get(SecretKey.prototype, 'destroy') as () => void;
    const spy = vi.spyOn(SecretKey.prototype, 'destroy').mockImplementation(function (this: SecretKey) {
      destroyed.push(bytesOf(this));
      original.call(this);
    });
    try {
      const hosts = await beginHosts();
      destroyed.length = 0;
      await hosts.move('opened');
      await hosts.quiet();
      expect(destroyed).toEqual([hosts.machine('host-a').vtpms.get('/run/host-a/web')?.stateKey]);
    } finally {
      spy.mockRestore();
    }
  });
});

describe('a disk', () => {
  const vm = VmDocument.parse({ ...vmOf('web'), disks: [{ id: 'one', path: '/srv/one.raw', format: 'raw' }, { id: 'two', path: '/srv/two.raw', format: 'raw' }] });
  const access = (facts: Readonly<Record<string, object | null>>) => ({ stat: (path: string) => Promise.resolve(facts[path] ?? null) }) as never;
  const file = (inode: string, others: object = {}) => ({ kind: 'file', inode, birthTimeNs: '1', sizeBytes: 5, links: 1, isOpenToOthers: false, ...others });
  const order = { source: 'host-a', destination: 'host-b' } as never;

  it('is what the host sees of it: a file or a block device, and nothing else', async () => {
    const identity = (inode: string) => ({ inode, birthTimeNs: '1', sizeBytes: 5 });
    expect(await diskFacts(access({ '/srv/one.raw': file('1'), '/srv/two.raw': file('2', { kind: 'block-device' }) }), vm)).toEqual([{ id: 'one', identity: identity('1') }, { id: 'two', identity: identity('2') }]);
    expect(await diskFacts(access({ '/srv/one.raw': file('1', { kind: 'directory' }) }), vm)).toEqual([{ id: 'one', identity: null }, { id: 'two', identity: null }]);
  });

  it('is known by the digest of that, where it is visible', async () => {
    const seen = access({ '/srv/one.raw': file('1'), '/srv/two.raw': file('2') });
    expect(await diskDigests(seen, A, vm)).toEqual([digestOf({ inode: '1', birthTimeNs: '1', sizeBytes: 5 }), digestOf({ inode: '2', birthTimeNs: '1', sizeBytes: 5 })]);
    expect(await refusalsOf(diskDigests(access({ '/srv/one.raw': file('1') }), A, vm))).toEqual([expect.stringMatching(/^DISK_NOT_VISIBLE: .*host-a.*\/srv\/two\.raw/)]);
  });

  it('is the same on both hosts, or all that are not are named', async () => {
    const seen = { '/srv/one.raw': file('1'), '/srv/two.raw': file('2') };
    const ofSource = await diskDigests(access(seen), A, vm);
    await expect(assertSameDisks(access(seen), order, vm, ofSource)).resolves.toBeUndefined();
    const [first, second] = ofSource;
    expect(await refusalsOf(assertSameDisks(access(seen), order, vm, [second, first] as never))).toEqual([expect.stringMatching(/^DISK_NOT_SAME: .*one.*/), expect.stringMatching(/^DISK_NOT_SAME: .*two.*/)]);
    expect(await refusalsOf(assertSameDisks(access(seen), order, vm, [first] as never))).toEqual([expect.stringMatching(/^DISK_NOT_SAME: .*two.*/)]);
    expect(await refusalsOf(assertSameDisks(access({}), order, vm, ofSource))).toEqual([expect.stringMatching(/^DISK_NOT_VISIBLE: .*host-b/)]);
  });
});
