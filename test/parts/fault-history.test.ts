/** What the fault matrix asks of a history, of many moves at once. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { replay } from '../../infra/testbed/faults/history.js';

const recorded = fileURLToPath(new URL('../replay/histories', import.meta.url));
const [version = ''] = readdirSync(recorded);
type History = Parameters<typeof replay>[0];
const { history } = JSON.parse(readFileSync(join(recorded, version, 'move.json'), 'utf8')) as { readonly history: History };

it('replays that begin while others end do not take the runtime from each other', async () => {
  const one = async () => {
    for (let i = 0; i < 8; i++) await replay(history, 'migrate-counter');
  };
  await Promise.all([one(), one(), one()]);
});

it('one that fails fails alone', async () => {
  const other = structuredClone(history);
  const wrap = other.events?.find((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === 'wrapSecrets');
  const scheduled = wrap?.activityTaskScheduledEventAttributes?.activityType;
  if (!scheduled) throw new Error('the history has no wrapSecrets');
  scheduled.name = 'retireSource';
  const [first, second] = await Promise.allSettled([replay(other, 'migrate-counter'), replay(history, 'migrate-counter')]);
  expect([first.status, second.status]).toEqual(['rejected', 'fulfilled']);
});
