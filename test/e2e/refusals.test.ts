/**
 * Bad input on real hosts: each is refused with its own code before anything changes. What host-b
 * "sees" is made different by bind mounts that only its worker has, so nothing is faked in it.
 *
 * Machine type, CPU model, accelerator and an old QEMU would need another QEMU on this machine:
 * test/unit/domain-preflight.test.ts covers those rules.
 */
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readSigner } from '../../cli/keys.js';
import { createKororaClient } from '../../client/index.js';
import { signEnvelope } from '../../domain/envelope.js';
import type { FailureCode } from '../../domain/failures.js';
import type { TrustBundle } from '../../domain/trust-bundle.js';
import { createLocalHost } from '../../host/local.js';
import { openQmp } from '../../hypervisor/qemu/qmp.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import type { GuestConsole } from '../../infra/testbed/guest-console.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { failedMove, moveTo, openTestbed, recordAt, startGuest } from './support.js';

const VM = 'sitter';
let testbed: Testbed;
let guest: GuestConsole;

beforeAll(async () => {
  testbed = await openTestbed();
  guest = (await startGuest(testbed, VM, 'host-a')).console;
});
afterAll(async () => {
  await guest?.close();
  await testbed?.stop();
});

/** The move is refused with exactly these codes; the VM counts on at host-a, which owns it as before; host-b has nothing new. */
async function refused(codes: readonly FailureCode[], { destination = 'host-b', isRunning = true, runsOn = 'host-a' }: { destination?: string; isRunning?: boolean; runsOn?: string | null } = {}): Promise<void> {
  const tracesBefore = await tracesOnB();
  const failed = await failedMove(moveTo(testbed, VM, destination));
  expect([...failed.codes].sort()).toEqual([...codes].sort());
  for (const { remedy } of failed.error.failures) expect(remedy.length).toBeGreaterThan(10);
  if (failed.result) expect(failed.result.outcome).toMatchObject({ kind: 'refused', runsOn });
  expect(await tracesOnB()).toEqual(tracesBefore);
  // What is new on both: that the order is used up.
  const [onA, onB] = [recordAt(testbed, 'host-a', VM), recordAt(testbed, 'host-b', VM)];
  expect([onA, onB]).toMatchObject([{ state: 'owner', epoch: 1 }, { state: 'none' }]);
  for (const { outcome, notAfter } of [...onA.settled, ...onB.settled]) expect([['withdrawn', 'rejected'].includes(outcome), notAfter === null]).toEqual([true, false]);
  if (!isRunning) return;
  const before = guest.counts().at(-1) ?? 0;
  await guest.until((c) => (c.counts().at(-1) ?? 0) > before + 5, 'counting on at host-a');
}

/** What an operator does with QEMU's own monitor. */
async function tellSource(command: 'stop' | 'cont'): Promise<void> {
  const qmp = await openQmp(await createLocalHost('host-a' as never).connectUnixSocket(join(testbed.hosts['host-a'].config.runDir, VM, 'qmp.sock')), 5000);
  try {
    await qmp.execute(command);
  } finally {
    qmp.close();
  }
}

const stateOf = (host: 'host-a' | 'host-b') => join(testbed.root, host, 'state/vms', VM);
/** But for its ownership record. */
const tracesOnB = async () => [...(await createLocalHost('host-b' as never).list(stateOf('host-b'))).filter((name) => name !== 'ownership.json'), ...(await createLocalHost('host-b' as never).list(join(testbed.hosts['host-b'].config.runDir, VM)))];

describe('names', () => {
  it('an unknown VM', async () => {
    expect((await failedMove(moveTo(testbed, 'nobody', 'host-b'))).codes).toEqual(['VM_UNKNOWN']);
  });
  it('an unknown host', () => refused(['HOST_UNKNOWN'], { destination: 'host-z' }));
  it('the host where it runs', () => refused(['SOURCE_IS_DESTINATION'], { destination: 'host-a' }));
  it('a malformed name', async () => {
    expect((await failedMove(moveTo(testbed, '../etc', 'host-b'))).codes).toEqual(['ORDER_INVALID']);
  });
});

describe('the VM', () => {
  it('without a vTPM', async () => {
    const { console } = await startGuest(testbed, 'plain', 'host-a', { hasVtpm: false, memoryMib: 128 });
    const { codes, result } = await failedMove(moveTo(testbed, 'plain', 'host-b'));
    expect(codes).toEqual(['VM_WITHOUT_VTPM']);
    expect(result?.outcome.kind).toBe('refused');
    await console.close();
  });

  it('that is paused is refused, not started', async () => {
    await tellSource('stop');
    await refused(['VM_PAUSED'], { isRunning: false });
    expect((await testbed.client.vms()).find((vm) => vm.vmId === VM && vm.hostId === 'host-a')?.status).toBe('paused');
    await tellSource('cont');
  });
});

describe('the trust bundle of the hosts', () => {
  const file = () => join(testbed.root, 'trust.json');
  /** A host that cannot say whose word counts looks at nothing, and says of nothing how it is. */
  const UNSEEN = { runsOn: null };
  /** On both hosts, signed as it should be; the client keeps its own. */
  const onHosts = async (bundle: object) => {
    const policy = await readSigner(testbed.keys.policy.privateFile);
    await writeFile(file(), JSON.stringify(await signEnvelope(bundle as TrustBundle, policy)));
  };
  beforeEach(async () => {
    const before = await readFile(file());
    return () => writeFile(file(), before);
  });

  it('that is not JSON', async () => {
    await writeFile(file(), '{');
    await refused(['BUNDLE_INVALID', 'BUNDLE_INVALID'], UNSEEN);
  });
  it('that lacks a field', async () => {
    await onHosts({ ...testbed.bundle.bundle, classes: undefined });
    await refused(['BUNDLE_INVALID', 'BUNDLE_INVALID'], UNSEEN);
  });
  it('that is another one with a serial that was used', async () => {
    await onHosts({ ...testbed.bundle.bundle, expiresAt: '2031-01-01T00:00:00Z' });
    await refused(['BUNDLE_SERIAL_USED', 'BUNDLE_SERIAL_USED'], UNSEEN);
  });
  it('that somebody else signed', async () => {
    await writeFile(file(), JSON.stringify(await signEnvelope(testbed.bundle.bundle, await readSigner(testbed.keys.operator.privateFile))));
    await refused(['BUNDLE_NOT_SIGNED', 'BUNDLE_NOT_SIGNED'], UNSEEN);
  });
});

describe('the destination', () => {
  const folder = () => join(testbed.root, 'elsewhere');
  const onB = (mounts: Readonly<Record<string, string>>) => testbed.restartWorker('host-b', mounts);
  beforeEach(async () => {
    await mkdir(folder(), { recursive: true });
    return async () => {
      await rm(folder(), { recursive: true, force: true });
    };
  });

  it('that does not see the disk', async () => {
    await onB({ [join(testbed.root, 'shared')]: folder() });
    await refused(['DISK_NOT_VISIBLE']);
  });

  it('that has a copy of the disk in its place', async () => {
    await copyFile(join(testbed.root, 'shared', `${VM}.raw`), join(folder(), `${VM}.raw`));
    await onB({ [join(testbed.root, 'shared')]: folder() });
    await refused(['DISK_NOT_SAME']);
  });

  it('with too little memory', async () => {
    const meminfo = await readFile('/proc/meminfo', 'utf8');
    await writeFile(join(folder(), 'meminfo'), meminfo.replace(/^MemAvailable:.*$/m, 'MemAvailable:     300000 kB'));
    await onB({ '/proc/meminfo': join(folder(), 'meminfo') });
    await refused(['MEMORY_INSUFFICIENT']);
  });

  it('without QEMU', async () => {
    await writeFile(join(folder(), 'nothing'), '');
    await onB({ '/usr/bin/qemu-system-x86_64': join(folder(), 'nothing') });
    await refused(['HYPERVISOR_UNSUPPORTED']);
  });

  it('with an swtpm that is too old, or older than the source’s', async () => {
    for (const [version, code] of [['0.6.4', ['SWTPM_UNSUPPORTED', 'SWTPM_OLDER']], ['0.7.0', ['SWTPM_OLDER']]] as const) {
      await writeFile(join(folder(), 'swtpm'), `#!/bin/sh\necho 'TPM emulator version ${version}, Copyright'\n`, { mode: 0o755 });
      await onB({ '/usr/bin/swtpm': join(folder(), 'swtpm') });
      await refused(code);
    }
  });

  it('with a leftover of an earlier attempt, and everything else that is wrong with it, at once', async () => {
    await mkdir(join(stateOf('host-b'), 'vtpm'), { recursive: true });
    await onB({ [join(testbed.root, 'shared')]: folder() });
    await refused(['LEFTOVER_FOUND', 'DISK_NOT_VISIBLE']);
    await rm(stateOf('host-b'), { recursive: true });
  });

  it('whose worker does not answer', async () => {
    await testbed.hosts['host-b'].worker.stop();
    await refused(['HOST_UNREACHABLE']);
    await testbed.restartWorker('host-b');
  });

  it('that is right again: the move succeeds', async () => {
    await onB({});
    expect((await moveTo(testbed, VM, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  });
});

describe('a trust bundle that is about to be signed', () => {
  const trial = async (bundle: TrustBundle) => {
    const client = createKororaClient({ client: testbed.temporal, bundle: { bundle, digest: '' as never } });
    return (await client.tryBundle()).map(({ hostId, referenceSet, failures }) => [hostId, referenceSet, failures.map(({ code, message }) => `${code}: ${message}`)]);
  };

  it('is tried by quotes that the hosts make for it: who would pass, and which rule fails on which PCR', async () => {
    const { bundle } = testbed.bundle;
    const [name = ''] = Object.keys(bundle.classes);
    const hostClass = bundle.classes[name];
    const ids = hostClass?.referenceSets.map(({ id }) => id) ?? [];
    expect((await trial(bundle)).map(([host, set, failures]) => [host, ids.includes(set as string), failures])).toEqual([['host-a', true, []], ['host-b', true, []]]);

    // Values that no host has, of one PCR less, which the hosts are asked for; their installed bundle has it still.
    const pcrs = hostClass?.pcrs.filter((pcr) => pcr !== 14) ?? [];
    const referenceSets = hostClass?.referenceSets.map((set) => ({ ...set, pcrValues: Object.fromEntries(pcrs.map((pcr) => [pcr, pcr === 7 ? 'ab'.repeat(32) : set.pcrValues[pcr]])) })) ?? [];
    const refused = await trial({ ...bundle, classes: { [name]: { ...hostClass, pcrs, referenceSets } as never } });
    expect(refused).toEqual(['host-a', 'host-b'].map((host) => [host, null, [expect.stringContaining(`PCR_NOT_REFERENCE: PCR 7 of ${host} is `)]]));
  });

  it('a host that is silent is named', async () => {
    await testbed.hosts['host-b'].worker.stop();
    expect((await trial(testbed.bundle.bundle)).map(([host, , failures]) => [host, failures])).toEqual([['host-a', []], ['host-b', [expect.stringContaining('HOST_UNREACHABLE')]]]);
    await testbed.restartWorker('host-b');
  });
});

describe('a newer trust bundle', () => {
  it('that has expired; that is not the one ordered under; and the one before it', async () => {
    const [file, older] = [join(testbed.root, 'trust.json'), await readFile(join(testbed.root, 'trust.json'))];
    const client = await testbed.installBundle({ ...testbed.bundle.bundle, expiresAt: '2020-01-01T00:00:00Z' });
    const started = await client.migrate({ vmId: VM, destination: 'host-a' });
    expect((await failedMove(endOfMove(client, VM, started.runId))).codes).toEqual(['BUNDLE_EXPIRED', 'BUNDLE_EXPIRED']);
    await testbed.installBundle(testbed.bundle.bundle);
    expect((await failedMove(moveTo(testbed, VM, 'host-a'))).codes).toEqual(['BUNDLE_DIFFERS', 'BUNDLE_DIFFERS']);

    // As a restored disk would have it; a worker that was never told otherwise asks its TPM.
    await writeFile(file, older);
    await testbed.restartControl();
    expect((await failedMove(moveTo(testbed, VM, 'host-a'))).codes).toEqual(['BUNDLE_OLDER', 'BUNDLE_OLDER']);
    await expect(testbed.restartWorker('host-a')).rejects.toThrow('BUNDLE_OLDER');
  });
});
