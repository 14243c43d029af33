/** What a worker writes: lines for whoever reads its log, maybe on a terminal. Reasons and names in them come from elsewhere. */
import { formatWithOptions } from 'node:util';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { visibleLine, visibleText } from '../domain/visible.js';

export function logLine(text: string): void {
  process.stdout.write(`${visibleLine(text)}\n`);
}

/** What the SDK says, messages of failed activities among it. Once a process, before it connects. */
export function logVisibly(): void {
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, timestampNanos, message, meta }) => {
      const at = new Date(Number(timestampNanos / 1_000_000n)).toISOString();
      process.stderr.write(`${visibleText(`${at} [${level}] ${message}${meta === undefined ? '' : ` ${formatWithOptions({ colors: false }, meta)}`}`)}\n`);
    }),
  });
}
