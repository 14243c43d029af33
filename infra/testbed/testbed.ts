/**
 * Two hosts on one machine, for the demo, the end-to-end tests and the bench: each with its own
 * state folder, its own TPM 2.0 (swtpm with an EK certificate) and its own worker process, beside
 * a control worker and a Temporal server. All real; only the machine is shared.
 *
 *   <root>/<hostId>/{host.json,state/,tpm/}   <root>/run/<hostId>/   <root>/shared/ (both hosts' storage)
 *   <root>/{trust.json,policy.key,operator.key,temporal.db,evidence/,logs/,processes.json}
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Client } from '@temporalio/client';
import { firstBundle, mayDoAnything } from '../../cli/bundles.js';
import { connectClient } from '../../cli/context.js';
import { type NewKey, makeKey, readSigner } from '../../cli/keys.js';
import { type KororaClient, createKororaClient } from '../../client/index.js';
import { type Signer, signEnvelope } from '../../domain/envelope.js';
import { problemOf } from '../../domain/failures.js';
import { HostId, type NetworkAddress, VmId } from '../../domain/ids.js';
import { type InstalledBundle, type TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import type { VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import { shutDownFakeMachine } from '../../hypervisor/fake/driver.js';
import { readTemporalPlace } from '../../temporal/place.js';
import { ensureTestbedTpm, ensureTestbedTpmStopped, testbedCaFiles } from '../../tpm/testbed-tpm.js';
import { type HostConfig, loadHostConfig } from '../../workers/config.js';
import { createDrivers } from '../../workers/hypervisors.js';
import { startTemporalServer, type TemporalServer } from '../temporal/start-server.mjs';
import { admitTestbedHost } from './enrolment.js';
import { type GuestOptions, guestDocument } from './guest-document.js';
import { built } from './faults/built.js';
import { type TestbedProcess, endWrittenDown, leaveRunning, pidsBelow, startProcess, writeDown } from './processes.js';
import type { HostPlace } from './namespaces.js';
import { inNetwork, withOwnMounts } from './own-mounts.js';
import { freePort, freePortPair } from './ports.js';

export { pidsBelow };
export const TESTBED_PCRS = [0, 2, 4, 7, 14] as const;
const HOST_CLASS = 'testbed';
const KORORA = built('cli/main.js');
export const KORORA_WORKERS: NonNullable<TestbedOptions['workerCommands']> = {
  host: (configFile) => [KORORA, 'worker', 'host', '--config', configFile],
  control: (evidenceDir) => [KORORA, 'worker', 'control', '--evidence-dir', evidenceDir],
};

/** They count their peers as silent sooner (quick.ts). */
export const QUICK_WORKERS: NonNullable<TestbedOptions['workerCommands']> = {
  host: (configFile) => [process.execPath, '--single-threaded-gc', built('infra/testbed/quick-worker.js'), 'host', configFile],
  control: (evidenceDir) => [process.execPath, '--single-threaded-gc', built('infra/testbed/quick-worker.js'), 'control', evidenceDir],
};

export interface TestbedOptions {
  /** Short: unix sockets live below it. Removed and made anew. */
  readonly root: string;
  /** Folder of vmlinuz, initramfs.cpio and cmdline (infra/guest/build.sh). */
  readonly guestDir: string;
  readonly temporalBinary: string;
  /** Of both hosts, and of the VMs that guest() gives. Default: qemu. */
  readonly hypervisor?: HostConfig['hypervisor'];
  /** Puts something between a host's worker and its TPM, e.g. an attacker. Returns the TCTI for the worker. */
  readonly tpmTap?: (host: { readonly hostId: string; readonly tcti: string }) => Promise<string>;
  /** Puts something between the source and a host's channel. Returns where peers are told to connect. */
  readonly channelTap?: (host: { readonly hostId: string; readonly listen: NetworkAddress }) => Promise<NetworkAddress>;
  /** Puts something between everybody here and the Temporal server. Returns the variables with which it is reached. */
  readonly temporalTap?: (server: { readonly address: string }) => Promise<Readonly<Record<string, string>>>;
  /** Puts each host into a network of its own (namespaces.ts), whose `channelTap` then goes here too; left out, all are on loopback. */
  readonly places?: Readonly<Record<'host-a' | 'host-b', HostPlace>>;
  /** Command lines of other programs in the place of `korora worker host` and `korora worker control`. */
  readonly workerCommands?: { readonly host: (configFile: string) => readonly string[]; readonly control: (evidenceDir: string) => readonly string[] };
}

export interface TestbedHost {
  readonly config: HostConfig;
  readonly configFile: string;
  readonly tpmPort: number;
  /** Of the TPM itself, past any tap. */
  readonly tcti: string;
  worker: TestbedProcess;
}

export interface Testbed {
  readonly root: string;
  readonly client: KororaClient;
  readonly temporal: Client;
  server: TemporalServer;
  readonly bundle: InstalledBundle;
  readonly hosts: Readonly<Record<'host-a' | 'host-b', TestbedHost>>;
  readonly environment: Readonly<Record<string, string>>;
  /** Of whoever signs the trust bundle, and of the operator `operator`, who may do anything. */
  readonly keys: { readonly policy: NewKey; readonly operator: NewKey };
  control: TestbedProcess;
  /** A VM document of the project's guest, with a disk on the shared storage; the disk is made. */
  guest(vmId: string, options?: GuestOptions): Promise<VmDocument>;
  /** Ends a host's worker, where it still runs, and starts another; `mounts` (path → what stands there instead) only that worker sees. */
  restartWorker(hostId: 'host-a' | 'host-b', mounts?: Readonly<Record<string, string>>): Promise<void>;
  /** As restartWorker, for the control worker. */
  restartControl(): Promise<void>;
  /** SIGKILL of the Temporal server, and another one on the same database and ports. */
  replaceServer(): Promise<void>;
  /** `tpm2_pcrextend` on the host's own TPM, as a changed boot or an attacker would. */
  extendPcr(hostId: 'host-a' | 'host-b', pcr: number): Promise<void>;
  /** Starts the host's own TPM where it was killed: a TPM reset. */
  ensureTpm(hostId: 'host-a' | 'host-b'): Promise<void>;
  /** Signs another bundle, with the next serial, and installs it on both hosts and in the client that is given, which signs with the operator's key or another. */
  installBundle(bundle: TrustBundle, signer?: Signer): Promise<KororaClient>;
  /** Ends VMs, that one or all, as if their processes died; what hosts keep of them stays. */
  endVms(vmId?: string): Promise<void>;
  /** Ends everything that runs, VMs included. */
  stop(): Promise<void>;
  /** Leaves everything up; the next testbed on this root ends it. */
  keep(): Promise<void>;
}

/** What runs already is ended when something after it fails. */
export async function startTestbed(options: TestbedOptions): Promise<Testbed> {
  const ends: End[] = [];
  try {
    return await assemble(options, ends);
  } catch (error) {
    for (const end of ends.reverse()) await end().catch(() => undefined);
    throw error;
  }
}

type End = () => Promise<unknown>;

async function assemble(options: TestbedOptions, ends: End[]): Promise<Testbed> {
  const { root } = options;
  await endWrittenDown(join(root, 'processes.json'));
  await rm(root, { recursive: true, force: true });
  for (const folder of ['run', 'shared', 'evidence', 'logs']) await mkdir(join(root, folder), { recursive: true, mode: 0o700 });
  const trustFile = join(root, 'trust.json');
  const temporalPorts = { port: await freePort(), uiPort: await freePort() };

  const [server, a, b] = await allOf([
    ending(startServer()),
    setUpHost('host-a'),
    setUpHost('host-b'),
  ]);
  const keys = { policy: await makeKey(join(root, 'policy.key')), operator: await makeKey(join(root, 'operator.key')) };
  const [policy, operator] = [await readSigner(keys.policy.privateFile), await readSigner(keys.operator.privateFile)];
  const enrolment = { signers: [policy.publicKey], hostClass: HOST_CLASS, pcrs: TESTBED_PCRS };
  // Past any tap: an attacker comes later.
  const admitted = await allOf([a, b].map(({ config, tcti }) => admitTestbedHost({ ...config, tcti }, enrolment, testbedCaFiles(tpmDir(config.hostId)))));
  let serial = 0;
  const bundle = await install(firstBundle(admitted.flat(), [mayDoAnything('operator', operator.publicKey)], 1));

  const environment = { TEMPORAL_ADDRESS: server.address, ...(await options.temporalTap?.(server)), KORORA_TRUST: trustFile, KORORA_KEY: keys.operator.privateFile };
  const configs = { 'host-a': a, 'host-b': b };
  const reached = { 'host-a': await options.places?.['host-a'].reach(temporalPorts.port), 'host-b': await options.places?.['host-b'].reach(temporalPorts.port) };
  const commands = options.workerCommands ?? KORORA_WORKERS;
  const startWorker = (hostId: 'host-a' | 'host-b', mounts = {}) => startKorora(hostId, commands.host(configs[hostId].configFile), mounts, hostId);
  const startControl = () => startKorora('control', commands.control(join(root, 'evidence')));
  const [control, workerA, workerB, temporal] = await allOf([startControl(), startWorker('host-a'), startWorker('host-b'), readTemporalPlace(environment).then(connectClient)]);

  const testbed: Testbed = {
    root,
    client: createKororaClient({ client: temporal, bundle, signer: operator }),
    temporal,
    server,
    bundle,
    hosts: { 'host-a': { ...a, worker: workerA }, 'host-b': { ...b, worker: workerB } },
    environment,
    keys,
    control,
    async restartWorker(hostId, mounts = {}) {
      await testbed.hosts[hostId].worker.stop();
      testbed.hosts[hostId].worker = await startWorker(hostId, mounts);
    },
    async restartControl() {
      await testbed.control.stop();
      testbed.control = await startControl();
    },
    async replaceServer() {
      process.kill(testbed.server.pid, 'SIGKILL');
      await testbed.server.stop();
      testbed.server = await startServer();
    },
    guest: (vmId, guestOptions) => guestDocument(options, vmId, guestOptions),
    async extendPcr(hostId, pcr) {
      const access = createLocalHost(HostId.parse(hostId));
      const { exitCode, stderr } = await access.run('tpm2_pcrextend', ['-T', configs[hostId].tcti, `${pcr}:sha256=${'5a'.repeat(32)}`]);
      if (exitCode !== 0) throw new Error(`tpm2_pcrextend: ${stderr.toString()}`);
    },
    async ensureTpm(hostId) {
      await ensureTestbedTpm(tpmSpec(hostId, configs[hostId].tpmPort));
    },
    async installBundle(next, signer = operator) {
      return createKororaClient({ client: temporal, bundle: await install(next), signer });
    },
    async endVms(vmId) {
      await Promise.all(Object.values(testbed.hosts).map((host) => endVms(host, vmId)));
    },
    async stop() {
      await Promise.all([testbed.control, ...Object.values(testbed.hosts).map((h) => h.worker)].map((p) => p.stop()));
      await temporal.connection.close();
      await testbed.endVms();
      for (const { config } of Object.values(testbed.hosts)) await shutDownFakeMachine({ access: createLocalHost(config.hostId), hostId: config.hostId, runDir: config.runDir });
      for (const { config, tpmPort } of Object.values(testbed.hosts)) await ensureTestbedTpmStopped(tpmSpec(config.hostId, tpmPort));
      await testbed.server.stop();
    },
    async keep() {
      const processes = [testbed.control, ...Object.values(testbed.hosts).map((h) => h.worker)];
      processes.forEach(leaveRunning);
      const pids = [testbed.server.pid, ...processes.map((p) => p.pid), ...(await pidsBelow(root))];
      await writeDown(join(root, 'processes.json'), [...new Set(pids)]);
      await temporal.connection.close();
    },
  };
  return testbed;

  function startKorora(name: string, korora: readonly string[], mounts: Readonly<Record<string, string>> = {}, host: 'host-a' | 'host-b' | null = null): Promise<TestbedProcess> {
    const binds = Object.entries(mounts).map(([path, instead]) => `mount --bind '${instead}' '${path}'`);
    const place = host && options.places?.[host];
    const temporalAddress = host && reached[host] ? `${reached[host].host}:${reached[host].port}` : environment.TEMPORAL_ADDRESS;
    const [command = '', ...rest] = place ? inNetwork(place.namespace, binds, korora) : binds.length === 0 ? korora : withOwnMounts(binds, korora);
    return ending(startProcess({ name, command, args: rest, environment: { ...environment, TEMPORAL_ADDRESS: temporalAddress }, logFile: join(root, `logs/${name}.log`), readyText: ' ready' }));
  }

  async function install(bundle: TrustBundle): Promise<InstalledBundle> {
    serial += 1;
    const next: TrustBundle = { ...bundle, serial };
    const envelope = await signEnvelope(next, policy);
    await writeFile(trustFile, `${JSON.stringify(envelope, null, 2)}\n`);
    return installBundle(envelope, 'the testbed', [policy.publicKey]);
  }

  /** Again where it ends at its start, as a supervisor would: it takes more ports than these, and another process may be faster. */
  async function startServer(attempts = 3): Promise<TemporalServer> {
    try {
      return await startTemporalServer({ binary: options.temporalBinary, databaseFile: join(root, 'temporal.db'), logFile: join(root, 'logs/temporal.log'), ...temporalPorts });
    } catch (error) {
      if (attempts === 1) throw error;
      console.error(`the Temporal server of ${root} did not start and is started again: ${problemOf(error)}`);
      return startServer(attempts - 1);
    }
  }

  async function ending<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
    const started = await starting;
    ends.push(() => started.stop());
    return started;
  }

  function tpmSpec(hostId: string, port: number) {
    return { access: createLocalHost(HostId.parse(hostId)), hostId, stateDir: tpmDir(hostId), port };
  }

  function tpmDir(hostId: string): string {
    return join(root, hostId, 'tpm');
  }

  /** Another testbed may take a free port before swtpm does. */
  async function startTpm(hostId: string, attempts = 5): Promise<{ readonly tcti: string; readonly tpmPort: number }> {
    const tpmPort = await freePortPair();
    try {
      return { ...(await ensureTestbedTpm(tpmSpec(hostId, tpmPort))), tpmPort };
    } catch (error) {
      if (attempts === 1) throw error;
      console.error(`the TPM of ${hostId} of ${root} did not start on port ${tpmPort} and is started again on another: ${problemOf(error)}`);
      return startTpm(hostId, attempts - 1);
    }
  }

  async function setUpHost(hostId: 'host-a' | 'host-b') {
    await mkdir(join(root, hostId), { recursive: true, mode: 0o700 });
    const { tcti, tpmPort } = await startTpm(hostId);
    ends.push(() => ensureTestbedTpmStopped(tpmSpec(hostId, tpmPort)));
    const place = options.places?.[hostId];
    await Promise.all([place?.reach(tpmPort), place?.reach(tpmPort + 1)]);
    const reachedTcti = place ? `swtpm:host=${place.gateway},port=${tpmPort}` : tcti;
    const listen = { host: place?.address ?? '127.0.0.1', port: options.channelTap ? await freePort() : 0 };
    const advertise = await options.channelTap?.({ hostId, listen });
    const configFile = join(root, hostId, 'host.json');
    const document = {
      kind: 'korora/host',
      version: 1,
      hostId,
      access: 'local',
      hypervisor: options.hypervisor ?? 'qemu',
      stateDir: 'state',
      runDir: join(root, 'run', hostId),
      trustBundle: '../trust.json',
      tcti: (await options.tpmTap?.({ hostId, tcti })) ?? reachedTcti,
      storage: { disks: [join(root, 'shared')], boot: [resolve(options.guestDir), join(root, 'shared')] },
      channel: { listen, ...(advertise ? { advertise } : {}) },
    };
    await writeFile(configFile, `${JSON.stringify(document, null, 2)}\n`);
    return { config: await loadHostConfig(configFile), configFile, tpmPort, tcti };
  }
}

/** As Promise.all, but a failure is told only when nothing is being started any more. */
async function allOf<T extends readonly unknown[]>(starting: readonly [...{ [K in keyof T]: Promise<T[K]> }]): Promise<T> {
  await Promise.allSettled(starting);
  return Promise.all(starting) as Promise<unknown> as Promise<T>;
}

/** VMs outlive workers by design; a testbed's end does not. */
async function endVms({ config }: TestbedHost, only?: string): Promise<void> {
  const { hostId, runDir } = config;
  const access = createLocalHost(hostId);
  const { hypervisor, vtpms } = createDrivers(access, config);
  for (const name of await access.list(runDir)) {
    const vmId = VmId.safeParse(name).data;
    if (!vmId || (only !== undefined && vmId !== only)) continue;
    await hypervisor.ensureDestroyed(vmId, `${runDir}/${vmId}`);
    await vtpms.ensureStopped(`${runDir}/${vmId}`);
  }
}
