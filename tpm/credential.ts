/**
 * The operator's half of credential protection (TPM 2.0 Part 1 §24): a secret made such that one TPM alone gives it out, the one with
 * this EK and with a key of this name. tpm2-tools do on any machine what TPM2_MakeCredential does in a TPM (Part 3 §12.6).
 */
import { join } from 'node:path';
import { refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';
import { sized } from './marshal.js';

export interface CredentialSpec {
  /** TPMT_PUBLIC. */
  readonly ekPublicArea: Buffer;
  /** Of the other key, hex (Part 1 §16). */
  readonly name: string;
  /** At most as long as a digest of the EK's nameAlg: 32 bytes fit all. Reaches the tool by its standard input. */
  readonly secret: Buffer;
}

/** TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, in the file format of tpm2-tools. `folder` is used and not kept clean. HOST_COMMAND_FAILED. */
export async function makeCredential(access: HostAccess, folder: string, { ekPublicArea, name, secret }: CredentialSpec): Promise<Buffer> {
  const [ekFile, credentialFile] = [join(folder, 'ek.pub'), join(folder, 'credential')];
  await access.writeFileDurably(ekFile, sized(ekPublicArea));
  const args = ['-T', 'none', '-u', ekFile, '-s', '-', '-n', name, '-o', credentialFile, '-Q'];
  const { stderr } = await access.run('tpm2_makecredential', args, { input: secret });
  const credential = await access.readFile(credentialFile);
  if (credential === null) throw refuse('HOST_COMMAND_FAILED', { command: 'tpm2_makecredential', host: 'this-machine', problem: stderr.toString().trim().slice(-500) });
  return credential;
}
