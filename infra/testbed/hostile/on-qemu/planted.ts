/** Defects of planted.ts that show on real hosts soon: what the attack on QEMU has to find. They stand around the parts of workers that only this stage starts (planted-worker.ts). */
import { writeFile } from 'node:fs/promises';
import type { HostServices } from '../../../../activities/services.js';
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

/** The others need the third host, or what two hosts seldom come to: `good-again` was not found in 30 runs. */
const SHOWN_ON_QEMU = ['any-input', 'anyone-settles', 'overwriting'];
/** The newest word of anybody takes the place of a settlement, too. */
const ALSO_BREAKS: Readonly<Record<string, readonly string[]>> = { 'anyone-settles': ['settled-for-good'] };

export const DEFECTS_ON_QEMU: readonly DefectOnQemu[] = DEFECTS.filter(({ name }) => SHOWN_ON_QEMU.includes(name)).map(({ breaks, ...one }) => ({ ...one, seenAs: new RegExp(`^(?:${[...breaks, ...(ALSO_BREAKS[one.name] ?? [])].join('|')}): `) }));

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
