/** `korora host …`: how the hosts are, and what is done once on each: enrolment with its challenge, and pinning the signer of its trust bundles. */
import type { Command } from 'commander';
import { parseDocumentOf } from '../../domain/documents.js';
import { Challenge } from '../../domain/enrolment.js';
import { keyIdOf } from '../../domain/envelope.js';
import { refuse } from '../../domain/failures.js';
import { type GlobalOptions, command, print, readJsonFile, withClient } from '../context.js';
import { readPublicKey } from '../keys.js';
import { renderHosts } from '../render.js';
import { sayJson } from '../terminal.js';
import { DRAFT_OPTION, writeDraft } from './words.js';

export function addHostCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const host = program.command('host').description('hosts of the trust bundle');

  host
    .command('list')
    .description('ask every host of the bundle how it is')
    .action(command(globals, async () => {
      const hosts = await withClient(globals(), (client) => client.hosts());
      print(globals(), hosts, renderHosts);
    }));

  host
    .command('reinstate')
    .description('sign that the ownership records of a host are its last ones, and that no other host runs these VMs')
    .argument('<host>')
    .requiredOption('--reason <text>', 'how you know')
    .option(...DRAFT_OPTION)
    .action(command(globals, async (hostId: string, { reason, draft }: { reason: string; draft?: string }) => {
      if (draft !== undefined) {
        await writeDraft(draft, await withClient(globals(), (client) => client.draftReinstatement(hostId, { reason })));
        return print(globals(), { draft }, () => `drafted in ${draft}, for another operator: \`korora countersign ${draft}\``);
      }
      const findings = await withClient(globals(), (client) => client.reinstate(hostId, { reason }));
      print(globals(), { hostId, findings }, ({ hostId, findings }) => [`${hostId} believes its ownership records again`, ...findings.map(({ vmId, found, done }) => `VM ${vmId}: ${found}; ${done}`)].join('\n'));
    }));

  host
    .command('enrol')
    .description('on a host: pin the signer of its trust bundles, create its AK on the first run, and print what it says of itself, for `korora trust challenge`')
    .requiredOption('--config <file>', 'configuration of the host')
    .requiredOption('--signer <files...>', 'public keys (PEM) by which its trust bundles must be signed')
    .option('--class <name>', 'class of the host', 'default')
    .option('--pcrs <list>', 'PCRs of the class, such as 0,2,4,7', '0,1,2,3,4,5,6,7,14')
    .action(command(globals, async (options: { config: string; signer: string[]; class: string; pcrs: string }) => {
      const [{ loadHostConfig }, { enrolHost }] = await Promise.all([import('../../workers/config.js'), import('../../workers/enrol.js')]);
      const signers = await Promise.all(options.signer.map(readPublicKey));
      const enrolment = await enrolHost(await loadHostConfig(options.config), { signers, hostClass: options.class, pcrs: options.pcrs.split(',').map(Number) });
      sayJson(enrolment);
    }));

  host
    .command('answer')
    .description('on a host: print the answer to a challenge, for `korora trust init` or `admit`')
    .argument('<file>', 'what `korora trust challenge` printed')
    .requiredOption('--config <file>', 'configuration of the host')
    .action(command(globals, async (file: string, options: { config: string }) => {
      const [{ loadHostConfig }, { answerChallenge }] = await Promise.all([import('../../workers/config.js'), import('../../workers/enrol.js')]);
      const config = await loadHostConfig(options.config);
      const challenge = parseDocumentOf(Challenge, await readJsonFile(file, 'ENROLMENT_FILE_INVALID'), 'ENROLMENT_FILE_INVALID', { file });
      if (challenge.hostId !== config.hostId) throw refuse('ENROLMENT_FILE_INVALID', { file, problem: `it is for ${challenge.hostId}, and this is ${config.hostId}` });
      sayJson(await answerChallenge(config, challenge));
    }));

  host
    .command('pin')
    .description('on a host: the keys by which its trust bundles must be signed')
    .requiredOption('--config <file>', 'configuration of the host')
    .requiredOption('--signer <files...>', 'public keys (PEM)')
    .option('--replace', 'in the place of others that are pinned')
    .action(command(globals, async ({ config: file, signer, replace }: { config: string; signer: string[]; replace?: boolean }) => {
      const [{ loadHostConfig }, { pinSigners }] = await Promise.all([import('../../workers/config.js'), import('../../workers/enrol.js')]);
      const config = await loadHostConfig(file);
      const keys = await Promise.all(signer.map(readPublicKey));
      await pinSigners(config, keys, replace ?? false);
      print(globals(), { hostId: config.hostId, pinned: keys.map(keyIdOf) }, ({ hostId, pinned }) => `${hostId} takes trust bundles signed by ${pinned.join(', ')}`);
    }));
}
