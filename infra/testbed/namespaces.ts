/**
 * A network for the hosts of a testbed: each host in a network namespace of its own, as another machine would be, with
 * a bridge of one name; a switch that joins the bridges; and a client of the guest's behind the same switch.
 *
 *   client ── port-client ┐
 *   host-a: BRIDGE ── port-a ┤ switch        host-x: 198.18.N.x ── this machine (Temporal, TPMs, the channel's relay)
 *   host-b: BRIDGE ── port-b ┘
 *
 * The software TPMs and the Temporal server listen on this machine's loopback only, which another namespace does not
 * see: `reach` passes single ports of it on, to one host each. Nothing is routed, and no rule of a firewall is touched.
 * Needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { type Server, connect, createServer } from 'node:net';
import { promisify } from 'node:util';
import type { NetworkAddress } from '../../domain/ids.js';
import { tapChannel } from './channel-tap.js';
import { inNetwork } from './own-mounts.js';
import { listenOn } from './ports.js';
import type { TestbedOptions } from './testbed.js';

const run = promisify(execFile);

/** The hosts' bridge, on every host under this name. */
export const BRIDGE = 'br-guests';
const SWITCH_BRIDGE = 'switch';
export const SWITCH_PORTS = { 'host-a': 'port-a', 'host-b': 'port-b', client: 'port-client' } as const;
/** A host's way from its bridge to the switch. */
export const UPLINK = 'uplink';

export interface HostPlace {
  readonly namespace: string;
  /** This host, as this machine sees it. */
  readonly address: string;
  /** This machine, as this host sees it. */
  readonly gateway: string;
  /** Passes a port of this machine's loopback on to this host, under the same number. */
  reach(port: number): Promise<NetworkAddress>;
}

export interface Namespaces {
  readonly hosts: Readonly<Record<'host-a' | 'host-b', HostPlace>>;
  /** For TestbedOptions: hosts reach each other's channel through this machine, where `isTime` may have a bit flipped. */
  channelTap(isTime?: () => boolean): NonNullable<TestbedOptions['channelTap']>;
  /** Starts a command where the client is. */
  inClient(command: string, args: readonly string[]): ChildProcess;
  /** The switch's port behind which it saw `mac` last; null where it knows none. */
  portOf(mac: string): Promise<string | null>;
  remove(): Promise<void>;
}

/** Why this process cannot have a testbed with namespaces; null where it can. */
export async function whyNoNamespaces(): Promise<string | null> {
  const name = `kr-try-${process.pid}`;
  try {
    await run('ip', ['netns', 'add', name]);
    await run('ip', ['-n', name, 'link', 'add', 'try', 'type', 'bridge']);
    await run('ip', ['-n', name, 'tuntap', 'add', 'dev', 'try-tap', 'mode', 'tap']);
    const [command = '', ...args] = inNetwork(name, [], ['test', '-d', '/sys/class/net/try/bridge']);
    await run(command, args);
    return null;
  } catch (error) {
    return `network namespaces cannot be used here: ${error instanceof Error ? error.message.trim() : String(error)}`;
  } finally {
    await run('ip', ['netns', 'delete', name]).catch(() => undefined);
  }
}

export async function createNamespaces(clientAddress: string): Promise<Namespaces> {
  const tag = `kr-${process.pid}-${randomInt(10_000)}`;
  const nameOf = (place: string) => `${tag}-${place}`;
  const servers: Server[] = [];
  const places = ['switch', 'client', 'host-a', 'host-b'];
  const remove = async () => {
    for (const server of servers) server.close();
    for (const place of places) await run('ip', ['netns', 'delete', nameOf(place)]).catch(() => undefined);
  };
  try {
    for (const place of places) {
      await run('ip', ['netns', 'add', nameOf(place)]);
      await inside(place, 'link set lo up');
    }
    await inside('switch', `link add ${SWITCH_BRIDGE} type bridge`, `link set ${SWITCH_BRIDGE} up`);
    await joinSwitch('client', SWITCH_PORTS.client);
    await inside('client', `address add ${clientAddress} dev ${UPLINK}`);
    const hosts = { 'host-a': await makeHost('host-a', 1), 'host-b': await makeHost('host-b', 2) };
    return {
      hosts,
      remove,
      channelTap: (isTime = () => false) => async ({ hostId, listen }) => (await tapChannel(listen, isTime, hosts[hostId as keyof typeof hosts].gateway)).address,
      inClient: (command, args) => spawn('nsenter', [`--net=/run/netns/${nameOf('client')}`, command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }),
      async portOf(mac) {
        const { stdout } = await run('bridge', ['-n', nameOf('switch'), 'fdb', 'show', 'br', SWITCH_BRIDGE, 'dynamic']);
        return new RegExp(`^${mac} dev (\\S+)`, 'm').exec(stdout)?.[1] ?? null;
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }

  function inside(place: string, ...lines: readonly string[]): Promise<unknown> {
    return batch(['-n', nameOf(place)], lines);
  }

  async function joinSwitch(place: string, port: string): Promise<void> {
    await inside('switch', `link add ${port} type veth peer name ${UPLINK} netns ${nameOf(place)}`, `link set ${port} master ${SWITCH_BRIDGE} up`);
    await inside(place, `link set ${UPLINK} up`);
  }

  async function makeHost(place: 'host-a' | 'host-b', number: number): Promise<HostPlace> {
    await joinSwitch(place, SWITCH_PORTS[place]);
    await inside(place, `link add ${BRIDGE} type bridge`, `link set ${UPLINK} master ${BRIDGE}`, `link set ${BRIDGE} up`);
    // A /30 of the range that is set aside for tests of networks (RFC 2544), another for every run on this machine.
    const base = `198.18.${randomInt(256)}.${4 * (randomInt(31) * 2 + number - 1)}`.split('.').map(Number) as [number, number, number, number];
    const [gateway, address] = [1, 2].map((last) => [...base.slice(0, 3), base[3] + last].join('.')) as [string, string];
    const outer = `krm${process.pid.toString(36)}${number}`;
    await batch([], [`link add ${outer} type veth peer name management netns ${nameOf(place)}`, `address add ${gateway}/30 dev ${outer}`, `link set ${outer} up`]);
    await inside(place, `address add ${address}/30 dev management`, 'link set management up', `route add default via ${gateway}`);
    return {
      namespace: nameOf(place),
      address,
      gateway,
      async reach(port) {
        servers.push(await relay({ host: gateway, port }, { host: '127.0.0.1', port }));
        return { host: gateway, port };
      },
    };
  }
}

async function batch(options: readonly string[], lines: readonly string[]): Promise<void> {
  for (const line of lines) await run('ip', [...options, ...line.split(' ')]);
}

async function relay(from: NetworkAddress, to: NetworkAddress): Promise<Server> {
  const server = createServer((near) => {
    const far = connect(to.port, to.host);
    for (const [a, b] of [[near, far], [far, near]] as const) a.on('error', () => b.destroy()).on('close', () => b.destroy()).pipe(b);
  });
  server.unref();
  await listenOn(server, from.host, from.port);
  return server;
}
