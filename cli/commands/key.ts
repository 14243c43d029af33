/** `korora key …`: Ed25519 keys of operators and of the signer of trust bundles. */
import type { Command } from 'commander';
import { keyIdOf } from '../../domain/envelope.js';
import { type GlobalOptions, command, print, readBundle } from '../context.js';
import { makeKey, readPublicKey } from '../keys.js';

export function addKeyCommands(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  const key = program.command('key').description('keys that sign orders and trust bundles');

  key
    .command('new')
    .description('make an Ed25519 key: FILE for its owner alone, and FILE.pub for everybody')
    .argument('<file>')
    .action(command(globals, async (file: string) => {
      const made = await makeKey(file);
      print(globals(), made, ({ privateFile, publicFile, keyId }) => `${privateFile} (keep it secret) and ${publicFile}: key ${keyId}`);
    }));

  key
    .command('show')
    .description('the id of a key, and whose it is in the trust bundle')
    .argument('<file>', 'either half')
    .action(command(globals, async (file: string) => {
      const publicKey = await readPublicKey(file);
      const hasBundle = globals().trust ?? process.env['KORORA_TRUST'];
      const operator = hasBundle ? (await readBundle(globals())).bundle.operators.find((known) => known.publicKey === publicKey) : undefined;
      const key = { keyId: keyIdOf(publicKey), publicKey, operator: operator?.name ?? null };
      print(globals(), key, ({ keyId, operator: name }) => `key ${keyId}: ${name === null ? 'no operator of the trust bundle' : `operator ${name} (${operator?.status})`}`);
    }));
}
