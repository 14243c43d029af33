/**
 * The steps of which domain/steps.ts says that they change nothing: what their host keeps of the VM is the same before and after each,
 * byte for byte. The fault matrix leaves out cells because of it.
 */
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { STEPS, type Step } from '../../../domain/steps.js';
import type { Injector } from '../../../infra/testbed/faults/injector.js';
import type { HostName } from '../../../infra/testbed/faults/move.js';
import { processesOf } from '../../../infra/testbed/faults/vm-processes.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { moveTo, startGuest } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

const VM = 'unread';
/** The guest's own, which grows by itself. */
const OF_THE_GUEST = ['console.log'];
const READING = Object.values<Step>(STEPS).flatMap(({ does }) => does.flatMap(({ on, activity, changesNothing }) => (changesNothing ? [`${on} ${activity}`] : [])));

let testbed: Testbed;
let injector: Injector;
onSharedTestbed((shared) => ({ testbed, injector } = shared));

/** Every file of its state, all that is in its run folder, and its processes. */
async function keptAt(host: HostName): Promise<readonly string[]> {
  const { config } = testbed.hosts[host];
  const digest = async (path: string) => `${path} ${createHash('sha256').update(await readFile(path).catch(() => 'not a file')).digest('hex')}`;
  const state = await readdir(join(config.stateDir, 'vms', VM), { recursive: true }).catch(() => []);
  const running = await readdir(join(config.runDir, VM), { recursive: true }).catch(() => []);
  const processes = await processesOf(config, host, VM as never);
  return [
    ...(await Promise.all(state.map((name) => digest(join(config.stateDir, 'vms', VM, name))))),
    await digest(join(config.stateDir, 'ledger.json')),
    ...running.filter((name) => !OF_THE_GUEST.includes(name)).sort(),
    ...processes.map(({ kind, pid }) => `${kind} ${pid}`).sort(),
  ];
}

it('leave everything as it was, in a move that succeeds', async () => {
  const { console: guest } = await startGuest(testbed, VM, 'host-a');
  const before = new Map<string, readonly string[]>();
  const changes: string[] = [];
  const seen = new Set<string>();
  const accident = injector.follow(async ({ kind, name, on, at }) => {
    const step = `${on === 'host-a' ? 'source' : 'destination'} ${name}`;
    if (kind !== 'activity' || on === 'control') return 'pass';
    const kept = await keptAt(on as HostName);
    if (at === 'before') before.set(step, kept);
    else {
      seen.add(step);
      if (JSON.stringify(before.get(step)) !== JSON.stringify(kept)) changes.push(step);
    }
    return 'pass';
  });
  expect((await Promise.race([accident, moveTo(testbed, VM, 'host-b')])).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  await guest.close();
  for (const step of READING) expect(seen).toContain(step);
  expect(changes.filter((step) => READING.includes(step))).toEqual([]);
  // It would have seen a change: these steps leave something.
  for (const step of ['destination prepareDestination', 'source resolveSource']) expect(changes).toContain(step);
});
