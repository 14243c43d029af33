/** What a real QEMU and a real swtpm are not given: the worker's environment, files that the document does not name, room for a console without end. */
import { readFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { QCOW2_HEADER_BYTES, readQcow2Header } from '../../domain/qcow2.js';
import { countsIn } from '../../infra/testbed/guest-console.js';
import { until } from '../../infra/testbed/until.js';
import type { DriverTestbed } from '../support/driver-contract.js';
import { type ImageOptions, makeQcow2 } from '../support/qcow2-images.js';
import { type QemuSide, createQemuTestbed } from '../support/qemu-testbed.js';

const API_KEY = 'the-key-of-temporal';
let bed: DriverTestbed<QemuSide>;
let folder: string;

beforeAll(async () => {
  bed = await createQemuTestbed();
  folder = bed.folder;
  vi.stubEnv('TEMPORAL_API_KEY', API_KEY);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await bed?.close();
});

const image = (name: string, options: ImageOptions = {}) => makeQcow2(join(folder, name), options);
const othersOf = async (path: string) => readQcow2Header((await readFile(path)).subarray(0, QCOW2_HEADER_BYTES));

async function started(path: string) {
  const vm = bed.vm({ disks: [{ id: 'disk0', path, format: 'qcow2' }] });
  await bed.a.ensureVtpm();
  await bed.a.hypervisor.start(vm, bed.a.place);
  return { vm, end: () => bed.a.hypervisor.ensureDestroyed(vm.vmId, bed.a.place.runDir) };
}
const openFilesOf = async (pid: number) => Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));

describe('a running VM', () => {
  it('has nothing of the worker’s keys in the environment of its QEMU and its vTPM', async () => {
    const { end } = await started(await image('own.qcow2'));
    const vtpm = Number(await readFile(join(folder, 'a-tpm-run', 'swtpm.pid'), 'utf8'));
    expect(process.env['TEMPORAL_API_KEY']).toBe(API_KEY);
    for (const pid of [await bed.a.pid(), vtpm]) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
      expect(environment).toContain('PATH=');
      expect(environment).not.toContain(API_KEY);
      expect(environment).not.toMatch(/TEMPORAL_|KORORA_/);
    }
    await end();
  }, 60_000);

  it('goes on to speak after its console was shortened, from the beginning of the file', async () => {
    const { end } = await started(await image('talks.qcow2'));
    const { runDir } = bed.a.place;
    const [path, aside] = [join(runDir, 'console.log'), join(runDir, 'console.log.1')];
    await until('the counter', bed.a.consoleLog, (text) => countsIn(text).length > 10);
    await bed.a.access.keepEnd(path, { atMostBytes: 20, keepBytes: 60, aside });
    const kept = await readFile(aside, 'latin1');
    const last = countsIn(kept).at(-1) ?? 0;
    const said = await until('the counter after that', bed.a.consoleLog, (text) => (countsIn(text).at(-1) ?? 0) > last + 10);
    expect(said).not.toContain('\0');
    expect(kept).toHaveLength(60);
    expect(countsIn(said)[0]).toBeGreaterThan(last);
    await end();
    expect(await bed.a.runFiles()).toEqual([]);
  }, 60_000);
});

describe('an image that names another file', () => {
  const victim = () => join(folder, 'victim.raw');
  beforeAll(() => writeFile(victim(), Buffer.alloc(1 << 20, 'secret of another VM')));

  it('is told by its header, as QEMU writes it', async () => {
    const others = async (options: ImageOptions) => othersOf(await image('told.qcow2', options));
    for (const version of ['v2', 'v3'] as const) {
      expect(await others({ version })).toEqual({ isReadable: true, others: [] });
      expect(await others({ version, backingFile: victim() })).toEqual({ isReadable: true, others: ['a backing file'] });
    }
    expect(await others({ dataFile: join(folder, 'told.data') })).toEqual({ isReadable: true, others: ['an external data file'] });
  }, 60_000);

  it('has QEMU open no backing file, should it come to be written after it was looked at', async () => {
    const { end } = await started(await image('late.qcow2', { backingFile: victim() }));
    const open = await openFilesOf(await bed.a.pid());
    expect(open).toContain(join(folder, 'late.qcow2'));
    expect(open).not.toContain(victim());
    await end();
  }, 60_000);
});
