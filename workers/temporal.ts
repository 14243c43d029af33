/**
 * Where the workers find Temporal: the standard environment configuration (TEMPORAL_ADDRESS,
 * TEMPORAL_NAMESPACE, TEMPORAL_TLS_*, temporal.toml), TLS included.
 */
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, type Worker } from '@temporalio/worker';
import { problemOf, refuse } from '../domain/failures.js';

export interface TemporalPlace {
  readonly connection: NativeConnection;
  readonly namespace: string;
}

/** TEMPORAL_UNREACHABLE. */
export async function connectWorker(): Promise<TemporalPlace> {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  try {
    return { connection: await NativeConnection.connect(connectionOptions), namespace: namespace ?? 'default' };
  } catch (error) {
    throw refuse('TEMPORAL_UNREACHABLE', { address: connectionOptions.address ?? 'localhost:7233', problem: problemOf(error) }, error);
  }
}

/** Runs until SIGINT, SIGTERM or `stop`; says when it is ready on stdout, one line of JSON-free text. */
export async function runWorker(worker: Worker, { connection }: TemporalPlace, ready: string): Promise<void> {
  const stopping = () => worker.getState() === 'RUNNING' && worker.shutdown();
  process.once('SIGINT', stopping).once('SIGTERM', stopping);
  const running = worker.run();
  process.stdout.write(`${ready}\n`);
  try {
    await running;
  } finally {
    process.off('SIGINT', stopping).off('SIGTERM', stopping);
    await connection.close();
  }
}
