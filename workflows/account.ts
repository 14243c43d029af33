/**
 * What a move has seen so far, and what it says of it: status and details to people while it runs, evidence when it is
 * over. It decides nothing.
 */
import { setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { GivenReceipt } from '../activities/receipts.js';
import type { OpenedDocument } from '../domain/authority.js';
import type { Evidence } from '../domain/evidence.js';
import type { Failure } from '../domain/failures.js';
import type { HostId, Role } from '../domain/ids.js';
import type { Manifest, ReceiptStatement, SuccessionStatement, VerdictStatement } from '../domain/manifest.js';
import type { SourceFacts } from '../domain/preflight.js';
import { type MigrationStatus, detailsOf } from '../domain/status.js';
import type { Phase } from '../domain/steps.js';
import type { VmDocument } from '../domain/vm.js';

export const ABORTABLE: readonly Phase[] = ['requested', 'admitted', 'attested', 'sealed', 'copying'];

export class Account {
  phase: Phase = 'requested';
  failures: readonly Failure[] = [];
  /** The source said, before anything changed, that it owns the VM and has its hypervisor. */
  private isAtSource = false;
  /** Something may have changed on a host. */
  isUnderWay = false;
  /** It is owned by the source and runs nowhere. */
  isSourceGone = false;
  /** The destination accepted and owns it, but lost it since: it runs nowhere. */
  isDestinationGone = false;
  /** The source has given the VM up by that proof. */
  isRetired = false;
  /** The proof that the destination owns the VM. */
  accepted: VerdictStatement | null = null;
  readonly attestation: { -readonly [K in keyof Evidence['attestation']]: Evidence['attestation'][K] } = { source: null, destination: null, referenceSets: { source: null, destination: null } };
  manifest: Manifest | null = null;
  /** The last word of the destination, whichever it was. */
  verdict: VerdictStatement | null = null;
  /** Of a destination that no longer knows the move, since it owned a later epoch. */
  succession: SuccessionStatement | null = null;
  readonly receipts: { -readonly [R in Role]: ReceiptStatement | null } = { source: null, destination: null };
  rounds: Evidence['rounds'] = [];
  source: Evidence['timings']['source'] = null;
  destination: Evidence['timings']['destination'] = null;
  private readonly startedAtMs = workflowInfo().startTime.getTime();
  private readonly phases: Record<string, number> = { requested: 0 };

  constructor(
    private readonly opened: OpenedDocument<'korora/order'>,
    private readonly vm: VmDocument,
    private readonly nextAction: () => string | null,
  ) {}

  reach(next: Phase): void {
    this.phase = next;
    this.phases[next] ??= Date.now() - this.startedAtMs;
    this.show();
  }

  /** For Temporal's web UI. */
  show(): void {
    const { vmId, source, destination } = this.opened.document;
    const { phase, failures } = this;
    setCurrentDetails(detailsOf({ phase, vmId, source, destination, failures, nextAction: this.nextAction() }));
  }

  status(copy: Pick<MigrationStatus, 'limits' | 'limitsChange' | 'awaits' | 'isHeld'>): MigrationStatus {
    const { document, envelope: order } = this.opened;
    const { migrationId, vmId, source, destination } = document;
    const { vm, phase, phases, rounds, failures } = this;
    const { limits, limitsChange, awaits, isHeld } = copy;
    return { migrationId, order, vm, limitsChange, vmId, source, destination, phase, isAbortable: ABORTABLE.includes(phase), limits, phases, rounds, failures, awaits, isHeld, nextAction: this.nextAction() };
  }

  /** What it says of the VM: a second run of a move, or one with another order, knows nothing by itself of where the VM is. */
  noteFacts(facts: SourceFacts): SourceFacts {
    this.isAtSource = facts.ownership.state === 'owner' && facts.vmStatus !== 'absent';
    return facts;
  }

  /** What the host saw is as it signed it, whatever was heard of it before. */
  note({ statement, observed }: GivenReceipt): void {
    this.receipts[observed.role] = statement;
    if (observed.role === 'destination') this.destination = observed.timings;
    else [this.rounds, this.source] = [[...observed.rounds], observed.timings];
  }

  evidence(said: Pick<Evidence, 'fences' | 'approval' | 'limitsChanges'>): Evidence {
    const { opened, vm, attestation, manifest, verdict, succession, receipts, rounds, startedAtMs, phases, source, destination } = this;
    return {
      kind: 'korora/evidence',
      version: 2,
      order: opened.envelope,
      vm,
      attestation,
      manifest,
      verdict,
      succession,
      receipts,
      rounds,
      ...said,
      timings: { startedAtMs, endedAtMs: Date.now(), phases, source, destination },
      outcome: {
        kind: this.accepted || this.succession ? 'moved' : this.isUnderWay ? 'source-resumed' : 'refused',
        runsOn: this.runsOn(),
        failures: this.failures.map(({ code, message, remedy }) => ({ code, message, remedy })),
      },
    };
  }

  private runsOn(): HostId | null {
    const { source, destination } = this.opened.document;
    if (this.succession) return null;
    if (this.accepted) return this.isDestinationGone ? null : destination;
    return this.isAtSource && !this.isSourceGone ? source : null;
  }
}
