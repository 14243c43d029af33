/** `korora vm …`: start VMs, see where they are, and bring their records together. */
import type { Command } from 'commander';
import { refuse } from '../../domain/failures.js';
import { type GlobalOptions, command, print, readJsonFile, withClient } from '../context.js';
import { renderVm, renderVms } from '../render.js';

export function addVmCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const vm = program.command('vm').description('virtual machines');

  vm.command('start')
    .description('create the VM and its vTPM on a host and boot it; or boot one that the host owns')
    .argument('<file>', 'VM document')
    .requiredOption('--on <host>', 'host to start it on')
    .action(command(globals, async (file: string, options: { on: string }) => {
      const document = await readJsonFile(file, 'VM_DOCUMENT_INVALID');
      const started = await withClient(globals(), (client) => client.startVm(document, options.on));
      print(globals(), started, (shown) => renderVms([shown]));
    }));

  vm.command('list')
    .description('every VM that a host of the bundle has a record of')
    .action(command(globals, async () => {
      const vms = await withClient(globals(), (client) => client.vms());
      print(globals(), vms, renderVms);
    }));

  vm.command('reconcile')
    .description('bring the records of a VM together: a fenced host that is back gives up what it holds; a move whose workflow is gone is ended by its destination’s verdict')
    .argument('<vm>')
    .action(command(globals, async (vmId: string) => {
      const reconciled = await withClient(globals(), (client) => client.reconcile(vmId));
      print(globals(), reconciled, ({ owner, yielded, silent }) => [
        owner ? `${owner} owns ${vmId}` : `no host that answers owns ${vmId}`,
        yielded.length > 0 ? `${yielded.join(', ')} gave it up` : 'nothing had to be given up',
        ...(silent.length > 0 ? [`no answer from ${silent.join(', ')}: reconcile again once it is back`] : []),
      ].join('; '));
    }));

  vm.command('show')
    .description('what each host knows of one VM')
    .argument('<vm>')
    .action(command(globals, async (vmId: string) => {
      const vms = (await withClient(globals(), (client) => client.vms())).filter((known) => known.vmId === vmId);
      if (vms.length === 0) throw refuse('VM_UNKNOWN', { vm: vmId });
      print(globals(), vms, renderVm);
    }));
}
