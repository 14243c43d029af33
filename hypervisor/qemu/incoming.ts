/**
 * The incoming image: a QEMU that was started stopped, waits on a private unix socket, loads what comes
 * and stays stopped until activate().
 *
 *   waiting ─(sink)─► loading ─► loaded, paused ─activate()─► running
 *      └─────────────────┴──► failed: the process ends by itself (IMAGE_NOT_LOADED with its last words)
 *
 * `late-block-activate`: the disks' locks are taken at activate(), not at the end of the load, so until
 * then the source can go on at once. No network hears of it before either (network.ts). A stream that ends early makes QEMU leave with an error.
 */
import { refuse } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import type { IncomingImage } from '../port.js';
import { socketSink } from '../socket-sink.js';
import { runFiles } from './command-line.js';
import { announce, announceNothingOnLoad } from './network.js';
import { logTail, makeFilesPrivate, openCopyConnection, saying, type QemuHost } from './process.js';
import { queryRunState, setCapabilities } from './qapi.js';
import { QmpError } from './qmp.js';

const CAPABILITIES = ['events', 'late-block-activate', 'validate-uuid'];
const RESUME_EVENT_TIMEOUT_MS = 5_000;

/** For a process that `launch` has just started with `isIncoming`. HYPERVISOR_COMMAND_FAILED. */
export async function openIncoming(host: QemuHost, vmId: VmId, runDir: string): Promise<IncomingImage> {
  const path = runFiles(runDir).incomingSocket;
  const qmp = await openCopyConnection(host, runDir);
  const socket = await saying(host, 'wait for an image', async () => {
    await setCapabilities(qmp, CAPABILITIES);
    await announceNothingOnLoad(qmp);
    await qmp.execute('migrate-incoming', { uri: `unix:${path}` });
    await makeFilesPrivate(host, runDir);
    return host.access.connectUnixSocket(path);
  }).catch((error: unknown) => {
    qmp.close();
    throw error;
  });
  const sink = socketSink(socket);

  let isOpen = true;
  let isLoaded = false;
  const notLoaded = async (problem: string) => {
    const tail = isOpen ? await logTail(host, runDir).catch(() => '') : '';
    return refuse('IMAGE_NOT_LOADED', { host: host.hostId, problem: [problem, tail].filter(Boolean).join(': ') });
  };
  const outcome = new Promise<void>((resolve, reject) => {
    qmp.onEvent(({ name, data }) => {
      if (name === 'MIGRATION' && data.status === 'completed') resolve();
    });
    void qmp.closed.then(async () => reject(await notLoaded(isOpen ? 'QEMU ended' : 'it was closed here')));
  });
  outcome.catch(() => undefined);

  return {
    sink,
    async loaded() {
      await outcome;
      const runState = await queryRunState(qmp).catch((error: Error) => error.message);
      if (runState !== 'paused') throw await notLoaded(`VM ${vmId} is not paused after the load: ${runState}`);
      isLoaded = true;
    },
    activate: () =>
      saying(host, 'cont', async () => {
        const resumed = qmp.nextEvent(({ name }) => name === 'RESUME', RESUME_EVENT_TIMEOUT_MS);
        resumed.catch(() => undefined);
        if (!isLoaded) throw new QmpError('the image is not loaded');
        await qmp.execute('cont');
        const event = await resumed;
        if (!event) throw new QmpError('no RESUME event');
        await announce(qmp);
        return { runningAtMs: event.atMs };
      }),
    async close() {
      if (!isOpen) return;
      isOpen = false;
      qmp.close();
      sink.destroy();
      await host.access.remove(path);
    },
  };
}
