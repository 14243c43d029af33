/** activities/record.ts on a real folder: what was recorded of a move is never replaced, whoever writes again, at once, or was cut short before. */
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRecording } from '../../activities/record.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { ADA, VM, evidenceOf, migrationId, orderOf } from '../support/documents.js';

let folder: string;
let evidenceDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-record-'));
  evidenceDir = join(folder, 'new', 'evidence');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const MOVED = evidenceOf();
/** As of a workflow that was reset: the same order, and hosts that refuse it. */
const REFUSED = evidenceOf({ manifest: null, verdict: null, outcome: { kind: 'refused', runsOn: null, failures: [] } });
const nameOf = (evidence: object) => `${VM}-${migrationId(1)}-${digestOf(evidence).slice(0, 16)}.json`;
const record = (evidence = MOVED) => createRecording({ evidenceDir }).recordEvidence({ evidence });
const inFile = async (evidence: object): Promise<unknown> => JSON.parse(await readFile(join(evidenceDir, nameOf(evidence)), 'utf8'));

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
  ])('is not taken for written where its name is that of %s, which stays as it is', async (_, plant) => {
    await writeFile(join(folder, 'victim'), 'precious');
    await mkdir(evidenceDir, { recursive: true });
    const path = join(evidenceDir, nameOf(MOVED));
    await plant(path);
    const found = await readFile(path, 'utf8').catch(() => null);
    await expect(record()).rejects.toMatchObject({ code: 'EVIDENCE_NAME_TAKEN' });
    expect([await readFile(path, 'utf8').catch(() => null), await readFile(join(folder, 'victim'), 'utf8')]).toEqual([found, 'precious']);
    await rm(path, { recursive: true });
    expect((await record()).path).toBe(path);
  });
});
