/** `korora trust …`: the trust bundle, from enrolments to a signed file. */
import { writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { PcrValues } from '../../domain/attestation.js';
import { parseDocumentOf } from '../../domain/documents.js';
import { keyIdOf, signEnvelope } from '../../domain/envelope.js';
import { ACTIONS, type Operator } from '../../domain/operators.js';
import { type HostClass, HostEntry, TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import { type GlobalOptions, command, print, readBundle, readJsonFile } from '../context.js';
import { readPublicKey, readSigner } from '../keys.js';

const Enrolment = z.strictObject({ host: HostEntry, pcrValues: PcrValues });

interface InitOptions {
  readonly operator: readonly NamedKey[];
  readonly signWith: string;
  readonly out: string;
  readonly days: string;
}

interface NamedKey {
  readonly name: string;
  readonly file: string;
}

export function addTrustCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const trust = program.command('trust').description('the trust bundle');

  trust
    .command('init')
    .description('make and sign a first trust bundle from enrolments; the hosts’ present PCR values become the reference')
    .argument('<enrolments...>', 'files that `korora host enrol` printed')
    .requiredOption('--operator <name=file>', 'who may order what on every host, and the public key (PEM); may be said several times', namedKey, [])
    .requiredOption('--sign-with <file>', 'the private key whose public half the hosts have pinned')
    .requiredOption('--out <file>', 'where to write the bundle')
    .option('--days <number>', 'days until it expires', '365')
    .action(command(globals, async (files: string[], options: InitOptions) => {
      const enrolments = await Promise.all(
        files.map(async (file) => parseDocumentOf(Enrolment, await readJsonFile(file, 'HOST_CONFIG_INVALID'), 'HOST_CONFIG_INVALID', { file })),
      );
      const operators = await Promise.all(options.operator.map(async ({ name, file }) => mayDoAnything(name, await readPublicKey(file))));
      await writeSigned(firstBundle(enrolments, operators, Number(options.days)), options.signWith, options.out);
    }));

  trust
    .command('show')
    .description('what the trust bundle says, as JSON; edit it and sign it again')
    .action(command(globals, async () => {
      const { bundle } = await readBundle(globals());
      process.stdout.write(`${JSON.stringify(bundle, null, 2)}\n`);
    }));

  trust
    .command('sign')
    .description('sign a trust bundle; raise its serial first')
    .argument('<file>', 'what `korora trust show` prints')
    .requiredOption('--sign-with <file>', 'the private key whose public half the hosts have pinned')
    .requiredOption('--out <file>', 'where to write the signed bundle')
    .action(command(globals, async (file: string, options: Pick<InitOptions, 'signWith' | 'out'>) => {
      await writeSigned(await readJsonFile(file, 'BUNDLE_INVALID'), options.signWith, options.out);
    }));

  async function writeSigned(value: unknown, keyFile: string, out: string): Promise<void> {
    const signer = await readSigner(keyFile);
    const document = parseDocumentOf(TrustBundle, value, 'BUNDLE_INVALID', { host: 'this client' });
    const envelope = await signEnvelope(document, signer);
    const { bundle, digest } = installBundle(envelope, 'this client', [signer.publicKey]);
    await writeFile(out, `${JSON.stringify(envelope, null, 2)}\n`);
    const signedBy = keyIdOf(signer.publicKey);
    print(globals(), { file: out, digest, serial: bundle.serial, signedBy }, () => `${out}: trust bundle ${digest} of ${bundle.hosts.map((h) => h.hostId).join(', ')}, serial ${bundle.serial}, signed by ${signedBy}`);
  }
}

/** Each distinct set of values in a class becomes an active reference set named after the host it came from. */
export function firstBundle(enrolments: readonly z.infer<typeof Enrolment>[], operators: readonly Operator[], days: number): TrustBundle {
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
    version: 2,
    serial: 1,
    expiresAt: new Date(Date.now() + days * 86_400_000).toISOString(),
    hosts: enrolments.map(({ host }) => host),
    classes,
    operators: [...operators],
    parameters: { nonceLifetimeMs: 60_000, approverMustDiffer: false },
  };
}

/** To begin with: narrow the scopes before others get keys. */
export function mayDoAnything(name: string, publicKey: Operator['publicKey']): Operator {
  return { name, publicKey, status: 'active', scopes: [{ actions: [...ACTIONS], vms: ['*'], sources: ['*'], destinations: ['*'] }] };
}

function namedKey(text: string, before: readonly NamedKey[]): readonly NamedKey[] {
  const [, name, file] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!name || !file) throw new InvalidArgumentError('not NAME=FILE');
  return [...before, { name, file }];
}
