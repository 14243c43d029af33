/**
 * A client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt) over any byte stream. It
 * negotiates, runs commands, and hands out events with QEMU's own timestamps. It knows no VM and
 * no migration, and it never reconnects.
 *
 *   connect ─► greeting ─► qmp_capabilities ─► ready ─► closed (every pending command and wait rejects)
 *
 * QEMU serves one client at a time on a monitor socket; a second one waits for its greeting until
 * the first has gone.
 */
import type { Duplex } from 'node:stream';

/** What QEMU answered, or that it does not answer. Its text is for people, not an interface. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
}

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Wall clock of the hypervisor's host, ms since the epoch, resolution 1 µs. */
  readonly atMs: number;
}

export interface Qmp {
  /** Rejects QmpError: an error reply, silence for `timeoutMs` (30 s where not given), or the end of the connection. */
  execute<T = unknown>(command: string, args?: Readonly<Record<string, unknown>>, timeoutMs?: number): Promise<T>;
  /** Called for every event from now on; gives the way to stop. */
  onEvent(listener: (event: QmpEvent) => void): () => void;
  /** The next event that fits; null when there is none within `timeoutMs`. Rejects QmpError when the connection ends. */
  nextEvent(fits: (event: QmpEvent) => boolean, timeoutMs: number): Promise<QmpEvent | null>;
  /** Resolves when the connection has ended, by either side. */
  readonly closed: Promise<void>;
  close(): void;
}

const COMMAND_TIMEOUT_MS = 30_000;

interface Message {
  readonly QMP?: unknown;
  readonly id?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly timestamp?: { readonly seconds: number; readonly microseconds: number };
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: QmpError) => void;
}

/** Negotiates within `timeoutMs`, or closes the stream and rejects QmpError. */
export async function openQmp(stream: Duplex, timeoutMs: number): Promise<Qmp> {
  const pending = new Map<number, Pending>();
  const listeners = new Set<(event: QmpEvent) => void>();
  const endings = new Set<(error: QmpError) => void>();
  let lastId = 0;
  let ended: QmpError | null = null;
  let onGreeting: () => void = () => undefined;
  let onClosed: () => void = () => undefined;
  const greeting = new Promise<void>((resolve) => (onGreeting = resolve));
  const closed = new Promise<void>((resolve) => (onClosed = resolve));

  const end = (problem: string) => {
    if (ended) return;
    ended = new QmpError(problem);
    stream.destroy();
    for (const { reject } of pending.values()) reject(ended);
    for (const ending of endings) ending(ended);
    pending.clear();
    onClosed();
  };

  const receive = (message: Message) => {
    if (message.QMP !== undefined) onGreeting();
    else if (message.event !== undefined) {
      const event = { name: message.event, data: message.data ?? {}, atMs: atMs(message) };
      for (const listener of [...listeners]) listener(event);
    } else if (typeof message.id === 'number') {
      const waiting = pending.get(message.id);
      pending.delete(message.id);
      if (message.error) waiting?.reject(new QmpError(message.error.desc));
      else waiting?.resolve(message.return);
    }
  };

  stream.on('error', (error) => end(`the QMP connection broke: ${error.message}`));
  stream.on('close', () => end('QEMU closed its QMP connection'));
  stream.on('end', () => end('QEMU closed its QMP connection'));
  stream.on('data', lines((line) => {
    try {
      receive(JSON.parse(line) as Message);
    } catch {
      end('what answers on the QMP socket does not speak QMP');
    }
  }));

  const qmp: Qmp = {
    execute: <T>(command: string, args = {}, limitMs = COMMAND_TIMEOUT_MS) =>
      new Promise<T>((resolve, reject) => {
        if (ended) return reject(ended);
        const id = ++lastId;
        const timer = setTimeout(() => {
          pending.delete(id);
          reject(new QmpError(`no answer to ${command} within ${limitMs} ms`));
        }, limitMs);
        pending.set(id, {
          resolve: (value) => { clearTimeout(timer); resolve(value as T); },
          reject: (error) => { clearTimeout(timer); reject(error); },
        });
        stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      }),
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    nextEvent: (fits, limitMs) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        const settle = (act: () => void) => {
          clearTimeout(timer);
          stop();
          endings.delete(fail);
          act();
        };
        const fail = (error: QmpError) => settle(() => reject(error));
        const timer = setTimeout(() => settle(() => resolve(null)), limitMs);
        const stop = qmp.onEvent((event) => {
          if (fits(event)) settle(() => resolve(event));
        });
        endings.add(fail);
      }),
    closed,
    close: () => end('the QMP connection was closed here'),
  };

  const timer = setTimeout(() => end(`no QMP greeting within ${timeoutMs} ms`), timeoutMs);
  try {
    await Promise.race([greeting, closed]);
    await qmp.execute('qmp_capabilities', {}, timeoutMs);
    return qmp;
  } catch (error) {
    qmp.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function atMs({ timestamp }: Message): number {
  return timestamp ? timestamp.seconds * 1000 + timestamp.microseconds / 1000 : Number.NaN;
}

function lines(onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = rest.toString('utf8', 0, end).trim();
      rest = rest.subarray(end + 1);
      if (line !== '') onLine(line);
    }
  };
}
