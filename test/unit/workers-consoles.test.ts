/** workers/consoles.ts on real files: what guests have said is cut at its bound, and its end kept, also where an earlier worker left more. */
import { appendFile, mkdir, mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLocalHost } from '../../host/local.js';
import { until } from '../../infra/testbed/until.js';
import { CONSOLE_BYTES, KEPT_BYTES, keepConsolesShort, shortenConsoles } from '../../workers/consoles.js';
import { SOURCE } from '../support/documents.js';

const access = createLocalHost(SOURCE);
let runDir: string;
const consoleOf = (vmId: string) => join(runDir, vmId, 'console.log');
const sizesOf = async (vmId: string) => Promise.all([consoleOf(vmId), `${consoleOf(vmId)}.1`].map((path) => stat(path).then(({ size }) => size, () => null)));

beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), 'kcon-'));
  for (const vmId of ['loud', 'quiet', 'none']) await mkdir(join(runDir, vmId));
  await writeFile(join(runDir, 'worker.lock'), '1\n');
  await writeFile(consoleOf('loud'), '');
  await writeFile(consoleOf('quiet'), 'count 1\n');
});
afterEach(() => rm(runDir, { recursive: true, force: true }));

it('keeps the end of what is too long, and touches nothing else', async () => {
  await truncate(consoleOf('loud'), CONSOLE_BYTES);
  await shortenConsoles(access, runDir);
  expect(await sizesOf('loud')).toEqual([CONSOLE_BYTES, null]);
  await appendFile(consoleOf('loud'), 'count 9\n');
  await shortenConsoles(access, runDir);
  expect(await sizesOf('loud')).toEqual([0, KEPT_BYTES]);
  expect((await access.readFile(`${consoleOf('loud')}.1`))?.toString('latin1', KEPT_BYTES - 8)).toBe('count 9\n');
  expect([await sizesOf('quiet'), await sizesOf('none')]).toEqual([[8, null], [null, null]]);
});

it('is done by a worker for as long as it runs, from its start on', async () => {
  await truncate(consoleOf('loud'), CONSOLE_BYTES + 1);
  const keeping = keepConsolesShort(access, runDir);
  const isCut = ([size]: readonly (number | null)[]) => size === 0;
  await until('the console to be cut', () => sizesOf('loud'), isCut);
  await truncate(consoleOf('loud'), CONSOLE_BYTES + 1);
  await until('the console to be cut again', () => sizesOf('loud'), isCut);
  await keeping.stop();
});
