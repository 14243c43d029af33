/** `korora hold|continue|approve`: what people tell a copy that runs. None of them stops the VM. */
import type { Command } from 'commander';
import type { Hold } from '../../domain/status.js';
import { type GlobalOptions, command, print, withClient } from '../context.js';

export function addSteerCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();

  program
    .command('hold')
    .description('hold the copy of a move; the VM runs on')
    .argument('<vm>')
    .addHelpText('after', '\nIn a late round little may be left to send: the move may then go on in spite of the hold, and the answer says so.')
    .action(command(globals, async (vmId: string) => {
      const hold = await withClient(globals(), (client) => client.setHeld(vmId, true));
      print(globals(), hold, () => said(vmId, hold));
    }));

  program
    .command('continue')
    .description('let the copy of a move go on that was held')
    .argument('<vm>')
    .action(command(globals, async (vmId: string) => {
      const hold = await withClient(globals(), (client) => client.setHeld(vmId, false));
      print(globals(), hold, () => (hold.isHeld ? `the copy of ${vmId} is still held: it waits for \`korora approve ${vmId}\`` : `the copy of ${vmId} goes on`));
    }));

  program
    .command('approve')
    .description('let a move go on that was ordered with --approve-before-stop')
    .argument('<vm>')
    .option('--reason <text>', 'why, for the record')
    .action(command(globals, async (vmId: string, { reason }: { reason?: string }) => {
      await withClient(globals(), (client) => client.approve(vmId, reason === undefined ? {} : { reason }));
      print(globals(), { approved: vmId }, () => `the move of ${vmId} is approved; see \`korora watch ${vmId}\``);
    }));
}

function said(vmId: string, { isHeld, isCertain }: Hold): string {
  if (!isHeld) return `too late to hold: the source of ${vmId} has stopped, and the move goes on`;
  if (isCertain) return `the copy of ${vmId} is held; the VM runs on`;
  return `the copy of ${vmId} is held and the VM runs on, but little is left to send: the move may go on by itself`;
}
