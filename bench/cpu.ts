/**
 * CPU time of processes (proc_pid_stat(5)). It says what a move costs on a machine whose other load
 * moves every clock time. Resolution: 10 ms.
 */
import { readFile } from 'node:fs/promises';

/** USER_HZ, which Linux fixes at 100 for /proc. */
const MS_PER_TICK = 10;

export interface CpuTimes {
  readonly ownMs: number;
  /** Of children that ended: the tools it ran. */
  readonly toolsMs: number;
}

export async function cpuTimesOf(pid: number): Promise<CpuTimes> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything; utime is field 14.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15);
  return { ownMs: (user + system) * MS_PER_TICK, toolsMs: (childrenUser + childrenSystem) * MS_PER_TICK };
}

export function cpuBetween(before: CpuTimes, after: CpuTimes): CpuTimes {
  return { ownMs: after.ownMs - before.ownMs, toolsMs: after.toolsMs - before.toolsMs };
}
