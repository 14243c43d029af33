/** `korora worker …`: the processes of Kororā, each started by one command. */
import type { Command } from 'commander';
import { CONTROL_QUEUE } from '../../domain/steps.js';
import { type GlobalOptions, command } from '../context.js';

export function addWorkerCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const worker = program.command('worker').description('run a worker until it is told to stop (SIGTERM drains it)');

  worker
    .command('control')
    .description('workflows, and the activities that touch no host')
    .option('--evidence-dir <folder>', 'where evidence files go', 'evidence')
    .action(command(globals, async (options: { evidenceDir: string }) => {
      const { runControlWorker } = await import('../../workers/control.js');
      await runControlWorker({ taskQueue: globals().queue ?? CONTROL_QUEUE, evidenceDir: options.evidenceDir });
    }));

  worker
    .command('host')
    .description('the activities of one host; run it on that host')
    .requiredOption('--config <file>', 'configuration of the host')
    .action(command(globals, async (options: { config: string }) => {
      const [{ loadHostConfig }, { runHostWorker }] = await Promise.all([import('../../workers/config.js'), import('../../workers/host.js')]);
      await runHostWorker(await loadHostConfig(options.config));
    }));
}
