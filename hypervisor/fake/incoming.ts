/**
 * The incoming image of a fake VM that waits, as the worker holds it. The stream is open from the start: a worker that
 * dies ends it, and with it the waiting copy, as QEMU ends with its own.
 */
import { problemOf, refuse } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import type { IncomingImage } from '../port.js';
import { socketSink } from '../socket-sink.js';
import type { FakeHost } from './driver.js';

export async function openIncoming({ hostId, machine }: FakeHost, vmId: VmId, runDir: string): Promise<IncomingImage> {
  const outcome = machine.ask('loaded', { vmId, runDir }, { timeoutMs: null }).then(
    () => undefined,
    (error: unknown) => {
      throw refuse('IMAGE_NOT_LOADED', { host: hostId, problem: problemOf(error) }, error);
    },
  );
  outcome.catch(() => undefined);
  const sink = socketSink(await machine.openStream('load', { vmId, runDir }));
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
