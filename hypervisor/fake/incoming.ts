/**
 * The incoming image of a fake VM that waits, as the worker holds it. The stream is open from the start: a worker that
 * dies ends it, and with it the waiting copy, as QEMU ends with its own.
 */
import { Writable, type Duplex } from 'node:stream';
import { problemOf, refuse } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import type { IncomingImage } from '../port.js';
import type { FakeHost } from './driver.js';

/** As the real driver's. */
const SINK_BUFFER_BYTES = 1024 * 1024;

export async function openIncoming({ hostId, machine }: FakeHost, vmId: VmId, runDir: string): Promise<IncomingImage> {
  const outcome = machine.ask('loaded', { vmId, runDir }, { timeoutMs: null }).then(
    () => undefined,
    (error: unknown) => {
      throw refuse('IMAGE_NOT_LOADED', { host: hostId, problem: problemOf(error) }, error);
    },
  );
  outcome.catch(() => undefined);
  const sink = buffered(await machine.openStream('load', { vmId, runDir }));
  let isOpen = true;

  return {
    sink,
    loaded: () => outcome,
    activate: () => machine.saying('cont', () => machine.ask('activate', { vmId, runDir })),
    async close() {
      if (!isOpen) return;
      isOpen = false;
      sink.destroy();
    },
  };
}

/** Breaks when a write breaks, not when the machine closes the socket: it may have loaded all before the writer ends it. */
function buffered(socket: Duplex): Writable {
  const sink = new Writable({
    highWaterMark: SINK_BUFFER_BYTES,
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    final(done) {
      socket.end();
      done();
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  sink.on('error', () => undefined);
  socket.resume();
  socket.on('error', (error) => sink.destroy(error));
  return sink;
}
