/** Certificate authorities and certificates for tests, by the openssl command. Valid from now on, for as many days as said. */
import { execFile } from 'node:child_process';
import { type KeyObject, X509Certificate, createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface TestCa {
  /** PEM. */
  readonly certificate: Buffer;
  readonly privateKey: KeyObject;
  /** DER. `extensions` as openssl's configuration has them. */
  issue(spec: { readonly name: string; readonly key: KeyObject; readonly extensions: readonly string[]; readonly days?: number }): Promise<Buffer>;
  issueCa(name: string, options?: CaOptions): Promise<TestCa>;
}

export interface CaOptions {
  readonly days?: number;
  readonly extensions?: readonly string[];
  /** Of another CA, which is certified again. */
  readonly keyOf?: TestCa;
}

export const EK_EXTENSIONS = ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=2.23.133.8.1'];
const CA_EXTENSIONS = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign', 'subjectKeyIdentifier=hash'];

/** Self-signed, unless there is an issuer. `folder` keeps its files. */
export async function createTestCa(folder: string, name: string, { days = 30, extensions = CA_EXTENSIONS, keyOf }: CaOptions = {}, issuer?: readonly string[]): Promise<TestCa> {
  const path = join(folder, randomUUID());
  const privateKey = keyOf?.privateKey ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  await writeFile(`${path}.key`, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const sign = async (subject: string, key: KeyObject, validDays: number, lines: readonly string[], by: readonly string[]): Promise<Buffer> => {
    const own = join(folder, randomUUID());
    await writeFile(`${own}.pub`, key.export({ type: 'spki', format: 'pem' }));
    await writeFile(`${own}.ext`, `${lines.join('\n')}\n`);
    await run('openssl', ['x509', '-new', '-subj', `/CN=${subject}`, ...by, '-force_pubkey', `${own}.pub`, '-days', String(validDays), '-extfile', `${own}.ext`, '-outform', 'DER', '-out', `${own}.der`]);
    return readFile(`${own}.der`);
  };
  const own = await sign(name, createPublicKey(privateKey), days, extensions, issuer ?? ['-signkey', `${path}.key`]);
  const certificate = Buffer.from(new X509Certificate(own).toString());
  await writeFile(`${path}.crt`, certificate);
  const asIssuer = ['-CA', `${path}.crt`, '-CAkey', `${path}.key`];
  return {
    certificate,
    privateKey,
    issue: (spec) => sign(spec.name, spec.key, spec.days ?? 30, spec.extensions, asIssuer),
    issueCa: (child, options) => createTestCa(folder, child, options, asIssuer),
  };
}
