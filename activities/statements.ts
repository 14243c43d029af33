/**
 * What a host says so that others may believe it through untrusted hands: a document, and a quote by the host's AK
 * whose qualifying data is the SHA-256 of the document's canonical form. A signature alone is no authority: it counts where its host is active in the
 * bundle, and signed in a state that meets the reference values.
 */
import type { SignedAttestation, TpmBoot } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import { KororaError } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import { classOf, hostIn } from '../domain/trust-bundle.js';
import type { HostServices } from './services.js';

export interface Statements {
  /** This host's AK signs. */
  sign(document: unknown): Promise<SignedAttestation>;
  /**
   * Null where `host` may be believed to have said exactly this document; else what is wrong. `boot`: in which it was attested, for what it says of
   * a move under way; null for what holds in any boot. BUNDLE_*, HOST_UNKNOWN.
   */
  problem(host: HostId, document: unknown, quote: SignedAttestation, boot: TpmBoot | null): Promise<string | null>;
}

export function createStatements({ hostId, tpm, verifier, installedBundle }: HostServices): Statements {
  return {
    async sign(document) {
      const { bundle } = await installedBundle();
      const { pcrs } = classOf(bundle, hostIn(bundle, hostId));
      const { attest, signature } = await tpm.quote(pcrs, Buffer.from(digestOf(document), 'hex'));
      return { attest, signature };
    },
    async problem(hostId, document, quote, boot) {
      const { bundle } = await installedBundle();
      const host = hostIn(bundle, hostId);
      try {
        const failures = verifier.appraiseStatement({ host, hostClass: classOf(bundle, host), document, quote, boot });
        return failures.length === 0 ? null : failures.map(({ code, message }) => `${code}: ${message}`).join('; ');
      } catch (error) {
        if (error instanceof KororaError && error.code === 'EVIDENCE_MALFORMED') return error.message;
        throw error;
      }
    },
  };
}
