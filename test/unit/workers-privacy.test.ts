/** workers/privacy.ts on real folders. What a worker and all that it starts leave on a host: test/e2e/move.test.ts. */
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { assertPrivate } from '../../workers/privacy.js';
import { SOURCE } from '../support/documents.js';
import { refusalOf } from '../support/refusal.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-private-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a folder of a worker', () => {
  it('that is for its owner alone is taken', async () => {
    await assertPrivate(SOURCE, [folder]);
  });

  it.each([0o750, 0o710, 0o701, 0o704, 0o1777])('of mode %i is refused, and named', async (mode) => {
    const open = join(folder, String(mode));
    await mkdir(open);
    await chmod(open, mode);
    expect(await refusalOf(assertPrivate(SOURCE, [folder, open]))).toBe(`FOLDER_NOT_PRIVATE: folder ${open} of host-a is open to others: its mode is ${(mode & 0o777).toString(8)}`);
  });

  it('of another user is refused', async () => {
    const me = vi.spyOn(process as Required<typeof process>, 'getuid').mockReturnValue(4711);
    expect(await refusalOf(assertPrivate(SOURCE, [folder]))).toMatch(/^FOLDER_NOT_PRIVATE: .*it is of user \d+$/);
    me.mockRestore();
  });
});
