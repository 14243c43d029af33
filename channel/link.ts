/**
 * What both ends of the channel do alike once TLS stands and the peer's key is the attested one:
 * confirm the session key, keep the link alive, notice its end, say why. Knows frames, not images.
 *
 *   unconfirmed ─(both CONFIRM)─► live ─(VERDICT sent or received)─► ended      `broken` stays pending
 *        └──────────────┬──────────┘
 *                       └─(fault, ABORT, silence, early close)─► broken         `broken` rejects
 *
 * Liveness: the receiving side of this channel never stops reading (image bytes are held back by
 * credit, see WINDOW_BYTES), so a peer whose bytes do not arrive is really silent. Silence is
 * counted in ticks of this process's own timer, so a process that was itself stopped does not
 * take its own sleep for the peer's.
 */
import type { TLSSocket } from 'node:tls';
import { KororaError, problemOf, refuse } from '../domain/failures.js';
import type { Role } from '../domain/ids.js';
import type { ChannelTerms } from './port.js';
import { confirmationOf, isSameConfirmation } from './confirmation.js';
import { encodeControl, FrameDecoder, invalid, type ControlName } from './frames.js';
import { DEFAULT_SILENCE_LIMIT_MS } from './tls.js';

const TICKS_PER_SILENCE_LIMIT = 4;
/** How many silence limits one frame may take: a length that was changed on its way would swallow KEEPALIVEs for ever. */
const SILENCE_LIMITS_PER_FRAME = 4;
const ABORT_REASON_LIMIT_CHARACTERS = 2000;
const [KEEPALIVE, WAITING] = [encodeControl('KEEPALIVE'), encodeControl('WAITING')];

/** What one end does with frames. May throw a KororaError, which breaks the link. */
export interface LinkUser {
  /** The peer proved the session key. Runs before any later frame of the peer is looked at. */
  onConfirmed(): void;
  onData(piece: Buffer): void;
  onControl(name: 'GRANT' | 'MANIFEST' | 'VERDICT', payload: Buffer): void;
  onBroken(failure: KororaError): void;
}

export class Link {
  /** Resolves when the peer proved the session key. */
  readonly confirmed: Promise<void>;
  /** Rejects with the failure that broke the link; stays pending after a clean end. Never unhandled. */
  readonly broken: Promise<never>;
  readonly socket: TLSSocket;
  readonly #role: Role;
  readonly #terms: ChannelTerms;
  readonly #silenceLimitMs: number;
  readonly #user: LinkUser;
  readonly #closed: Promise<void>;
  #resolveConfirmed!: () => void;
  #rejectBroken!: (failure: KororaError) => void;
  #failure: KororaError | undefined;
  #isEnded = false;
  #ticker: NodeJS.Timeout | undefined;
  #hasHeard = false;
  #quietTicks = 0;
  #signOfLife = KEEPALIVE;
  #decoder!: FrameDecoder;
  #frame: number | null = null;
  #frameTicks = 0;

  /** `socket` is secure and its peer is the attested one. */
  constructor(role: Role, socket: TLSSocket, terms: ChannelTerms, user: LinkUser) {
    this.#role = role;
    this.socket = socket;
    this.#terms = terms;
    this.#user = user;
    this.#silenceLimitMs = terms.silenceLimitMs ?? DEFAULT_SILENCE_LIMIT_MS;
    this.confirmed = new Promise((resolve) => (this.#resolveConfirmed = resolve));
    this.broken = new Promise((_, reject) => (this.#rejectBroken = reject));
    this.broken.catch(() => undefined);
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
    this.#read();
    if (role === 'destination') this.#confirm();
  }

  /** The failure that broke the link, if it is broken. */
  get failure(): KororaError | undefined {
    return this.#failure;
  }

  /** `work`, or the link's failure if that comes first. */
  guard<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.broken]);
  }

  /** Resolves when the frame was handed to the network. CHANNEL_*. */
  async send(name: ControlName, payload: Buffer): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.socket.once('close', () => reject(lost('the connection closed')));
      this.post(encodeControl(name, payload), resolve);
      if (name === 'MANIFEST') this.#signOfLife = WAITING;
    });
    await this.guard(written);
  }

  /**
   * One or more whole frames. `onWritten` runs when they were handed to the network, and never when
   * that fails: the link is broken then. `bytes` must not change before. (No promise: this runs per
   * frame, and a race against a promise that lives as long as the link would keep them all.)
   */
  post(bytes: Buffer, onWritten?: () => void): void {
    if (this.#failure) return;
    this.socket.write(bytes, (error) => {
      if (!error) onWritten?.();
    });
  }

  /** The verdict was exchanged: from here on the end of the connection is no failure. */
  end(): void {
    this.#isEnded = true;
    clearInterval(this.#ticker);
  }

  /** Breaks the link. The peer is told, unless it cannot hear. No effect when broken or ended already. */
  fail(failure: KororaError, reasonForPeer?: string): void {
    if (this.#failure || this.#isEnded) return;
    this.#failure = failure;
    clearInterval(this.#ticker);
    this.#rejectBroken(failure);
    this.#user.onBroken(failure);
    if (reasonForPeer === undefined) {
      this.socket.destroy();
    } else {
      this.socket.write(encodeControl('ABORT', Buffer.from(reasonForPeer.slice(0, ABORT_REASON_LIMIT_CHARACTERS))));
      this.#hangUp();
    }
  }

  abort(reason: string): void {
    this.fail(lost(`aborted on this side: ${reason}`), reason);
  }

  /** Resolves when the connection is gone, after at most the silence limit. */
  async close(): Promise<void> {
    this.abort('the channel was closed before the verdict');
    this.#hangUp();
    await this.#closed;
  }

  #read(): void {
    const { socket } = this;
    const sender = this.#role === 'source' ? 'destination' : 'source';
    this.#decoder = new FrameDecoder(sender, {
      onData: (piece) => this.#user.onData(piece),
      onControl: (name, payload) => this.#control(name, payload),
    });
    socket.on('data', (chunk: Buffer) => {
      this.#hasHeard = true;
      // What still arrives after the end is read and dropped: unread bytes would make the kernel answer with a reset.
      if (this.#failure || this.#isEnded) return;
      try {
        this.#decoder.push(chunk);
      } catch (error) {
        const failure = error instanceof KororaError ? error : refuse('INTERNAL', { problem: problemOf(error) }, error);
        this.fail(failure, failure.message);
      }
    });
    socket.on('error', (error) => this.fail(lost(spoken(error))));
    socket.on('end', () => this.fail(lost('the peer closed it')));
    socket.on('close', () => this.fail(lost('the connection closed')));
  }

  #control(name: ControlName, payload: Buffer): void {
    switch (name) {
      case 'CONFIRM':
        return this.#checkConfirmation(payload);
      case 'KEEPALIVE':
      case 'WAITING':
        return;
      case 'ABORT':
        return this.fail(lost(readable(payload)));
      default:
        this.#user.onControl(name, payload);
    }
  }

  #confirm(): void {
    this.socket.write(encodeControl('CONFIRM', confirmationOf(this.#role, this.socket, this.#terms)));
  }

  #checkConfirmation(proof: Buffer): void {
    const peer = this.#role === 'source' ? 'destination' : 'source';
    if (!isSameConfirmation(proof, confirmationOf(peer, this.socket, this.#terms))) throw refuse('CHANNEL_KEY_UNCONFIRMED', {});
    this.#user.onConfirmed();
    if (this.#role === 'source') this.#confirm();
    this.#ticker = setInterval(() => this.#tick(), this.#silenceLimitMs / TICKS_PER_SILENCE_LIMIT);
    this.#resolveConfirmed();
  }

  #tick(): void {
    this.#quietTicks = this.#hasHeard ? 0 : this.#quietTicks + 1;
    this.#hasHeard = false;
    const { unfinished } = this.#decoder;
    this.#frameTicks = unfinished !== null && unfinished === this.#frame ? this.#frameTicks + 1 : 0;
    this.#frame = unfinished;
    const frameLimitTicks = TICKS_PER_SILENCE_LIMIT * SILENCE_LIMITS_PER_FRAME;
    if (this.#frameTicks > frameLimitTicks) {
      const failure = invalid(`a frame did not end in ${(this.#silenceLimitMs * SILENCE_LIMITS_PER_FRAME) / 1000} s`);
      this.fail(failure, failure.message);
    } else if (this.#quietTicks > TICKS_PER_SILENCE_LIMIT) {
      this.fail(refuse('CHANNEL_SILENT', { seconds: this.#silenceLimitMs / 1000 }));
    } else if (this.socket.writableLength === 0) {
      // Otherwise bytes are on their way already, and queueing more behind a stuck network would grow without bound.
      this.socket.write(this.#signOfLife);
    }
  }

  #hangUp(): void {
    this.socket.end();
    const timer = setTimeout(() => this.socket.destroy(), this.#silenceLimitMs);
    this.socket.once('close', () => clearTimeout(timer));
  }
}

/** CHANNEL_LOST. */
export function lost(problem: string): KororaError {
  return refuse('CHANNEL_LOST', { problem });
}

/** OpenSSL's own word for what went wrong, rather than its whole error line. */
function spoken(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? `TLS: ${error.reason}` : problemOf(error);
}

/** The peer's words end up on terminals and in logs. */
function readable(payload: Buffer): string {
  return payload.toString('utf8').slice(0, ABORT_REASON_LIMIT_CHARACTERS).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
