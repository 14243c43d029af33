/** `korora host …` and `korora trust …`: enrolment, the trust bundle, and how the hosts are. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { parseDocumentOf } from '../../domain/documents.js';
import type { HostClass} from '../../domain/trust-bundle.js';
import { HostEntry, type TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import { PcrValues } from '../../domain/attestation.js';
import { type GlobalOptions, command, print, readJsonFile, withClient } from '../context.js';
import { renderHosts } from '../render.js';

const Enrolment = z.strictObject({ host: HostEntry, pcrValues: PcrValues });

export function addHostCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const host = program.command('host').description('hosts of the trust bundle');

  host
    .command('list')
    .description('ask every host of the bundle how it is')
    .action(command(globals, async () => {
      const hosts = await withClient(globals(), (client) => client.hosts());
      print(globals(), hosts, () => renderHosts(hosts));
    }));

  host
    .command('enrol')
    .description('on a host: create its AK on the first run, and print its entry for the trust bundle')
    .requiredOption('--config <file>', 'configuration of the host')
    .option('--class <name>', 'class of the host', 'default')
    .option('--pcrs <list>', 'PCRs of the class, such as 0,2,4,7', '0,1,2,3,4,5,6,7,14')
    .action(command(globals, async (options: { config: string; class: string; pcrs: string }) => {
      const [{ loadHostConfig }, { enrolHost }] = await Promise.all([import('../../workers/config.js'), import('../../workers/enrol.js')]);
      const enrolment = await enrolHost(await loadHostConfig(options.config), options.class, options.pcrs.split(',').map(Number));
      print({ json: true }, enrolment, () => '');
    }));

  program
    .command('trust')
    .description('the trust bundle')
    .command('init')
    .description('make a first trust bundle from enrolments; the hosts’ present PCR values become the reference')
    .argument('<enrolments...>', 'files that `korora host enrol` printed')
    .requiredOption('--out <file>', 'where to write the bundle')
    .option('--days <number>', 'days until it expires', '365')
    .action(command(globals, async (files: string[], options: { out: string; days: string }) => {
      const enrolments = await Promise.all(
        files.map(async (file) => parseDocumentOf(Enrolment, await readJsonFile(file, 'HOST_CONFIG_INVALID'), 'HOST_CONFIG_INVALID', { file })),
      );
      const { bundle, digest } = installBundle(firstBundle(enrolments, Number(options.days)), 'this client');
      await writeFile(options.out, `${JSON.stringify(bundle, null, 2)}\n`);
      print(globals(), { file: options.out, digest }, () => `${options.out}: trust bundle ${digest} of ${bundle.hosts.map((h) => h.hostId).join(', ')}`);
    }));
}

/** Each distinct set of values in a class becomes an active reference set named after the host it came from. */
export function firstBundle(enrolments: readonly z.infer<typeof Enrolment>[], days: number): TrustBundle {
  const classes: Record<string, HostClass> = {};
  for (const { host, pcrValues } of enrolments) {
    const known = classes[host.class];
    const sets = known?.referenceSets ?? [];
    const isKnown = sets.some((set) => JSON.stringify(set.pcrValues) === JSON.stringify(pcrValues));
    const set = { id: `as-${host.hostId}-was-enrolled`, status: 'active' as const, pcrValues };
    classes[host.class] = { pcrs: Object.keys(pcrValues).map(Number), referenceSets: isKnown ? sets : [...sets, set] };
  }
  return {
    kind: 'korora/trust-bundle',
    version: 1,
    serial: 1,
    expiresAt: new Date(Date.now() + days * 86_400_000).toISOString(),
    hosts: enrolments.map(({ host }) => host),
    classes,
    parameters: { nonceLifetimeMs: 60_000 },
  };
}
