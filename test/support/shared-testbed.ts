/**
 * One testbed for all files of test/e2e/shared that a worker of vitest runs: its hosts' workers ask an injector at every point, and the
 * network of each host's channel can fail. A file finds it with no VM and nothing broken, and so must leave it, but for its VMs' records.
 */
import { test } from 'vitest';
import { type ChannelSwitch, type Direction, openChannelSwitch } from '../../infra/testbed/channel-switch.js';
import type { Injector } from '../../infra/testbed/faults/injector.js';
import { HOSTS, type HostName } from '../../infra/testbed/faults/move.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { openAskingTestbed } from '../e2e/support.js';

export interface SharedTestbed {
  readonly testbed: Testbed;
  readonly injector: Injector;
  /** Each passes what goes to the channel of its host. */
  readonly networks: Readonly<Record<HostName, ChannelSwitch>>;
  /** Sees every piece that goes over one of the networks before it is passed on; null: nobody does. */
  beforePassing: ((direction: Direction, network: ChannelSwitch) => void) | null;
}

const withShared = test.extend('shared', { scope: 'worker' }, async ({}, { onCleanup }): Promise<SharedTestbed> => {
  const networks = {} as Record<HostName, ChannelSwitch>;
  const asking = await openAskingTestbed({
    async channelTap({ hostId, listen }) {
      const network = await openChannelSwitch(listen, (direction, _, self) => shared.beforePassing?.(direction, self));
      networks[hostId as HostName] = network;
      return network.address;
    },
  });
  const shared: SharedTestbed = { ...asking, networks, beforePassing: null };
  onCleanup(async () => {
    await shared.testbed.stop();
    await shared.injector.close();
    await Promise.all(HOSTS.map((host) => networks[host].close()));
  });
  return shared;
});

/** For a file of test/e2e/shared: `begin` before its first test. */
export function onSharedTestbed(begin: (shared: SharedTestbed) => unknown): void {
  withShared.beforeAll(async ({ shared }) => {
    await begin(shared);
  });
  withShared.afterAll(async ({ shared }) => {
    void shared.injector.follow(null);
    shared.beforePassing = null;
    HOSTS.forEach((host) => shared.networks[host].mend());
    await shared.testbed.endVms();
    const { control, hosts } = shared.testbed;
    const ended = [control, ...HOSTS.map((host) => hosts[host].worker)].filter(({ child }) => child.exitCode !== null || child.signalCode !== null);
    if (ended.length > 0) throw new Error(`the file leaves its testbed without ${ended.map(({ name }) => `the worker ${name}`).join(', ')}`);
  });
}
