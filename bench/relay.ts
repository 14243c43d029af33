/**
 * How fast the attested channel moves an image, beside the same path without it:
 *
 *   plain     feeder ─unix─► source process ── TCP copy ──► destination process ─unix─► drain
 *   channel   the same, with TLS 1.3, frames and SHA-256 on both sides
 *
 * Source and destination are processes of their own; this process feeds and drains, so all three
 * share the machine's cores, as QEMU does. Rows alternate in one run. It judges nothing: no limit,
 * no failure when slow. `measureRelay` gives the numbers to other benches.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createCipheriv, createHash, randomBytes, randomUUID } from 'node:crypto';
import { MigrationId } from '../domain/ids.js';
import { SecretKey } from '../domain/secret-key.js';
import type { ChannelIdentity } from '../channel/port.js';
import { createChannels } from '../channel/relay.js';
import { spread, table } from './table.js';

export interface RelayMeasurement {
  readonly bytes: number;
  /** MiB per second of each run, in order. */
  readonly plainMiBPerS: readonly number[];
  readonly channelMiBPerS: readonly number[];
  /** From the last byte handed to the kernel by the feeder to the verdict read by the source, ms, of each run. */
  readonly channelTailMs: readonly number[];
  /** CPU time (user + system) of the two ends for one run, seconds. */
  readonly plainCpuS: readonly number[];
  readonly channelCpuS: readonly number[];
  /** CPU time of what the channel cannot do without, for the same bytes: AES-128-GCM once and SHA-256 once on each end, seconds. */
  readonly cryptoCpuS: readonly number[];
}

const ROLES = ['plain-source', 'plain-destination', 'channel-source', 'channel-destination'] as const;
type ChildRole = (typeof ROLES)[number];

interface Job {
  readonly migrationId: string;
  readonly identity: ChannelIdentity;
  readonly peerSpkiSha256: string;
  /** Hex. */
  readonly sessionKey: string;
  /** Where the image comes from (source) or goes to (destination). */
  readonly socketPath: string;
  /** Of the destination; given to the source. */
  readonly port: number;
}

/** What a child says when it is done. */
interface Report {
  readonly cpuS: number;
  /** When its work was done, ms since the epoch. */
  readonly doneMs: number;
}

interface RunResult {
  readonly miBPerS: number;
  readonly tailMs: number;
  readonly cpuS: number;
}

export async function measureRelay({ runs, bytes }: { readonly runs: number; readonly bytes: number }): Promise<RelayMeasurement> {
  const rows: Record<'plain' | 'channel', RunResult[]> = { plain: [], channel: [] };
  const cryptoCpuS: number[] = [];
  for (let run = 0; run < runs; run++) {
    cryptoCpuS.push(cryptoCpu(bytes));
    for (const kind of ['plain', 'channel'] as const) rows[kind].push(await measureOnce(kind, bytes));
  }
  return {
    bytes,
    plainMiBPerS: rows.plain.map((r) => r.miBPerS),
    channelMiBPerS: rows.channel.map((r) => r.miBPerS),
    channelTailMs: rows.channel.map((r) => r.tailMs),
    plainCpuS: rows.plain.map((r) => r.cpuS),
    channelCpuS: rows.channel.map((r) => r.cpuS),
    cryptoCpuS,
  };
}

export function relayTable(m: RelayMeasurement): string {
  const gib = (values: readonly number[]) => spread(values.map((miB) => miB / 1024), 2);
  return table(
    [`${m.bytes / 2 ** 20} MiB, unix → TCP → unix, two processes`, 'n', 'plain copy', 'attested channel (TLS 1.3, SHA-256 on both sides)', 'its AES-GCM and SHA-256 alone'],
    [
      ['GiB/s', String(m.plainMiBPerS.length), gib(m.plainMiBPerS), gib(m.channelMiBPerS), '–'],
      ['CPU of both ends, s', String(m.plainCpuS.length), spread(m.plainCpuS, 2), spread(m.channelCpuS, 2), spread(m.cryptoCpuS, 2)],
      ['last byte fed → verdict, ms', String(m.channelTailMs.length), '–', spread(m.channelTailMs, 1), '–'],
    ],
  );
}

async function measureOnce(kind: 'plain' | 'channel', bytes: number): Promise<RunResult> {
  const folder = await mkdtemp(join(tmpdir(), 'korora-relay-'));
  const children: ChildProcess[] = [];
  const start = (role: ChildRole, job: Job) => {
    const child = fork(fileURLToPath(import.meta.url), [role], { execArgv: ['--single-threaded-gc'] });
    children.push(child);
    child.send(job);
    return child;
  };
  try {
    const feed = await unixServer(join(folder, 'feed'));
    const drain = await unixServer(join(folder, 'drain'));
    const drained = once(drain, 'connection').then(([socket]) => count(socket as Socket));
    const fed = once(feed, 'connection').then(([socket]) => socket as Socket);

    const [a, b] = await Promise.all([createChannels().createIdentity(), createChannels().createIdentity()]);
    const common = { migrationId: randomUUID(), sessionKey: randomBytes(32).toString('hex') };
    const destination = start(`${kind}-destination`, { ...common, identity: b, peerSpkiSha256: a.spkiSha256, socketPath: join(folder, 'drain'), port: 0 });
    const port = await reply<number>(destination);
    const source = start(`${kind}-source`, { ...common, identity: a, peerSpkiSha256: b.spkiSha256, socketPath: join(folder, 'feed'), port });

    const socket = await fed;
    const ends = [reply<Report>(source), reply<Report>(destination)] as const;
    const startedMs = performance.now();
    await feedInto(socket, bytes);
    const fedMs = nowMs();
    const arrived = await drained;
    const drainedMs = performance.now();
    if (arrived !== bytes) throw new Error(`${arrived} of ${bytes} bytes arrived`);
    const [atSource, atDestination] = await Promise.all(ends);
    feed.close();
    drain.close();
    return { miBPerS: bytes / 2 ** 20 / ((drainedMs - startedMs) / 1000), tailMs: atSource.doneMs - fedMs, cpuS: atSource.cpuS + atDestination.cpuS };
  } finally {
    for (const child of children) if (child.connected) child.disconnect();
    await rm(folder, { recursive: true });
  }
}

/** In blocks as large as a TLS record, with the same OpenSSL. Decrypting costs what encrypting does. */
function cryptoCpu(bytes: number): number {
  const block = randomBytes(16 * 1024);
  const hash = createHash('sha256');
  const cipher = createCipheriv('aes-128-gcm', randomBytes(16), randomBytes(12));
  const before = process.cpuUsage();
  for (let left = bytes; left > 0; left -= block.length) {
    hash.update(block);
    cipher.update(block);
  }
  const { user, system } = process.cpuUsage(before);
  return (2 * (user + system)) / 1e6;
}

async function unixServer(path: string): Promise<Server> {
  const server = createServer().listen(path);
  await once(server, 'listening');
  return server;
}

async function count(socket: Socket): Promise<number> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  await once(socket, 'end');
  return bytes;
}

async function feedInto(socket: Socket, bytes: number): Promise<void> {
  const block = randomBytes(256 * 1024);
  for (let left = bytes; left > 0; left -= block.length) {
    if (!socket.write(block.subarray(0, Math.min(left, block.length)))) await once(socket, 'drain');
  }
  await new Promise<void>((resolve) => socket.end(resolve));
}

/** Comparable between the processes of one machine. */
function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

async function reply<T>(child: ChildProcess): Promise<T> {
  const [message] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`child ended with ${code}`))),
  ])) as [T];
  return message;
}

/** Each gives the time at which its work was done, in ms since the epoch. */
const CHILDREN: Readonly<Record<ChildRole, (job: Job) => Promise<number>>> = {
  'plain-source': async (job) => {
    await pipeline(connectTcp(job.socketPath), connectTcp({ port: job.port, host: '127.0.0.1', noDelay: true }));
    return nowMs();
  },
  'plain-destination': async (job) => {
    const server = createServer({ noDelay: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const connection = once(server, 'connection');
    tell((server.address() as { port: number }).port);
    const [socket] = (await connection) as [Socket];
    await pipeline(socket, connectTcp(job.socketPath));
    server.close();
    return nowMs();
  },
  'channel-source': async (job) => {
    const terms = termsOf(job);
    const channel = await createChannels().connect({ host: '127.0.0.1', port: job.port }, terms, new AbortController().signal);
    const { bytes, sha256 } = await channel.sendImage(connectTcp(job.socketPath));
    await channel.sendManifest({
      protocol: 'korora/1', migrationId: terms.migrationId, vmId: 'bench' as never, epoch: 2 as never,
      streamBytes: bytes, streamSha256: sha256, previousVerdict: null, vtpmIdentity: '0'.repeat(64),
    });
    await channel.receiveVerdict();
    const doneMs = nowMs();
    await channel.close();
    return doneMs;
  },
  'channel-destination': async (job) => {
    const terms = termsOf(job);
    const listener = await createChannels().listen({ host: '127.0.0.1', port: 0 }, terms);
    tell(listener.address.port);
    const channel = await listener.accept();
    const { summary, manifest } = await channel.receiveImage(connectTcp(job.socketPath));
    const isSame = summary.sha256 === manifest.streamSha256 && summary.bytes === manifest.streamBytes;
    if (!isSame) throw new Error('what arrived is not what was sent');
    await channel.sendVerdict({
      protocol: 'korora/1', purpose: 'verdict', verdict: 'accepted', migrationId: terms.migrationId, vmId: manifest.vmId,
      destination: 'bench' as never, epoch: manifest.epoch, manifestDigest: '0'.repeat(64), reason: null,
    });
    await channel.close();
    return nowMs();
  },
};

function termsOf(job: Job) {
  return {
    migrationId: MigrationId.parse(job.migrationId),
    identity: job.identity,
    peerSpkiSha256: job.peerSpkiSha256,
    sessionKey: SecretKey.of(Buffer.from(job.sessionKey, 'hex')),
  };
}

function tell(value: number | Report): void {
  process.send?.(value);
}

async function main(): Promise<void> {
  const role = ROLES.find((r) => r === process.argv[2]);
  if (role === undefined) {
    console.log(relayTable(await measureRelay({ runs: 5, bytes: 2 ** 30 })));
    return;
  }
  const [job] = (await once(process, 'message')) as [Job];
  const before = process.cpuUsage();
  const doneMs = await CHILDREN[role](job);
  const { user, system } = process.cpuUsage(before);
  tell({ cpuS: (user + system) / 1e6, doneMs } satisfies Report);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
