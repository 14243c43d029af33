/** What a cell's faults may do to a move: the powers of whoever pulls plugs. */
import { KororaError } from '../../../domain/failures.js';
import type { MigrationResult } from '../../../domain/status.js';
import type { ChannelSwitch } from '../channel-switch.js';
import { MOVE_LIMIT_MS, statusText } from '../end-of-move.js';
import { killAll } from '../processes.js';
import type { Testbed } from '../testbed.js';
import { until } from '../until.js';
import type { TestedGuest } from './guest.js';

const POLL_MS = 200;
const DELAY_MS = 3_000;

export const HOSTS = ['host-a', 'host-b'] as const;
export type HostName = (typeof HOSTS)[number];

export interface Move {
  readonly source: HostName;
  readonly destination: HostName;
  /** SIGKILL, and a new one as a supervisor would start it. */
  killWorker(host: HostName): Promise<void>;
  killControl(): Promise<void>;
  /** All three at once. */
  killWorkers(): Promise<void>;
  killTemporal(): Promise<void>;
  /** Of the channel's network: both ends are told. */
  cutNetwork(): void;
  /** Nobody is told. */
  swallowAll(): void;
  /** For DELAY_MS: less than a peer may be silent. */
  delayNetwork(): void;
  mendNetwork(): void;
  /** SIGKILL of the host's worker and of all that runs the VM there, and nobody starts anything. */
  powerOff(host: HostName): Promise<void>;
  /** As an operator does it: once the move names the host as silent. */
  fence(host: HostName): Promise<void>;
  /** Its worker comes back, and the operator has it give up what it holds. */
  powerOn(host: HostName): Promise<void>;
  /** The code it was refused with; null where it was taken. */
  abort(): Promise<string | null>;
}

/** `networks`: each passes what goes to the channel of its host. */
export function moveOf(testbed: Testbed, networks: Readonly<Record<HostName, ChannelSwitch>>, guest: TestedGuest, source: HostName): Move {
  const { vmId } = guest;
  const network = networks[otherHost(source)];
  const killWorker = async (host: HostName) => {
    await testbed.hosts[host].worker.kill();
    await testbed.restartWorker(host);
  };
  const killControl = async () => {
    await testbed.control.kill();
    await testbed.restartControl();
  };
  return {
    source,
    destination: otherHost(source),
    killWorker,
    killControl,
    async killWorkers() {
      await Promise.all([killControl(), ...HOSTS.map(killWorker)]);
    },
    killTemporal: () => testbed.replaceServer(),
    cutNetwork: () => network.cut(),
    swallowAll: () => network.swallow('to destination', 'to source'),
    delayNetwork() {
      network.delay();
      setTimeout(() => network.mend(), DELAY_MS);
    },
    mendNetwork: () => network.mend(),
    async powerOff(host) {
      await testbed.hosts[host].worker.kill();
      killAll((await guest.processes()).filter((running) => running.host === host).map(({ pid }) => pid));
    },
    async fence(host) {
      const names = (action: string | null) => action?.includes(`--host ${host}`) === true;
      await until(`the move to name ${host} as silent`, () => testbed.client.status(vmId), ({ nextAction }) => names(nextAction), { limitMs: MOVE_LIMIT_MS, everyMs: POLL_MS });
      await testbed.client.fence(vmId, { host, reason: 'it is powered off' });
    },
    async powerOn(host) {
      await testbed.restartWorker(host);
      await testbed.client.reconcile(vmId);
    },
    abort: () =>
      testbed.client.abort(vmId, 'the fault matrix wanted it').then(
        () => null,
        (error: unknown) => {
          if (error instanceof KororaError) return error.code;
          throw error;
        },
      ),
  };
}

/** As `client.result`, across Temporal servers that are replaced meanwhile, until it is given up or a limit is over. */
export function resultOf({ client }: Testbed, vmId: string, runId: string, isGivenUp = () => false): Promise<MigrationResult> {
  const asked = () =>
    client.result(vmId, runId).catch((error: unknown) => {
      if (error instanceof KororaError && error.code === 'TEMPORAL_UNREACHABLE' && !isGivenUp()) return error;
      throw error;
    });
  const isResult = (answer: MigrationResult | KororaError): answer is MigrationResult => !(answer instanceof KororaError);
  return until(`the end of the move of ${vmId}`, asked, isResult, { limitMs: MOVE_LIMIT_MS, everyMs: 0, tell: () => statusText(client, vmId) });
}

export function otherHost(host: HostName): HostName {
  return host === 'host-a' ? 'host-b' : 'host-a';
}
