/** Who signs for this client: the operator of the bundle whose key it holds, who is shown everything first. */
import { type Envelope, type Signer, addSignature, keyIdOf, signEnvelope } from '../domain/envelope.js';
import { refuse } from '../domain/failures.js';
import type { TrustBundle } from '../domain/trust-bundle.js';
import type { Confirm, Shown } from './shown.js';

/** SIGNING_DECLINED. */
export interface Author {
  /** The name that goes into what it signs. */
  readonly by: string;
  sign(shown: Shown): Promise<Envelope>;
  /** Adds a signature to the envelope that the shown document came in. */
  countersign(shown: Shown, envelope: Envelope): Promise<Envelope>;
}

/** SIGNING_KEY_MISSING, SIGNING_KEY_UNKNOWN. */
export function authorOf(signer: Signer | null, confirm: Confirm, { operators }: TrustBundle): Author {
  if (!signer) throw refuse('SIGNING_KEY_MISSING', {});
  const operator = operators.find(({ publicKey, status }) => publicKey === signer.publicKey && status === 'active');
  if (!operator) throw refuse('SIGNING_KEY_UNKNOWN', { key: keyIdOf(signer.publicKey) });
  const mustConfirm = async (shown: Shown) => {
    if (!(await confirm(shown))) throw refuse('SIGNING_DECLINED', { operator: operator.name, kind: shown.kind });
  };
  return {
    by: operator.name,
    async sign(shown) {
      await mustConfirm(shown);
      return signEnvelope(shown.document, signer);
    },
    async countersign(shown, envelope) {
      await mustConfirm(shown);
      return addSignature(envelope, signer);
    },
  };
}
