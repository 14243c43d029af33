/** A third enrolled host beside a testbed's two: as genuine as they are, and the destination of no order but its own. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withHosts } from '../../../cli/bundles.js';
import type { KororaClient } from '../../../client/index.js';
import type { PublicKey } from '../../../domain/envelope.js';
import { HostId, type NetworkAddress, type VmId } from '../../../domain/ids.js';
import { createLocalHost } from '../../../host/local.js';
import { ensureTestbedTpm, ensureTestbedTpmStopped, testbedCaFiles } from '../../../tpm/testbed-tpm.js';
import { type HostConfig, loadHostConfig } from '../../../workers/config.js';
import { createDrivers } from '../../../workers/hypervisors.js';
import { admitTestbedHost } from '../enrolment.js';
import { built } from '../faults/built.js';
import { freePort, freePortPair } from '../ports.js';
import { startProcess } from '../processes.js';
import { TESTBED_PCRS, type Testbed } from '../testbed.js';

export interface ThirdHost {
  readonly config: HostConfig;
  /** Under the bundle that has all three hosts. */
  readonly client: KororaClient;
  close(): Promise<void>;
}

/** `reach`: where peers are told to connect, for a channel that listens there. `policyKey`: by which its bundles must be signed. */
export async function addThirdHost(testbed: Testbed, vmId: VmId, policyKey: PublicKey, reach: (listen: NetworkAddress) => Promise<NetworkAddress>): Promise<ThirdHost> {
  const hostId = HostId.parse('host-c');
  const access = createLocalHost(hostId);
  const folder = join(testbed.root, hostId);
  const port = await freePortPair();
  const tpm = { access, hostId, stateDir: join(folder, 'tpm'), port };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { tcti } = await ensureTestbedTpm(tpm);
  const listen = { host: '127.0.0.1', port: await freePort() };
  const configFile = join(folder, 'host.json');
  const document = {
    kind: 'korora/host', version: 1, hostId, access: 'local', hypervisor: 'qemu', stateDir: 'state', runDir: join(testbed.root, 'run', hostId), trustBundle: '../trust.json', tcti,
    storage: testbed.hosts['host-a'].config.storage,
    channel: { listen, advertise: await reach(listen) },
  };
  await writeFile(configFile, JSON.stringify(document));
  const config = await loadHostConfig(configFile);
  const [known] = testbed.bundle.bundle.hosts;
  const admitted = await admitTestbedHost(config, { signers: [policyKey], hostClass: known?.class ?? '', pcrs: TESTBED_PCRS }, testbedCaFiles(tpm.stateDir));
  const client = await testbed.installBundle(withHosts(testbed.bundle.bundle, admitted, 'active'));
  const worker = await startProcess({
    name: hostId, command: built('cli/main.js'), args: ['worker', 'host', '--config', configFile], environment: testbed.environment, logFile: join(testbed.root, `logs/${hostId}.log`), readyText: ' ready',
  });
  return {
    config,
    client,
    async close() {
      await worker.stop();
      const { hypervisor, vtpms } = createDrivers(access, config);
      const runDir = join(config.runDir, vmId);
      await hypervisor.ensureDestroyed(vmId, runDir);
      await vtpms.ensureStopped(runDir);
      await ensureTestbedTpmStopped(tpm);
    },
  };
}
