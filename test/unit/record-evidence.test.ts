/** activities/record.ts on a real folder: what was recorded of a move is never replaced, whoever writes again, at once, or was cut short before. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, mkdir, mkdtemp, open, readFile, readdir, readlink, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createRecording } from '../../activities/record.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { ADA, VM, evidenceOf, migrationId, orderOf } from '../support/documents.js';

let folder: string;
let evidenceDir: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'korora-record-')));
  evidenceDir = join(folder, 'new', 'evidence');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const MOVED = evidenceOf();
/** As of a workflow that was reset: the same order, and hosts that refuse it. */
const REFUSED = evidenceOf({ manifest: null, verdict: null, outcome: { kind: 'refused', runsOn: null, failures: [] } });
const nameOf = (evidence: object) => `${VM}-${migrationId(1)}-${digestOf(evidence).slice(0, 16)}.json`;
const record = (evidence = MOVED) => createRecording({ evidenceDir }).recordEvidence({ evidence });
const inFile = async (evidence: object): Promise<unknown> => JSON.parse(await readFile(join(evidenceDir, nameOf(evidence)), 'utf8'));

/** What every open file has its methods from. */
async function handlesOf(): Promise<FileHandle> {
  const probe = await open(folder);
  await probe.close();
  return Object.getPrototypeOf(probe) as FileHandle;
}

/** `happen` comes in the place of the sync of what is written aside; folders are not synced. */
async function onceAsideIsSynced(happen: (aside: string) => Promise<void>) {
  const spy = vi.spyOn(await handlesOf(), 'sync').mockImplementation(async function sync(this: FileHandle) {
    const path = await readlink(`/proc/self/fd/${this.fd}`);
    if (path.includes(`/.${nameOf(MOVED)}.`)) await happen(path);
  });
  onTestFinished(() => spy.mockRestore());
  return spy;
}

describe('the evidence of a move', () => {
  it('is written whole, for its owner alone, under a name of the move and of what is in it', async () => {
    expect(await record()).toEqual({ path: join(evidenceDir, nameOf(MOVED)), digest: digestOf(MOVED), differsFrom: [] });
    expect(await inFile(MOVED)).toEqual(MOVED);
    const modes = await Promise.all([evidenceDir, join(evidenceDir, nameOf(MOVED))].map(async (path) => (await stat(path)).mode & 0o777));
    expect(modes).toEqual([0o700, 0o600]);
    expect(await readdir(evidenceDir)).toEqual([nameOf(MOVED)]);
  });

  it('is written once: a second time nothing changes', async () => {
    const first = await record();
    const { ino, mtimeMs } = await stat(first.path);
    expect(await record()).toEqual(first);
    expect(await stat(first.path)).toMatchObject({ ino, mtimeMs });
  });

  it('stays where a second run of the same order ends otherwise, which is told of both', async () => {
    const first = await record();
    const second = await record(REFUSED);
    expect(second).toEqual({ path: join(evidenceDir, nameOf(REFUSED)), digest: digestOf(REFUSED), differsFrom: [first.path] });
    expect([await inFile(MOVED), await inFile(REFUSED)]).toEqual([MOVED, REFUSED]);
    expect((await record()).differsFrom).toEqual([second.path]);
  });

  it('differs from that of no other move, of this VM or of one whose name begins alike', async () => {
    const of = async (changes: Parameters<typeof orderOf>[0]) => evidenceOf({ order: await signEnvelope(orderOf(changes), ADA) });
    for (const other of [{ migrationId: migrationId(2) }, { vmId: `${VM}-${migrationId(1)}`.slice(0, 40) }, { vmId: `${VM}-2` }]) await record(await of(other));
    expect((await record()).differsFrom).toEqual([]);
  });

  it('is one file whoever writes it at once, and nothing is left aside', async () => {
    const results = await Promise.all(Array.from({ length: 12 }, (_, i) => record(i % 2 === 0 ? MOVED : REFUSED)));
    expect(new Set(results.map(({ path }) => path)).size).toBe(2);
    expect((await readdir(evidenceDir)).sort()).toEqual([nameOf(MOVED), nameOf(REFUSED)].sort());
    expect([await inFile(MOVED), await inFile(REFUSED)]).toEqual([MOVED, REFUSED]);
  });

  it('is written after a crash that left half of it aside, which goes', async () => {
    await mkdir(evidenceDir, { recursive: true });
    await writeFile(join(evidenceDir, `.${nameOf(MOVED)}.0123456789ab`), '{"kind": "korora/evid');
    expect((await record()).differsFrom).toEqual([]);
    expect(await readdir(evidenceDir)).toEqual([nameOf(MOVED)]);
  });

  it.each<[string, (path: string) => Promise<unknown>]>([
    ['a link that leads elsewhere', (path) => symlink(join(folder, 'victim'), path)],
    ['a link that leads to the very content', async (path) => {
      await writeFile(join(folder, 'copy'), `${JSON.stringify(MOVED, null, 2)}\n`);
      await symlink(join(folder, 'copy'), path);
    }],
    ['a link that leads nowhere', (path) => symlink(join(folder, 'nowhere'), path)],
    ['another file', (path) => writeFile(path, '{}\n')],
    ['half of it', (path) => writeFile(path, JSON.stringify(MOVED, null, 2).slice(0, 100))],
    ['a folder', (path) => mkdir(path)],
    ['a pipe', (path) => Promise.resolve(execFileSync('mkfifo', [path]))],
    ['a socket', async (path) => {
      // The path of a socket has room for some hundred bytes.
      const server = createServer().listen(join(folder, 's'));
      onTestFinished(() => void server.close());
      await once(server, 'listening');
      await rename(join(folder, 's'), path);
    }],
  ])('is not taken for written where its name is that of %s, which stays as it is', async (_, plant) => {
    await writeFile(join(folder, 'victim'), 'precious');
    await mkdir(evidenceDir, { recursive: true });
    const path = join(evidenceDir, nameOf(MOVED));
    await plant(path);
    const contentOf = async () => ((await stat(path).catch(() => null))?.isFile() ? readFile(path, 'utf8') : null);
    const found = await contentOf();
    await expect(record()).rejects.toThrow(`EVIDENCE_NAME_TAKEN: ${path} is not the evidence that is to stand there`);
    expect([await contentOf(), await readFile(join(folder, 'victim'), 'utf8')]).toEqual([found, 'precious']);
    await rm(path, { recursive: true });
    expect((await record()).path).toBe(path);
  });

  it('is written where another writer of the same was done first, and took away what was aside', async () => {
    await onceAsideIsSynced((aside) => rename(aside, join(evidenceDir, nameOf(MOVED))));
    expect((await record()).path).toBe(join(evidenceDir, nameOf(MOVED)));
    expect(await inFile(MOVED)).toEqual(MOVED);
  });

  it('is not said to be written where all of it is gone, and is written by another try', async () => {
    const spy = await onceAsideIsSynced((aside) => rm(aside));
    await expect(record()).rejects.toMatchObject({ code: 'ENOENT' });
    spy.mockRestore();
    expect((await record()).path).toBe(join(evidenceDir, nameOf(MOVED)));
  });

  it('is on the disk before anybody hears of it: its file, its name, and the folders that were made for it; and nothing stays open', async () => {
    const handles = await handlesOf();
    const synced: string[] = [];
    const spy = vi.spyOn(handles, 'sync').mockImplementation(async function sync(this: FileHandle) { synced.push(await readlink(`/proc/self/fd/${this.fd}`)); });
    onTestFinished(() => spy.mockRestore());
    await record();
    expect(synced).toEqual([join(folder, 'new'), folder, expect.stringContaining(`${evidenceDir}/.${nameOf(MOVED)}.`), evidenceDir]);
    const stillOpen = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
    expect(stillOpen.filter((path) => path.startsWith(folder))).toEqual([]);
    synced.length = 0;
    await record(REFUSED);
    expect(synced).toEqual([expect.stringContaining(`.${nameOf(REFUSED)}.`), evidenceDir]);
  });

  it('is not said to be written where something of another kind stands in its way', async () => {
    await mkdir(join(evidenceDir, `.${nameOf(MOVED)}.folder`), { recursive: true });
    await expect(record()).rejects.toMatchObject({ code: 'EISDIR' });
    await rm(evidenceDir, { recursive: true });
    await writeFile(evidenceDir, 'a file');
    await expect(record()).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('names the other evidence of its move alone, in order', async () => {
    await mkdir(evidenceDir, { recursive: true });
    const ofTheMove = `${VM}-${migrationId(1)}-`;
    const others = ['', '.json', '0123456789abcde.json', '0123456789abcdef0.json', '0123456789abcdeF.json', 'x0123456789abcdef.json', '0123456789abcdef.json.old', '0123456789abcdef-json'];
    for (const name of others.map((end) => `${ofTheMove}${end}`)) await writeFile(join(evidenceDir, name), '');
    for (const name of ['c', 'a', 'f', 'b', 'e', 'd']) await writeFile(join(evidenceDir, `${ofTheMove}${name.repeat(16)}.json`), '');
    expect((await record()).differsFrom).toEqual(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => join(evidenceDir, `${ofTheMove}${name.repeat(16)}.json`)));
  });
});
