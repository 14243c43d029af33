/**
 * Defects of planted.ts that show on real hosts too, and one that only real vCPUs show: what the attack on QEMU has to find. They stand around the parts of workers
 * that only this stage starts (planted-worker.ts).
 */
import { writeFile } from 'node:fs/promises';
import type { HostActivities } from '../../../../activities/index.js';
import { HOST_INPUTS } from '../../../../activities/inputs.js';
import type { HostServices } from '../../../../activities/services.js';
import { openSigned } from '../../../../domain/authority.js';
import type { HostAccess } from '../../../../host/port.js';
import type { HostConfig } from '../../../../workers/config.js';
import type { HostWrapper } from '../../../../workers/host.js';
import { HOSTS } from '../../faults/move.js';
import { quickChannels } from '../../quick.js';
import { built } from '../../faults/built.js';
import { type TestbedOptions, QUICK_WORKERS } from '../../testbed.js';
import { DEFECTS } from '../planted.js';
import type { Planted } from '../world.js';
import type { Stage } from './stage.js';

export interface DefectOnQemu {
  readonly name: string;
  readonly what: string;
  /** Of the breaches that it must be found by, one. */
  readonly seenAs: RegExp;
  readonly planted: Planted;
}

/** The source does not ask where the VM is: it lets it run. */
const runsAnyway: Planted = {
  activities(activities: HostActivities, { hypervisor, vms }: HostServices) {
    return {
      ...activities,
      async settleSource(input) {
        const settled = await activities.settleSource(input);
        const { vmId } = openSigned('korora/order', HOST_INPUTS.settleSource.parse(input).order).document;
        if (settled.state === 'needs-verdict') await hypervisor.ensureRunning(vmId, vms.runDirOf(vmId));
        return settled;
      },
    };
  },
};

const IN_MEMORY = ['any-input', 'any-record', 'anyone-settles', 'overwriting', 'good-again'];

export const DEFECTS_ON_QEMU: readonly DefectOnQemu[] = [
  ...DEFECTS.filter(({ name }) => IN_MEMORY.includes(name)).map(({ breaks, ...one }) => ({ ...one, seenAs: new RegExp(`^(?:${breaks.join('|')}): `) })),
  { name: 'runs-anyway', what: 'settleSource lets a VM run on that was handed over', seenAs: /^it (?:counted|ran on another host)/, planted: runsAnyway },
];

/** Workers that have the defect whose name stands in `file` when they start; where there is no such file, none. */
export function workersWithDefects(file: string): NonNullable<TestbedOptions['workerCommands']> {
  return { ...QUICK_WORKERS, host: (configFile) => [process.execPath, '--single-threaded-gc', built('infra/testbed/hostile/on-qemu/planted-worker.js'), configFile, file] };
}

/** Puts a defect into both hosts of a stage whose workers have defects by `file`. */
export async function plant({ testbed }: Pick<Stage, 'testbed'>, file: string, { name }: DefectOnQemu): Promise<void> {
  await writeFile(file, name);
  for (const host of HOSTS) await testbed.restartWorker(host);
}

export function wrapperOf(config: HostConfig, planted: Planted | null): HostWrapper {
  let services: HostServices | null = null;
  return {
    services(parts) {
      const quick = { ...parts, channels: quickChannels(parts.channels), access: withPathsInMemory(parts.access, config) };
      services = { ...quick, findings: [], clock: { now: () => Date.now() } };
      return planted?.services?.(services) ?? quick;
    },
    activities: (activities) => (services && planted?.activities?.(activities, services)) ?? activities,
  };
}

/** What stands around parts in memory names files as hosts in memory have them (recordPath of judge.ts). */
function withPathsInMemory(access: HostAccess, { hostId, stateDir }: HostConfig): HostAccess {
  const here = (path: string) => (path.startsWith(`/var/${hostId}/`) ? path.replace(`/var/${hostId}`, stateDir) : path);
  return { ...access, ensureDirectory: (path) => access.ensureDirectory(here(path)), writeFileDurably: (path, content) => access.writeFileDurably(here(path), content) };
}
