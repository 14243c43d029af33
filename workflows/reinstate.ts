/** Has a host believe its ownership records again, as an operator signed. */
import { openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import type { Finding } from '../domain/status.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';

/** `reinstatement`, signed: korora/reinstatement. Resolves with what the host then found out of line. */
export async function reinstateHost({ reinstatement }: { readonly reinstatement: Envelope }): Promise<readonly Finding[]> {
  try {
    const { host } = openSigned('korora/reinstatement', reinstatement).document;
    return await callsOf(host).step.reinstateRecords({ reinstatement });
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}
