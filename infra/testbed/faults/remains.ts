/**
 * What a move must not leave on a host, wherever the VM is: processes, traces, loaded TPM handles, files of keys, sockets.
 * Looked at until nothing is left, since what a killed worker had started still ends by itself.
 */
import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { VmId } from '../../../domain/ids.js';
import { createLocalHost } from '../../../host/local.js';
import { createVmStore } from '../../../host/vm-store.js';
import type { TestbedHost } from '../testbed.js';
import { HOSTS, type HostName } from './move.js';
import { commandLines } from './vm-processes.js';

const POLL_MS = 100;
const LIMIT_MS = 15_000;
const TPM_HANDLES = ['handles-transient', 'handles-loaded-session'] as const;

export interface Baseline {
  readonly tpmFiles: Readonly<Record<HostName, readonly string[]>>;
}

export async function baselineOf(hosts: Readonly<Record<HostName, TestbedHost>>): Promise<Baseline> {
  const files = await Promise.all(HOSTS.map(async (host) => [host, await tpmFiles(hosts[host])] as const));
  return { tpmFiles: Object.fromEntries(files) as Record<HostName, readonly string[]> };
}

/** Empty where nothing is left; else what is, after some patience. */
export async function remainsOf(hosts: Readonly<Record<HostName, TestbedHost>>, vmId: VmId, owner: HostName, baseline: Baseline): Promise<readonly string[]> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const found = (await Promise.all(HOSTS.map((host) => lookAt(host)))).flat();
    if (found.length === 0 || performance.now() > deadline) return found;
    await delay(POLL_MS);
  }

  async function lookAt(host: HostName): Promise<string[]> {
    const { config, tcti, worker } = hosts[host];
    const access = createLocalHost(config.hostId);
    const traces = host === owner ? [] : await tracesOn(hosts[host], vmId);
    const tools = (await commandLines()).filter(({ words }) => words[0]?.includes('tpm2') && words.includes(tcti)).map(({ words }) => words.join(' '));
    const handles = await Promise.all(TPM_HANDLES.map(async (kind) => [kind, (await access.run('tpm2_getcap', ['-T', tcti, kind])).stdout.toString().trim()] as const));
    const files = (await tpmFiles(hosts[host])).filter((name) => !baseline.tpmFiles[host].includes(name));
    const ports = await tcpListeners(worker.pid);
    return [
      ...traces.map((path) => `trace ${path}`),
      ...tools.map((line) => `process ${line}`),
      ...handles.filter(([, text]) => text !== '').map(([kind, text]) => `TPM of ${host}: ${kind} ${text}`),
      ...files.map((name) => `key file ${name} on ${host}`),
      ...ports.map((port) => `the worker of ${host} listens on port ${port}`),
    ];
  }
}

/** What stands there of a VM, in words. */
export function tracesOn({ config }: TestbedHost, vmId: VmId): Promise<readonly string[]> {
  return createVmStore(createLocalHost(config.hostId), { vmsDir: `${config.stateDir}/vms`, runDir: config.runDir }).traces(vmId);
}

async function tpmFiles({ config }: TestbedHost): Promise<readonly string[]> {
  return (await readdir(join(config.stateDir, 'tpm'), { recursive: true }).catch(() => [])).sort();
}

/** TCP ports on which a process listens, from proc(5). */
async function tcpListeners(pid: number): Promise<number[]> {
  const links = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(links.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  const inodes = new Set(targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
  const LISTEN = '0A';
  const table = (await readFile(`/proc/${pid}/net/tcp`, 'latin1').catch(() => '')).trim().split('\n').slice(1);
  return table.flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    return state === LISTEN && inodes.has(inode) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : [];
  });
}
