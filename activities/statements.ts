/**
 * What a host says so that others may believe it through untrusted hands: a document, and a quote by the host's AK
 * whose qualifying data is the SHA-256 of the document's canonical form.
 */
import type { SignedAttestation } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import type { HostId } from '../domain/ids.js';
import { classOf, hostIn } from '../domain/trust-bundle.js';
import type { HostServices } from './services.js';

export interface Statements {
  /** This host's AK signs. */
  sign(document: unknown): Promise<SignedAttestation>;
  /** Null where `quote` is by the AK of `host`, as enrolled, over exactly this document; else what is wrong. */
  problem(host: HostId, document: unknown, quote: SignedAttestation): Promise<string | null>;
}

export function createStatements({ hostId, tpm, verifier, installedBundle }: HostServices): Statements {
  return {
    async sign(document) {
      const { bundle } = await installedBundle();
      const { pcrs } = classOf(bundle, hostIn(bundle, hostId));
      const { attest, signature } = await tpm.quote(pcrs, Buffer.from(digestOf(document), 'hex'));
      return { attest, signature };
    },
    async problem(host, document, quote) {
      const { bundle } = await installedBundle();
      return verifier.quoteProblem({ ak: hostIn(bundle, host).attestationKey, signed: quote, qualifyingData: Buffer.from(digestOf(document), 'hex') });
    },
  };
}
