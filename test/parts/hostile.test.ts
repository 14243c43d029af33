/** A short run of the hostile control plane (`npm run attack -- --only hostile` runs it by the thousands), and that it finds what it is there to find. */
import type * as Noble from '@noble/curves/ed25519.js';
import { expect, it, vi } from 'vitest';
import { Driver, withoutClocks } from '../../infra/testbed/hostile/driver.js';
import { explore } from '../../infra/testbed/hostile/explore.js';
import { type Beginning, liveThePast } from '../../infra/testbed/hostile/past.js';
import { HOSTS, vmOf } from '../../infra/testbed/hostile/people.js';
import { DEFECTS } from '../../infra/testbed/hostile/planted.js';
import { IN_ORDER, Turns } from '../../infra/testbed/hostile/turns.js';
import { World } from '../../infra/testbed/hostile/world.js';
import { randomFrom } from '../../infra/testbed/random.js';

// As hooks.ts does for the program: a signature is checked once a process.
vi.mock('@noble/curves/ed25519.js', async (importReal) => {
  const real = await importReal<typeof Noble>();
  const { remembering } = await import('../../infra/testbed/hostile/remembered.js');
  return { ...real, ed25519: remembering(real.ed25519) };
});

const SEED = 1;
const TRIES = 40;
/** Each is found within fewer with its own seed. */
const BOUND = 250;
const TURNS_OF_A_START = 60;
const ORDERS_OF_TURNS = 300;

const beginning: Promise<Beginning> = liveThePast();

it('breaks nothing in a short run', async () => {
  const { tried, broken } = await explore({ tries: TRIES, seed: SEED, beginning: await beginning });
  expect({ tried, broken }).toEqual({ tried: TRIES, broken: null });
});

it.each(DEFECTS)('finds $name when it is put back: $what', async ({ breaks, planted, seed }) => {
  const { broken } = await explore({ tries: BOUND, seed, beginning: await beginning, planted, watched: breaks, isShrunk: false });
  expect(breaks).toContain(broken?.breaches[0]?.invariant);
});

it('a reinstatement that is played again beside a start leaves the VM its vTPM', async () => {
  const { past, loot } = await beginning;
  const reinstatement = loot.heard.find(({ activity }) => activity === 'reinstateRecords')?.argument;
  await withoutClocks(async () => {
    for (let seed = 0; seed < ORDERS_OF_TURNS; seed++) {
      const random = randomFrom(seed);
      const among = (count: number) => Math.floor(random() * count);
      const world = new World({ past, turns: new Turns({ among, delay: () => 0 }), watched: [] });
      const driver = new Driver(world, loot.copy());
      await driver.until(world.startWorker('host-a'));
      const { ask } = driver.person();
      const start = { start: await world.people.start('new', 'host-a', null), vm: vmOf('new') };
      const started = ask('host-a', 'startVm', start);
      for (let turn = 0; turn < seed % TURNS_OF_A_START; turn++) await driver.turn();
      await driver.until(Promise.all([started, ask('host-a', 'reinstateRecords', reinstatement as never)]));
      expect(world.hosts['host-a'].machine.secretOf('new')).not.toBeNull();
      for (const host of HOSTS) world.endWorker(host);
    }
  });
});

it('a time that Temporal tells has no refused order forgotten', async () => {
  const { past, loot } = await beginning;
  await withoutClocks(async () => {
    const world = new World({ past, turns: new Turns(IN_ORDER), watched: [] });
    const driver = new Driver(world, loot.copy());
    await driver.until(world.startWorker('host-a'));
    const refused = () => world.judge.recordOf('host-a', 'db')?.settled.map(({ migrationId }) => migrationId) ?? [];
    const before = refused();
    const neverRun = loot.moves.filter(({ vmId }) => vmId === 'db').at(-1);
    await driver.until(world.call('host-a', 'closeSession', [{ order: neverRun?.envelope, reason: 'it is over' }], Date.UTC(2200, 0)).answer);
    expect([before.length, refused()]).toEqual([1, [...before, neverRun?.migrationId]]);
    world.endWorker('host-a');
  });
});
