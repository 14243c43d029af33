/** Temporal's runtime of this process, without its word on workflow tasks that a busy machine makes slow. */
import { DefaultLogger, IllegalStateError, Runtime, makeTelemetryFilterString } from '@temporalio/worker';

/** Files share a process, and with it a runtime, which ends by itself once nothing uses it. */
export function quietRuntime(): void {
  try {
    Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } } });
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
  }
}
