/**
 * A host worker that writes down every secret that it makes or opens, so that a test can look for them where they must not
 * be. A program of its own, which only tests start: nothing that `korora` can reach imports it (test/unit/faults-out-of-reach.test.ts).
 *
 *   node telling-worker.js CONFIG FILE      FILE: a line each, `<name>\t<base64>`
 */
import { createPrivateKey } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { loadHostConfig } from '../../workers/config.js';
import { type HostParts, runHostWorker } from '../../workers/host.js';

const [, , configFile = '', file = ''] = process.argv;
await runHostWorker(await loadHostConfig(configFile), { services: telling, activities: (built) => built });

function telling({ tpm, verifier, channels, ...others }: HostParts): HostParts {
  return {
    ...others,
    tpm: {
      ...tpm,
      sealAtRest: (secret) => tpm.sealAtRest(tellKeys(secret)),
      unsealAtRest: async (blob) => tellKeys(await tpm.unsealAtRest(blob)),
      async createWrappingKey(pcrs) {
        const key = await tpm.createWrappingKey(pcrs);
        return { ...key, unwrap: async (wrapped, context) => tellDocument(await key.unwrap(wrapped, context)) };
      },
    },
    verifier: { ...verifier, wrapSecrets: (publicArea, secret, context) => verifier.wrapSecrets(publicArea, tellDocument(secret), context) },
    channels: {
      ...channels,
      async createIdentity() {
        const identity = await channels.createIdentity();
        tell('TLS key', Buffer.from(createPrivateKey(identity.privateKey).export({ format: 'jwk' }).d ?? '', 'base64url'));
        // PKCS #8 of a P-256 key: the secret is in its first two lines of 48 bytes, broken between them.
        for (const line of identity.privateKey.split('\n').slice(1, 3)) tell('TLS key as PEM', Buffer.from(line));
        return identity;
      },
    },
  };
}

/** What is sealed at rest: two keys of 32 bytes (activities/vtpm-keys.ts). */
function tellKeys(both: Buffer): Buffer {
  tell('vTPM state key', both.subarray(0, 32));
  tell('vTPM migration key', both.subarray(32));
  return both;
}

/** What is wrapped (activities/seal.ts). */
function tellDocument(plain: Buffer): Buffer {
  const { sessionKey, vtpmMigrationKey } = JSON.parse(plain.toString()) as Record<'sessionKey' | 'vtpmMigrationKey', string>;
  tell('session key', Buffer.from(sessionKey, 'base64'));
  tell('vTPM migration key', Buffer.from(vtpmMigrationKey, 'base64'));
  return plain;
}

function tell(name: string, secret: Buffer): void {
  appendFileSync(file, `${name}\t${secret.toString('base64')}\n`, { mode: 0o600 });
}
