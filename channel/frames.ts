/**
 * What travels inside the TLS connection, as bytes: [type u8][payload length u32 BE][payload].
 * This file knows which frame may have which size and may come when; it does no I/O and gives
 * the payloads no meaning.
 *
 *   the source sends        greeting ─CONFIRM─► streaming ─MANIFEST─► awaiting      (DATA while streaming)
 *   the destination sends   greeting ─CONFIRM─► answering ─VERDICT──► over          (GRANT while answering)
 *   KEEPALIVE after the greeting, of a source that is awaiting: WAITING; ABORT at any time ─► over; over: nothing more
 */
import type { Role } from '../domain/ids.js';
import { type KororaError, refuse } from '../domain/failures.js';

export const HEADER_BYTES = 5;
export const DATA_LIMIT_BYTES = 1024 * 1024;
const CONTROL_LIMIT_BYTES = 64 * 1024;

/**
 * How many bytes of image may be on their way beyond what the sink has taken. The receiver keeps
 * reading while its sink is stalled, so KEEPALIVE and ABORT never wait behind image bytes; this is
 * the most that it then holds in memory. Both sides start with this credit; GRANT gives back.
 */
export const WINDOW_BYTES = 2 * 1024 * 1024;

/** Type byte and payload size in bytes of each frame. */
export const FRAMES = {
  /** HMAC-SHA256, see confirmation.ts. */
  CONFIRM: { type: 1, minBytes: 32, maxBytes: 32 },
  /** A piece of the image. */
  DATA: { type: 2, minBytes: 1, maxBytes: DATA_LIMIT_BYTES },
  /** Canonical JSON of a Manifest. */
  MANIFEST: { type: 3, minBytes: 2, maxBytes: CONTROL_LIMIT_BYTES },
  /** Canonical JSON of a Verdict. */
  VERDICT: { type: 4, minBytes: 2, maxBytes: CONTROL_LIMIT_BYTES },
  KEEPALIVE: { type: 5, minBytes: 0, maxBytes: 0 },
  /** The KEEPALIVE of a source that has sent its manifest: a destination that took it for something else would wait for one as long as the source waits for the verdict. */
  WAITING: { type: 8, minBytes: 0, maxBytes: 0 },
  /** Why the sender gives up: UTF-8 text for people. */
  ABORT: { type: 6, minBytes: 0, maxBytes: CONTROL_LIMIT_BYTES },
  /** u32 BE: so many bytes more may be sent as DATA. */
  GRANT: { type: 7, minBytes: 4, maxBytes: 4 },
} as const;

export type FrameName = keyof typeof FRAMES;
export type ControlName = Exclude<FrameName, 'DATA'>;

type SenderState = 'greeting' | 'streaming' | 'awaiting' | 'answering' | 'over';

/** By sender and state: the frames that may come, and the state after each. */
const ORDER: Readonly<Record<Role, Readonly<Partial<Record<SenderState, Readonly<Partial<Record<FrameName, SenderState>>>>>>>> = {
  source: {
    greeting: { CONFIRM: 'streaming', ABORT: 'over' },
    streaming: { DATA: 'streaming', KEEPALIVE: 'streaming', MANIFEST: 'awaiting', ABORT: 'over' },
    awaiting: { WAITING: 'awaiting', ABORT: 'over' },
  },
  destination: {
    greeting: { CONFIRM: 'answering', ABORT: 'over' },
    answering: { GRANT: 'answering', KEEPALIVE: 'answering', VERDICT: 'over', ABORT: 'over' },
  },
};

const NAME_OF_TYPE = new Map<number, FrameName>(
  (Object.keys(FRAMES) as FrameName[]).map((name) => [FRAMES[name].type, name]),
);

export interface FrameReceiver {
  /** A piece of a DATA payload, as it arrived: a view of the chunk, not a copy. */
  onData(piece: Buffer): void;
  /** A complete control frame. The payload is the receiver's to keep. */
  onControl(name: ControlName, payload: Buffer): void;
}

export function writeHeader(target: Buffer, name: FrameName, payloadBytes: number): void {
  target.writeUInt8(FRAMES[name].type, 0);
  target.writeUInt32BE(payloadBytes, 1);
}

export function encodeControl(name: ControlName, payload: Buffer = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length);
  writeHeader(frame, name, payload.length);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

/** Takes the byte stream of one sender in pieces of any size. Throws CHANNEL_FRAME_INVALID, before it buffers anything of a bad frame. */
export class FrameDecoder {
  readonly #sender: Role;
  readonly #receiver: FrameReceiver;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #state: SenderState = 'greeting';
  #name: FrameName | undefined;
  #missingBytes = 0;
  #payload = Buffer.alloc(0);
  #begun = 0;

  constructor(sender: Role, receiver: FrameReceiver) {
    this.#sender = sender;
    this.#receiver = receiver;
  }

  /** Which frame is on its way: a number that only it has; null between two frames. */
  get unfinished(): number | null {
    return this.#name === undefined && this.#headerBytes === 0 ? null : this.#begun;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#name === undefined ? this.#takeHeader(chunk, at) : this.#takePayload(this.#name, chunk, at);
    }
  }

  #takeHeader(chunk: Buffer, at: number): number {
    if (this.#headerBytes === 0) this.#begun += 1;
    const taken = chunk.copy(this.#header, this.#headerBytes, at);
    this.#headerBytes += taken;
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#admit(this.#header.readUInt8(0), this.#header.readUInt32BE(1));
    }
    return taken;
  }

  #admit(type: number, payloadBytes: number): void {
    const name = NAME_OF_TYPE.get(type);
    if (name === undefined) throw invalid(`unknown type ${type}`);
    const next = ORDER[this.#sender][this.#state]?.[name];
    if (next === undefined) throw invalid(`${name} from the ${this.#sender} while ${this.#state}`);
    const { minBytes, maxBytes } = FRAMES[name];
    if (payloadBytes < minBytes || payloadBytes > maxBytes) throw invalid(`${name} of ${payloadBytes} bytes`);
    this.#state = next;
    if (payloadBytes === 0) {
      if (name !== 'DATA') this.#receiver.onControl(name, Buffer.alloc(0));
      return;
    }
    this.#name = name;
    this.#missingBytes = payloadBytes;
    if (name !== 'DATA') this.#payload = Buffer.alloc(payloadBytes);
  }

  #takePayload(name: FrameName, chunk: Buffer, at: number): number {
    const taken = Math.min(this.#missingBytes, chunk.length - at);
    const offset = this.#payload.length - this.#missingBytes;
    this.#missingBytes -= taken;
    if (this.#missingBytes === 0) this.#name = undefined;
    if (name === 'DATA') {
      this.#receiver.onData(chunk.subarray(at, at + taken));
    } else {
      chunk.copy(this.#payload, offset, at, at + taken);
      if (this.#missingBytes === 0) this.#receiver.onControl(name, this.#payload);
    }
    return taken;
  }
}

/** CHANNEL_FRAME_INVALID. */
export function invalid(problem: string): KororaError {
  return refuse('CHANNEL_FRAME_INVALID', { problem });
}
