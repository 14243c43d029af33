/** Temporal's runtime of this process, without its word on workflow tasks that a busy machine makes slow. */
import { DefaultLogger, Runtime, makeTelemetryFilterString } from '@temporalio/worker';

export function quietRuntime(): void {
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } } });
}
