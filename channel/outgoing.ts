/**
 * The source's end of the channel: sends the image, then its manifest, and waits for the verdict.
 *
 * Image bytes are gathered in one of two staging buffers while the other is on its way, so frames
 * grow by themselves when the network is the slower part, nothing waits for a timer, and at most
 * two buffers and what `image` itself holds are in memory.
 */
import { createHash } from 'node:crypto';
import { finished, type Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { refuse, type KororaError } from '../domain/failures.js';
import type { Manifest } from '../domain/manifest.js';
import { Verdict } from '../domain/manifest.js';
import type { ChannelTerms, OutgoingChannel, StreamSummary } from './port.js';
import { DATA_LIMIT_BYTES, HEADER_BYTES, invalid, WINDOW_BYTES, writeHeader } from './frames.js';
import { decodeDocument, encodeDocument } from './documents.js';
import { Link } from './link.js';

const STAGE_BYTES = 256 * 1024;

interface Stage {
  /** Room for the frame header, then the payload. */
  readonly bytes: Buffer;
  filledBytes: number;
}

export class Outgoing implements OutgoingChannel {
  /** Resolves when both sides confirmed the session key. */
  readonly confirmed: Promise<void>;
  readonly broken: Promise<never>;
  readonly #link: Link;
  readonly #verdict: Promise<Verdict>;
  readonly #hash = createHash('sha256');
  #resolveVerdict!: (verdict: Verdict) => void;
  #stages: [Stage, Stage] = [newStage(), newStage()];
  /** The part of the last chunk that found no room. */
  #waiting: Buffer = Buffer.alloc(0);
  #isWriting = false;
  #creditBytes = WINDOW_BYTES;
  #sentBytes = 0;
  #image: Readable | undefined;
  #hasImageEnded = false;
  #resolveSent: (() => void) | undefined;
  #isManifestSent = false;
  #rejection: KororaError | undefined;
  #rejectEarly!: (rejection: KororaError) => void;
  readonly #rejectedEarly: Promise<never>;

  constructor(socket: TLSSocket, terms: ChannelTerms) {
    this.#verdict = new Promise((resolve) => (this.#resolveVerdict = resolve));
    this.#rejectedEarly = new Promise((_, reject) => (this.#rejectEarly = reject));
    this.#rejectedEarly.catch(() => undefined);
    this.#link = new Link('source', socket, terms, {
      onConfirmed: () => undefined,
      onData: () => undefined,
      onControl: (name, payload) => (name === 'GRANT' ? this.#takeCredit(payload) : this.#takeVerdict(payload)),
      onBroken: () => this.#image?.destroy(),
    });
    this.confirmed = this.#link.guard(this.#link.confirmed);
    this.broken = this.#link.broken;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  async sendImage(image: Readable): Promise<StreamSummary> {
    this.#throwIfOver(image);
    if (this.#image) throw refuse('INTERNAL', { problem: 'an image was sent on this channel already' });
    this.#image = image;
    const sent = new Promise<void>((resolve, reject) => {
      this.#resolveSent = resolve;
      finished(image, { writable: false }, (error) => error && reject(error));
    });
    image.once('end', () => {
      this.#hasImageEnded = true;
      this.#pump();
    });
    image.on('data', (chunk: Buffer) => this.#take(chunk));
    await this.#link.guard(Promise.race([sent, this.#rejectedEarly]));
    return { bytes: this.#sentBytes, sha256: this.#hash.digest('hex') };
  }

  async sendManifest(manifest: Manifest): Promise<void> {
    this.#throwIfOver();
    this.#isManifestSent = true;
    await this.#link.send('MANIFEST', encodeDocument(manifest));
  }

  receiveVerdict(): Promise<Verdict> {
    return this.#link.guard(this.#verdict);
  }

  abort(reason: string): void {
    this.#link.abort(reason);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  #throwIfOver(image?: Readable): void {
    const failure = this.#link.failure ?? this.#rejection;
    if (!failure) return;
    image?.destroy();
    throw failure;
  }

  #take(chunk: Buffer): void {
    this.#waiting = chunk;
    this.#stage();
    this.#pump();
  }

  /** Copies what waits into the stage; the image stands still while something has no room. */
  #stage(): void {
    const [stage] = this.#stages;
    const taken = this.#waiting.copy(stage.bytes, HEADER_BYTES + stage.filledBytes);
    stage.filledBytes += taken;
    this.#waiting = this.#waiting.subarray(taken);
    if (this.#waiting.length > 0) this.#image?.pause();
    else if (this.#image?.isPaused()) this.#image.resume();
  }

  #pump(): void {
    if (this.#isWriting || this.#link.failure || this.#rejection) return;
    const [stage, other] = this.#stages;
    const { filledBytes } = stage;
    if (filledBytes === 0 && this.#hasImageEnded) this.#resolveSent?.();
    if (filledBytes === 0 || filledBytes > this.#creditBytes) return;
    this.#creditBytes -= filledBytes;
    this.#isWriting = true;
    this.#stages = [other, stage];
    writeHeader(stage.bytes, 'DATA', filledBytes);
    const frame = stage.bytes.subarray(0, HEADER_BYTES + filledBytes);
    this.#link.post(frame, () => {
      stage.filledBytes = 0;
      this.#isWriting = false;
      this.#pump();
    });
    this.#hash.update(frame.subarray(HEADER_BYTES));
    this.#sentBytes += filledBytes;
    this.#stage();
  }

  #takeCredit(payload: Buffer): void {
    this.#creditBytes += payload.readUInt32BE(0);
    if (this.#creditBytes > WINDOW_BYTES) throw invalid('GRANT of more than was sent');
    this.#pump();
  }

  #takeVerdict(payload: Buffer): void {
    const verdict = decodeDocument(Verdict, payload);
    if (!this.#isManifestSent) {
      if (verdict.verdict === 'accepted') throw invalid('VERDICT accepted before the manifest');
      this.#rejection = refuse('DESTINATION_REJECTED', { reason: verdict.reason ?? 'no reason given' });
      this.#rejectEarly(this.#rejection);
      this.#image?.destroy();
    }
    this.#link.end();
    this.#resolveVerdict(verdict);
  }
}

function newStage(): Stage {
  return { bytes: Buffer.allocUnsafeSlow(HEADER_BYTES + Math.min(STAGE_BYTES, DATA_LIMIT_BYTES)), filledBytes: 0 };
}
