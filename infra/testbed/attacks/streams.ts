/** Attacks with the bytes of another move: spliced into one that runs, or played from the first byte to a host that waits for another. */
import { createHash, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { MigrationId } from '../../../domain/ids.js';
import { answered } from '../until.js';
import type { Arena, ArenaHost } from './arena.js';
import type { Trial } from './flip-trials.js';
import type { SinkHost } from './sink-host.js';
import { RecordWalk } from './tls-records.js';
import { type Change, type Recording, type Wire, type WireAttacker, passing } from './wire.js';

/** A record of the image's data: the handshake is over long before, and the image's end far. */
const RECORD = 40;
const BROKEN = ['CHANNEL_LOST', 'DESTINATION_REJECTED'];

/** `earlier`: all bytes of a move that succeeded. */
export async function splicedStream({ attacked, move, wires }: Arena, earlier: Recording): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  const edits: readonly (readonly [string, RecordEdit])[] = [
    ['from some record on, those of the earlier move', { first: () => fromRecord(earlier['to destination'], RECORD), rest: 'drop' }],
    ['one record of the earlier move in the place of its own', { first: () => oneRecord(earlier['to destination'], RECORD), rest: 'pass' }],
    ['one record twice', { first: (own) => Buffer.concat([own, own]), rest: 'pass' }],
    ['one record left out', { first: () => Buffer.alloc(0), rest: 'pass' }],
  ];
  for (const [what, edit] of edits) {
    trials.push(
      await attacked(what, 'host-b', BROKEN, async () => {
        void wires['host-b'].attackNext(passing(editRecord(edit)));
        return move('host-b');
      }),
    );
  }
  return trials;
}

/** The same by one who is inside the TLS connection, where nothing but digest and manifest stands in the way. `other`: an image of another time. */
export async function splicedInside(host: SinkHost, image: Buffer, other: Buffer): Promise<readonly Trial[]> {
  const half = Math.floor(Math.min(image.length, other.length) / 2);
  const spliced = Buffer.concat([image.subarray(0, half), other.subarray(half)]);
  if (spliced.equals(image)) throw new Error('the two images are the same: there is nothing to splice');
  const attempts = [
    { what: 'two images joined, under the manifest of the first', expected: ['STREAM_DIGEST_MISMATCH'], attack: { image: spliced, manifest: 'of the image' } },
    { what: 'the other image whole, under the manifest of the first', expected: ['STREAM_DIGEST_MISMATCH'], attack: { image: other, manifest: 'of the image' } },
    { what: 'the other image, with the manifest of its own move', expected: ['MANIFEST_MISMATCH'], attack: { image: other, manifest: 'of another move' } },
  ] as const;
  const trials: Trial[] = [];
  const streamSha256 = createHash('sha256').update(image).digest('hex');
  for (const { what, expected, attack } of attempts) {
    const { codes, hasRun } = await host.move({
      image: attack.image,
      manifest: (manifest) => (attack.manifest === 'of the image' ? { ...manifest, streamBytes: attack.image.length, streamSha256 } : { ...manifest, migrationId: MigrationId.parse(randomUUID()) }),
    });
    trials.push({ what, codes, problems: [...(hasRun ? ['the destination was to run it'] : []), ...(codes.join() === expected.join() ? [] : [`refused by ${codes.join(', ')}, not by ${expected.join(', ')}`])] });
  }
  return trials;
}

export async function playedAgain({ attacked, move, wires }: Arena, earlier: Recording): Promise<readonly Trial[]> {
  const to = (host: ArenaHost) =>
    attacked(`to ${host}, which waits for a move of its own`, host, ['CHANNEL_PEER_UNKNOWN'], async () => {
      let answeredBytes = Infinity;
      const attacking = wires[host].attackNext(play(earlier, (bytes) => (answeredBytes = bytes)));
      const codes = await move(host);
      await answered('both sides to hang up', attacking);
      // More than a handshake would be the destination's proof, or its answer.
      return answeredBytes <= HANDSHAKE_LIMIT_BYTES ? codes : [...codes, `it answered with ${answeredBytes} bytes`];
    });
  return [await to('host-c'), await to('host-b'), await attacked('to host-b, which waits for nobody', 'host-b', ['ECONNREFUSED'], async () => [await knock(wires['host-b'])])];
}

const HANDSHAKE_LIMIT_BYTES = 2048;

/** Plays either side what it heard in the earlier move, and listens until both have hung up. */
function play(earlier: Recording, onEnd: (answeredBytes: number) => void): WireAttacker {
  return async (source, target) => {
    const destination = connect(target.port, target.host);
    let answeredBytes = 0;
    destination.on('data', (bytes: Buffer) => (answeredBytes += bytes.length));
    destination.on('error', () => undefined);
    source.resume();
    source.write(earlier['to source']);
    destination.write(earlier['to destination']);
    await Promise.all([source, destination].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    onEnd(answeredBytes);
  };
}

function knock({ target }: Wire): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(target.port, target.host);
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
  });
}

interface RecordEdit {
  /** What stands in the place of RECORD. */
  readonly first: (own: Buffer) => Buffer;
  /** What becomes of the records after it. */
  readonly rest: 'pass' | 'drop';
}

function editRecord({ first, rest }: RecordEdit): Change {
  const records = new RecordWalk();
  const own: Buffer[] = [];
  let isDone = false;
  return (direction, piece) => {
    if (direction !== 'to destination') return piece;
    const kept: Buffer[] = [];
    records.walk(piece, (at, bytes, { record }) => {
      const run = piece.subarray(at, at + bytes);
      if (record === RECORD) return void own.push(run);
      if (record > RECORD && !isDone) {
        isDone = true;
        kept.push(first(Buffer.concat(own)));
      }
      if (record < RECORD || rest === 'pass') kept.push(run);
    });
    return Buffer.concat(kept);
  };
}

function fromRecord(bytes: Buffer, index: number): Buffer {
  return bytes.subarray(startOf(bytes, index));
}

function oneRecord(bytes: Buffer, index: number): Buffer {
  return bytes.subarray(startOf(bytes, index), startOf(bytes, index + 1));
}

function startOf(bytes: Buffer, index: number): number {
  let start = bytes.length;
  new RecordWalk().walk(bytes, (at, _, { record }) => {
    if (record === index && at < start) start = at;
  });
  return start;
}
