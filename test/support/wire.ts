/**
 * One end's connection, made of streams: what it writes is kept by name, what its peer says is pushed. For tests of what an end does, event by event, with a clock
 * that stands still; that real connections are so is for channel-stream.test.ts and channel-peers.test.ts.
 */
import { randomUUID } from 'node:crypto';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { confirmationOf } from '../../channel/confirmation.js';
import { FRAMES, HEADER_BYTES, encodeControl, writeHeader } from '../../channel/frames.js';
import type { ChannelTerms } from '../../channel/port.js';
import { MigrationId, type Role } from '../../domain/ids.js';
import { SecretKey } from '../../domain/secret-key.js';
import { settled } from './settled.js';

export class Wire extends Duplex {
  /** The names of the frames that were written, ABORT with its reason. */
  readonly frames: string[] = [];
  readonly payloads: Buffer[] = [];
  /** What each write from now on ends with. */
  fails: Error | null = null;
  /** A write does not end before `release`. */
  isHeld = false;
  release: () => void = () => undefined;
  /** What `writableLength` says. */
  stuckBytes = 0;

  constructor() {
    super();
    Object.defineProperty(this, 'writableLength', { get: () => this.stuckBytes });
  }

  get socket(): TLSSocket {
    return this as unknown as TLSSocket;
  }

  exportKeyingMaterial(): Buffer {
    return Buffer.alloc(32, 1);
  }

  /** The peer says this, and everybody has looked at it. */
  async hear(bytes: Buffer): Promise<void> {
    this.push(bytes);
    await settled();
  }

  /** The peer of `role` proves that it holds the session key. */
  confirmBy(role: Role, terms: ChannelTerms): Promise<void> {
    return this.hear(encodeControl('CONFIRM', confirmationOf(role, this.socket, terms)));
  }

  override _read(): void {
    // What is heard is pushed.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    const [name] = Object.entries(FRAMES).find(([, { type }]) => type === chunk[0]) ?? ['?'];
    const payload = Buffer.from(chunk.subarray(HEADER_BYTES));
    this.frames.push(name === 'ABORT' ? `ABORT ${payload.toString()}` : name);
    this.payloads.push(payload);
    if (this.isHeld) this.release = () => done(this.fails);
    else done(this.fails);
  }
}

export function dataOf(payload: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  writeHeader(header, 'DATA', payload.length);
  return Buffer.concat([header, payload]);
}

export function termsOf(silenceLimitMs: number | null): ChannelTerms {
  const keys = { migrationId: MigrationId.parse(randomUUID()), sessionKey: SecretKey.of(Buffer.alloc(32, 2)) };
  return { ...keys, ...(silenceLimitMs === null ? {} : { silenceLimitMs }) } as ChannelTerms;
}
