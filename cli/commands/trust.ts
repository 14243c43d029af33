/** `korora trust …`: the trust bundle, from enrolments and challenges to a signed file. */
import { writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import { parseDocumentOf } from '../../domain/documents.js';
import { AdmissionPaper, Enrolment } from '../../domain/enrolment.js';
import { keyIdOf, signEnvelope } from '../../domain/envelope.js';
import { TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import { firstBundle, mayDoAnything, withHosts } from '../bundles.js';
import { type GlobalOptions, command, print, readBundle, readJsonFile } from '../context.js';
import { readPublicKey, readSigner } from '../keys.js';
import { sayJson } from '../terminal.js';
import { addTrustChecks } from './trust-checks.js';

interface SignOptions {
  readonly signWith: string;
  readonly out: string;
}

interface AdmitOptions extends SignOptions {
  readonly withoutEkCertificate?: readonly string[];
}

interface InitOptions extends AdmitOptions {
  readonly operator: readonly NamedKey[];
  readonly days: string;
}

interface NamedKey {
  readonly name: string;
  readonly file: string;
}

/** What makes a bundle. What looks at one: trust-checks.ts. */
export function addTrustCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const trust = program.command('trust').description('the trust bundle');

  trust
    .command('challenge')
    .description('check a host’s enrolment, and print a challenge that only its TPM can answer (`korora host answer`)')
    .argument('<enrolment>', 'what `korora host enrol` printed')
    .requiredOption('--ek-ca <files...>', 'certificates (PEM or DER) of the CAs of TPM makers, roots and intermediates')
    .requiredOption('--keep <file>', 'where to write what is kept here for the answer')
    .action(command(globals, async (file: string, { ekCa, keep }: { ekCa: string[]; keep: string }) => {
      const { challengeHost, readCas } = await import('../../workers/admit.js');
      const { challenge, kept } = await challengeHost(await readPaper(Enrolment, file), await readCas(ekCa));
      await writeFile(keep, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
      sayJson(challenge);
    }));

  withAdmission(trust.command('init'))
    .description('make and sign a first trust bundle; the hosts’ present PCR values become the reference')
    .requiredOption('--operator <name=file>', 'who may order what on every host, and the public key (PEM); may be said several times', namedKey, [])
    .option('--days <number>', 'days until it expires', '365')
    .action(command(globals, async (files: string[], options: InitOptions) => {
      const operators = await Promise.all(options.operator.map(async ({ name, file }) => mayDoAnything(name, await readPublicKey(file))));
      await writeSigned(firstBundle(await admitted(files, options), operators, Number(options.days)), options);
    }));

  withAdmission(trust.command('admit'))
    .description('add hosts to the trust bundle, or enrol them anew, and sign it; PCR values that are new to a class are pending there')
    .action(command(globals, async (files: string[], options: AdmitOptions) => {
      const { bundle } = await readBundle(globals());
      await writeSigned(withHosts({ ...bundle, serial: bundle.serial + 1 }, await admitted(files, options), 'pending'), options);
    }));

  trust
    .command('show')
    .description('what the trust bundle says, as JSON; edit it and sign it again')
    .action(command(globals, async () => {
      const { bundle } = await readBundle(globals());
      sayJson(bundle, 2);
    }));

  withSigning(trust.command('sign'))
    .description('sign a trust bundle; raise its serial first')
    .argument('<file>', 'what `korora trust show` prints')
    .action(command(globals, async (file: string, options: SignOptions) => {
      await writeSigned(await readJsonFile(file, 'BUNDLE_INVALID'), options);
    }));

  addTrustChecks(trust, globals);

  async function writeSigned(value: unknown, { signWith, out }: SignOptions): Promise<void> {
    const signer = await readSigner(signWith);
    const document = parseDocumentOf(TrustBundle, value, 'BUNDLE_INVALID', { host: 'this client' });
    const envelope = await signEnvelope(document, signer);
    const { bundle, digest } = installBundle(envelope, 'this client', [signer.publicKey]);
    await writeFile(out, `${JSON.stringify(envelope, null, 2)}\n`);
    const signedBy = keyIdOf(signer.publicKey);
    const hosts = bundle.hosts.map(({ hostId, identity }) => `${hostId}${identity.proof === 'none' ? ' (unproven)' : ''}`);
    print(globals(), { file: out, digest, serial: bundle.serial, signedBy }, ({ file }) => `${file}: trust bundle ${digest} of ${hosts.join(', ')}, serial ${bundle.serial}, signed by ${signedBy}`);
  }
}

function withSigning(command: Command): Command {
  return command
    .requiredOption('--sign-with <file>', 'the private key whose public half the hosts have pinned')
    .requiredOption('--out <file>', 'where to write the signed bundle');
}

function withAdmission(command: Command): Command {
  return withSigning(command)
    .argument('<files...>', 'of each host: what `korora trust challenge` kept, and what `korora host answer` printed')
    .option('--without-ek-certificate <hosts...>', 'hosts to be believed without proof, by what `korora host enrol` printed; the bundle says so');
}

async function admitted(files: readonly string[], { withoutEkCertificate }: AdmitOptions) {
  const { admitHosts } = await import('../../workers/admit.js');
  return admitHosts(await Promise.all(files.map((file) => readPaper(AdmissionPaper, file))), withoutEkCertificate ?? []);
}

/** ENROLMENT_FILE_INVALID. */
async function readPaper<T extends z.ZodType>(schema: T, file: string): Promise<z.output<T>> {
  return parseDocumentOf(schema, await readJsonFile(file, 'ENROLMENT_FILE_INVALID'), 'ENROLMENT_FILE_INVALID', { file });
}

function namedKey(text: string, before: readonly NamedKey[]): readonly NamedKey[] {
  const [, name, file] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!name || !file) throw new InvalidArgumentError('not NAME=FILE');
  return [...before, { name, file }];
}
