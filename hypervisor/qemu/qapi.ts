/**
 * The part of QEMU's interface that the driver uses (qapi/migration.json, qapi/run-state.json), and
 * what its words mean here. Pure apart from asking over a given connection.
 *
 * Run state and migration status, as QEMU 7.2 goes through them on a source:
 *
 *   running ── setup ─ active (rounds) ──► finish-migrate ── pre-switchover ─ device ──► postmigrate ── completed
 *      ▲                  │ failed, cancelled      │ cancelled or failed: QEMU itself runs the vCPUs again
 *      └──────────────────┴────────────────────────┘
 * and on a destination:
 *
 *   inmigrate ── setup ─ active ──► paused ── completed ──► running (cont)
 *      └── failed: the process ends by itself
 */
import type { CopyLimits, CopyProgress } from '../../domain/progress.js';
import type { VmStatus } from '../port.js';
import { QmpError, type Qmp } from './qmp.js';

/** qapi/migration.json, MigrationInfo; what is absent was not measured yet. */
export interface MigrationInfo {
  readonly status?: string;
  readonly 'total-time'?: number;
  readonly 'error-desc'?: string;
  readonly 'cpu-throttle-percentage'?: number;
  readonly ram?: {
    readonly transferred: number;
    readonly remaining: number;
    readonly total: number;
    readonly 'dirty-sync-count': number;
    readonly 'dirty-pages-rate'?: number;
    readonly 'page-size'?: number;
    /** Of the last 100 ms or more, Mbit/s. */
    readonly mbps?: number;
  };
}

const UNDER_WAY: ReadonlySet<string> = new Set(['setup', 'active', 'pre-switchover', 'device', 'cancelling', 'wait-unplug']);

/** True while a copy runs; `none`, `completed`, `failed` and `cancelled` are ends. */
export function isUnderWay(status: string | undefined): boolean {
  return status !== undefined && UNDER_WAY.has(status);
}

export async function queryRunState(qmp: Qmp, timeoutMs?: number): Promise<string> {
  return (await qmp.execute<{ status: string }>('query-status', {}, timeoutMs)).status;
}

export function queryMigration(qmp: Qmp, timeoutMs?: number): Promise<MigrationInfo> {
  return qmp.execute<MigrationInfo>('query-migrate', {}, timeoutMs);
}

/** RunState (qapi/run-state.json) and migration status → the port's words. A VM that an I/O error stopped can go on: `paused`. */
export function vmStatusOf(runState: string, migrationStatus: string | undefined): VmStatus {
  if (runState === 'inmigrate') return 'incoming';
  if (isUnderWay(migrationStatus) || runState === 'finish-migrate') return 'moving-out';
  switch (runState) {
    case 'running':
    case 'suspended':
      return 'running';
    case 'paused':
    case 'prelaunch':
    case 'io-error':
      return 'paused';
    case 'postmigrate':
      return 'moved-out';
    default:
      return 'failed';
  }
}

/**
 * Switches on exactly `wanted` and everything else off, so that no earlier attempt and no newer QEMU's default
 * decides how an image travels (xbzrle, compress, multifd, postcopy and zero-blocks are off by name or by absence).
 */
export async function setCapabilities(qmp: Qmp, wanted: readonly string[]): Promise<void> {
  const known = await qmp.execute<{ capability: string }[]>('query-migrate-capabilities');
  const missing = wanted.filter((name) => !known.some(({ capability }) => capability === name));
  if (missing.length > 0) throw new QmpError(`this QEMU has no ${missing.join(', ')}`);
  const capabilities = known.map(({ capability }) => ({ capability, state: wanted.includes(capability) }));
  await qmp.execute('migrate-set-capabilities', { capabilities });
}

/** Takes effect during a copy too. QEMU's max-bandwidth is in bytes a second; its largest value stands for no limit. */
export async function setLimits(qmp: Qmp, limits: CopyLimits): Promise<void> {
  await qmp.execute('migrate-set-parameters', {
    'max-bandwidth': limits.bandwidthBytesPerSecond ?? UNLIMITED_BANDWIDTH,
    'downtime-limit': limits.downtimeLimitMs,
  });
}

/**
 * Bounds the throttle of the capability auto-converge, which raises it by itself whenever a round dirtied more than `triggerPercent`
 * of what it sent (migration/ram.c, migration_trigger_throttle), at most once a second. QEMU ends it with the copy.
 */
export async function setThrottle(qmp: Qmp, percent: number, triggerPercent: number): Promise<void> {
  await qmp.execute('migrate-set-parameters', {
    'cpu-throttle-initial': percent,
    'cpu-throttle-increment': MOST_THROTTLE_PERCENT,
    'cpu-throttle-tailslow': false,
    'max-cpu-throttle': percent,
    'throttle-trigger-threshold': triggerPercent,
  });
}

/**
 * What QEMU takes for the last round, in bytes: what its last measured rate carries within `downtimeMs`
 * (migration/migration.c, migration_update_counters: threshold_size).
 */
export function lastRoundBytes({ ram }: MigrationInfo, downtimeMs: number): number {
  return Math.ceil((ram?.mbps ?? 0) * (1_000_000 / 8 / 1000) * downtimeMs);
}

const MOST_THROTTLE_PERCENT = 99;
const UNLIMITED_BANDWIDTH = 2 ** 43;

export function progressOf(info: MigrationInfo): CopyProgress {
  const { ram } = info;
  const rate = ram?.['dirty-pages-rate'];
  return {
    round: Math.max(1, ram?.['dirty-sync-count'] ?? 1),
    sentBytes: ram?.transferred ?? 0,
    remainingBytes: ram?.remaining ?? 0,
    totalBytes: ram?.total ?? 0,
    dirtyBytesPerSecond: rate === undefined || (rate === 0 && (ram?.['dirty-sync-count'] ?? 0) < 2) ? null : rate * (ram?.['page-size'] ?? 4096),
    elapsedMs: info['total-time'] ?? 0,
    throttlePercent: info['cpu-throttle-percentage'] ?? null,
  };
}
