/** Certificates for TLS to Temporal, as an operator's own CA would give them out: one CA, and leaves for a server on loopback and for clients. Made by OpenSSL. */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Paths of PEM files; keys are for their owner alone. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  issue(name: string): Promise<Certificate>;
}

export async function makeAuthority(folder: string): Promise<Authority> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const authority = await make('ca', ['-x509', '-subj', '/CN=ca of a testbed']);
  return {
    ...authority,
    issue: (name) => make(name, ['-x509', '-CA', authority.certificate, '-CAkey', authority.key, '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE']),
  };

  async function make(name: string, options: readonly string[]): Promise<Certificate> {
    const [certificate, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
    await writeFile(key, '', { mode: 0o600 });
    await run('openssl', ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-days', '2', '-keyout', key, '-out', certificate, ...options]);
    return { certificate, key };
  }
}
