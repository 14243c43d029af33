/** qcow2 images: headers as an attacker would write them (docs/interop/qcow2.txt of QEMU), and whole ones by QEMU. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { openQmp } from '../../hypervisor/qemu/qmp.js';

export interface Qcow2Fields {
  readonly version?: number;
  readonly backingOffset?: bigint;
  readonly backingBytes?: number;
  /** Incompatible features. */
  readonly incompatible?: bigint;
}

export function qcow2Header({ version = 3, backingOffset = 0n, backingBytes = 0, incompatible = 0n }: Qcow2Fields): Buffer {
  const header = Buffer.alloc(512);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(version, 4);
  header.writeBigUInt64BE(backingOffset, 8);
  header.writeUInt32BE(backingBytes, 16);
  header.writeBigUInt64BE(version === 2 ? 0n : incompatible, 72);
  return header;
}

export interface ImageOptions {
  readonly version?: 'v2' | 'v3';
  readonly backingFile?: string;
  /** Made beside it. */
  readonly dataFile?: string;
}

/** An empty image of 1 MiB, made by QEMU itself. */
export async function makeQcow2(path: string, { version = 'v3', backingFile, dataFile }: ImageOptions = {}): Promise<string> {
  const child = spawn('qemu-system-x86_64', ['-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const qmp = await openQmp(Duplex.from({ readable: child.stdout, writable: child.stdin }), 10_000);
  const create = async (options: object) => {
    const concluded = qmp.nextEvent(({ name, data }) => name === 'JOB_STATUS_CHANGE' && data['status'] === 'concluded', 30_000);
    await qmp.execute('blockdev-create', { 'job-id': 'making', options: options as Record<string, unknown> });
    await concluded;
    const [job] = await qmp.execute<readonly { readonly error?: string }[]>('query-jobs');
    if (job?.error) throw new Error(job.error);
    await qmp.execute('job-dismiss', { id: 'making' });
  };
  const addFile = async (node: string, filename: string) => {
    await create({ driver: 'file', filename, size: 0 });
    await qmp.execute('blockdev-add', { driver: 'file', 'node-name': node, filename });
  };
  await addFile('image', path);
  if (dataFile) await addFile('data', dataFile);
  await create({ driver: 'qcow2', file: 'image', size: 1 << 20, version, ...(backingFile ? { 'backing-file': backingFile, 'backing-fmt': 'raw' } : {}), ...(dataFile ? { 'data-file': 'data' } : {}) });
  await qmp.execute('quit');
  await ended;
  return path;
}
