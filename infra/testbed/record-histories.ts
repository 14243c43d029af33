/**
 * `npm run histories`: runs every scenario and writes the history of its move for replay tests,
 * `test/replay/histories/<version>/<scenario>.json`. Names of machines, stack traces and the
 * places of files are left out; nothing of that matters to a replay.
 */
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { SCENARIOS } from './scenarios.js';
import { createStage } from './stage.js';
import { startTestbed } from './testbed.js';

const [, , guestDir = '', temporalBinary = '', outDir = ''] = process.argv;
const ROOT = '/tmp/korora-histories';

const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
const folder = join(outDir, `v${version}`);
await mkdir(folder, { recursive: true });
await rm(`${ROOT}-guest`, { force: true });
await symlink(guestDir, `${ROOT}-guest`);
const stage = createStage({ line: (text) => process.stdout.write(`${text}\n`), passing: () => undefined });

for (const scenario of SCENARIOS) {
  const testbed = await startTestbed({ root: ROOT, guestDir: `${ROOT}-guest`, temporalBinary, ...scenario.taps?.(ROOT) });
  try {
    await scenario.run(testbed, stage);
    const history = await testbed.temporal.workflow.getHandle('migrate-counter').fetchHistory();
    await writeFile(join(folder, `${scenario.name}.json`), `${JSON.stringify(JSON.parse(historyToJSON(history)), withoutPlaces, 1)}\n`);
  } finally {
    await testbed.stop();
  }
}
await rm(`${ROOT}-guest`, { force: true });
process.exit(0);

function withoutPlaces(key: string, value: unknown): unknown {
  if (key === 'identity') return 'recorded';
  if (key === 'stackTrace') return '';
  return value;
}
