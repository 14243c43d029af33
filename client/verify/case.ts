/** What every check of an evidence file works on, and how it names whose key something rests on. */
import { keyIdOf } from '../../domain/envelope.js';
import type { Evidence } from '../../domain/evidence.js';
import type { Order } from '../../domain/order.js';
import type { HostEntry, InstalledBundle } from '../../domain/trust-bundle.js';
import type { EvidenceVerifier } from '../../tpm/port.js';
import type { ReportBuilder } from './report.js';

export interface Case {
  readonly evidence: Evidence;
  readonly order: Order;
  readonly installed: InstalledBundle;
  readonly verifier: EvidenceVerifier;
  readonly report: ReportBuilder;
}

export function nameOf({ bundle }: InstalledBundle, by: string): string {
  const operator = bundle.operators.find(({ name }) => name === by);
  return operator ? `${by}, key ${keyIdOf(operator.publicKey)}` : by;
}

export function akOf({ hostId, attestationKey }: HostEntry): string {
  return `${hostId}, AK ${attestationKey.name}`;
}
