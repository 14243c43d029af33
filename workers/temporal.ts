/** A worker's connection to Temporal, from its beginning to its end. Where Temporal is, and how it is spoken to, is said in temporal/. */
import { NativeConnection, type Worker, type WorkerOptions } from '@temporalio/worker';
import { connectionOptionsOf, readTemporalPlace, unreachable } from '../temporal/place.js';
import { logLine, logVisibly } from './log.js';

type Connected = Required<Pick<WorkerOptions, 'namespace' | 'dataConverter'>> & { readonly connection: NativeConnection };

/** TEMPORAL_CONFIG_INVALID, PAYLOAD_KEY_INVALID, TEMPORAL_UNREACHABLE. */
export async function connectWorker(): Promise<Connected> {
  const place = await readTemporalPlace();
  logVisibly();
  const { namespace, dataConverter } = place;
  try {
    return { connection: await NativeConnection.connect(connectionOptionsOf(place)), namespace, dataConverter };
  } catch (error) {
    throw unreachable(place, error);
  }
}

/** Runs until SIGINT, SIGTERM or `stop`; says when it is ready on stdout, one line of JSON-free text. */
export async function runWorker(worker: Worker, { connection }: Connected, ready: string): Promise<void> {
  const stopping = () => worker.getState() === 'RUNNING' && worker.shutdown();
  process.once('SIGINT', stopping).once('SIGTERM', stopping);
  const running = worker.run();
  logLine(ready);
  try {
    await running;
  } finally {
    process.off('SIGINT', stopping).off('SIGTERM', stopping);
    await connection.close();
  }
}
