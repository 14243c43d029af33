/** Who signs for this client: the operator of the bundle whose key it holds. */
import { type Envelope, type SignedKind, type Signer, keyIdOf, signEnvelope } from '../domain/envelope.js';
import { refuse } from '../domain/failures.js';
import type { TrustBundle } from '../domain/trust-bundle.js';

export interface Author {
  /** The name that goes into what it signs. */
  readonly by: string;
  sign(document: { readonly kind: SignedKind }): Promise<Envelope>;
}

/** SIGNING_KEY_MISSING, SIGNING_KEY_UNKNOWN. */
export function authorOf(signer: Signer | null, { operators }: TrustBundle): Author {
  if (!signer) throw refuse('SIGNING_KEY_MISSING', {});
  const operator = operators.find(({ publicKey, status }) => publicKey === signer.publicKey && status === 'active');
  if (!operator) throw refuse('SIGNING_KEY_UNKNOWN', { key: keyIdOf(signer.publicKey) });
  return { by: operator.name, sign: (document) => signEnvelope(document, signer) };
}
