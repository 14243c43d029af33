/**
 * What single steps of a move cost on their own, on the testbed's live TPM and with the product's own
 * functions: each is called here, in a quiet process, outside of any move.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostId } from '../domain/ids.js';
import { createLocalHost } from '../host/local.js';
import { createQemu } from '../hypervisor/qemu/driver.js';
import { TESTBED_PCRS, type Testbed } from '../infra/testbed/testbed.js';
import { createEvidenceVerifier } from '../tpm/evidence-verifier.js';
import { createHostTpm } from '../tpm/host-tpm.js';
import { createSwtpmManager } from '../tpm/swtpm.js';

export interface PartCost {
  readonly name: string;
  readonly ms: readonly number[];
}

export async function measureParts(testbed: Testbed, runs: number): Promise<readonly PartCost[]> {
  const costs = new Map<string, number[]>();
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const startedAtMs = performance.now();
    const result = await work();
    costs.set(name, [...(costs.get(name) ?? []), performance.now() - startedAtMs]);
    return result;
  };
  const root = join(testbed.root, 'parts');
  await mkdir(root);
  const tpm = createHostTpm({ access: createLocalHost(HostId.parse('host-a')), hostId: 'host-a', tcti: testbed.hosts['host-a'].tcti, stateDir: join(root, 'tpm') });
  await tpm.createWrappingKey(TESTBED_PCRS).then((key) => key.forget());
  for (let run = 0; run < runs; run++) {
    await measureTpm(timed, tpm);
    await measureHypervisor(timed, testbed, join(root, String(run)));
  }
  await rm(root, { recursive: true, force: true });
  return [...costs].map(([name, ms]) => ({ name, ms }));
}

type Timed = <T>(name: string, work: () => Promise<T>) => Promise<T>;

async function measureTpm(timed: Timed, tpm: ReturnType<typeof createHostTpm>): Promise<void> {
  await timed('TPM: readPcrs', () => tpm.readPcrs(TESTBED_PCRS));
  await timed('TPM: quote', () => tpm.quote(TESTBED_PCRS, randomBytes(32)));
  const key = await timed('TPM: createWrappingKey', () => tpm.createWrappingKey(TESTBED_PCRS));
  // What the next command waits for: slots of the TPM are freed after the key was handed out.
  await timed('TPM: readPcrs right after createWrappingKey', () => tpm.readPcrs(TESTBED_PCRS));
  const context = randomBytes(32);
  const wrapped = createEvidenceVerifier().wrapSecrets(key.evidence.publicArea, randomBytes(64), context);
  await timed('TPM: unwrap', () => key.unwrap(wrapped, context));
  await key.forget();
  const sealed = await timed('TPM: sealAtRest', () => tpm.sealAtRest(randomBytes(32)));
  await timed('TPM: unsealAtRest', () => tpm.unsealAtRest(sealed));
}

/** A destination that waits for an image, as prepareDestination makes it. */
async function measureHypervisor(timed: Timed, testbed: Testbed, folder: string): Promise<void> {
  const hostId = HostId.parse('host-a');
  const access = createLocalHost(hostId);
  const qemu = createQemu({ access, hostId });
  const vtpms = createSwtpmManager({ access, hostId, caDir: join(folder, 'ca') });
  const vm = await testbed.guest('part');
  const runDir = join(folder, 'run');
  await timed('QEMU: facts(), once a worker', () => qemu.facts());
  const { controlSocketPath } = await timed('swtpm: start', () =>
    vtpms.ensureRunning({ stateDir: join(folder, 'tpm'), runDir, stateKey: randomBytes(32), migrationKey: randomBytes(32) }),
  );
  const image = await timed('QEMU: openIncoming', () => qemu.openIncoming(vm, { runDir, vtpmControlSocketPath: controlSocketPath }));
  await timed('QEMU: status', () => qemu.status(vm.vmId, runDir));
  await image.close();
  await timed('QEMU: ensureDestroyed', () => qemu.ensureDestroyed(vm.vmId, runDir));
  await timed('swtpm: ensureStopped', () => vtpms.ensureStopped(runDir));
}
