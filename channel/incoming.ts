/**
 * The destination's end of the channel: takes the image as it comes, gives it to a sink, and
 * answers with the verdict. It compares nothing: the caller holds summary against manifest.
 *
 * Reading never stops. What the sink has not taken yet waits here, and the source may send no more
 * than WINDOW_BYTES beyond what the sink took. Pieces that arrive in one turn of the event loop go
 * to the sink as one gathered write.
 */
import { createHash } from 'node:crypto';
import { finished, type Writable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { refuse } from '../domain/failures.js';
import { Manifest, type Verdict } from '../domain/manifest.js';
import type { ChannelTerms, IncomingChannel, StreamSummary } from './port.js';
import { decodeDocument, encodeDocument } from './documents.js';
import { encodeControl, invalid, WINDOW_BYTES } from './frames.js';
import { Link } from './link.js';

const GRANT_STEP_BYTES = WINDOW_BYTES / 8;

export class Incoming implements IncomingChannel {
  /** Resolves when both sides confirmed the session key. */
  readonly confirmed: Promise<void>;
  readonly broken: Promise<never>;
  readonly #link: Link;
  readonly #hash = createHash('sha256');
  readonly #manifest: Promise<Manifest>;
  #resolveManifest!: (manifest: Manifest) => void;
  #receivedBytes = 0;
  #sink: Writable | undefined;
  #hasSinkFailed = false;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #isFlushDue = false;
  /** Received and not granted again: at most the window. */
  #owedBytes = 0;
  #takenBytes = 0;
  #isVerdictSent = false;

  /** `onConfirmed` throws to turn away a source although it is authentic. */
  constructor(socket: TLSSocket, terms: ChannelTerms, onConfirmed: () => void) {
    this.#manifest = new Promise((resolve) => (this.#resolveManifest = resolve));
    this.#link = new Link('destination', socket, terms, {
      onConfirmed,
      onData: (piece) => this.#take(piece),
      onControl: (_, payload) => this.#resolveManifest(decodeDocument(Manifest, payload)),
      onBroken: () => this.#sink?.destroy(),
    });
    this.confirmed = this.#link.guard(this.#link.confirmed);
    this.broken = this.#link.broken;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  async receiveImage(sink: Writable): Promise<{ readonly summary: StreamSummary; readonly manifest: Manifest }> {
    if (this.#sink) throw refuse('INTERNAL', { problem: 'the image of this channel was received already' });
    this.#sink = sink;
    const sinkDone = new Promise<void>((resolve, reject) => {
      finished(sink, { readable: false }, (error) => {
        if (!error) return resolve();
        // The rest of the image is read and dropped, so that the link stays alive for the rejection.
        this.#hasSinkFailed = true;
        this.#flush();
        reject(error);
      });
    });
    sinkDone.catch(() => undefined);
    if (this.#link.failure) sink.destroy();
    this.#flush();
    const manifest = await this.#link.guard(Promise.race([this.#manifest, sinkDone.then(() => this.#manifest)]));
    this.#flush();
    const summary = { bytes: this.#receivedBytes, sha256: this.#hash.digest('hex') };
    sink.end();
    await this.#link.guard(sinkDone);
    return { summary, manifest };
  }

  async sendVerdict(verdict: Verdict): Promise<void> {
    this.#isVerdictSent = true;
    const sent = this.#link.send('VERDICT', encodeDocument(verdict));
    // At once: the source may read it and close before the write is reported.
    this.#link.end();
    await sent;
  }

  abort(reason: string): void {
    this.#link.abort(reason);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  #take(piece: Buffer): void {
    this.#hash.update(piece);
    this.#receivedBytes += piece.length;
    this.#owedBytes += piece.length;
    if (this.#owedBytes > WINDOW_BYTES) throw invalid('DATA beyond the granted window');
    this.#pieces.push(piece);
    this.#pieceBytes += piece.length;
    if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      setImmediate(() => this.#flush());
    }
  }

  #flush(): void {
    this.#isFlushDue = false;
    const sink = this.#sink;
    const bytes = this.#pieceBytes;
    if (!sink || bytes === 0 || this.#link.failure) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#pieceBytes = 0;
    if (this.#hasSinkFailed) return this.#grant(bytes);
    const last = pieces.pop();
    sink.cork();
    for (const piece of pieces) sink.write(piece);
    sink.write(last, (error) => !error && this.#grant(bytes));
    sink.uncork();
  }

  #grant(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes < GRANT_STEP_BYTES || this.#isVerdictSent) return;
    const grant = Buffer.alloc(4);
    grant.writeUInt32BE(this.#takenBytes);
    this.#owedBytes -= this.#takenBytes;
    this.#takenBytes = 0;
    this.#link.post(encodeControl('GRANT', grant));
  }
}
