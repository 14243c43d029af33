/** The table of builds: a row a folder, a folder a row. What a row claims of its histories is tried in replay.test.ts. */
import { expect, it } from 'vitest';
import { buildOfToday, folderOf, readBuilds } from '../../infra/testbed/histories/builds.js';
import { FOLDERS, place, project } from './corpus.js';

const builds = await readBuilds(place);

it('each folder of histories has a row, and each row a folder', () => {
  expect(Object.keys(builds).sort()).toEqual([...FOLDERS].sort());
});

it('a row says of which build the folder is, and what becomes of its moves', () => {
  for (const [folder, row] of Object.entries(builds)) {
    expect(row).toEqual({ version: expect.any(String) as string, workflowCode: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string, standing: expect.stringMatching(/^(?:replays|pinned)$/) as string });
    expect(folder).toBe(folderOf(row));
  }
});

it('the digest of the workflow code is of the texts alone: the same twice, and of this version', async () => {
  const [once, again] = [await buildOfToday(project), await buildOfToday(`${project}/.`)];
  expect(once).toEqual(again);
  expect(once.workflowCode).toMatch(/^sha256:[0-9a-f]{64}$/);
});
