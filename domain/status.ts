/** What a client sees of a move: the answer of the workflow's `status` query, what it means, and the move's result. Pure. */
import type { Envelope } from './envelope.js';
import type { Evidence } from './evidence.js';
import type { Failure } from './failures.js';
import type { HostId, MigrationId, Sha256Hex, VmId } from './ids.js';
import { markdownLine } from './markdown.js';
import type { CopyLimits } from './progress.js';
import type { Phase } from './steps.js';
import type { VmDocument } from './vm.js';

export interface MigrationStatus {
  readonly migrationId: MigrationId;
  /** Signed: korora/order. What is said of the move rests on it; the members below are for looking. */
  readonly order: Envelope;
  /** The order names its digest. */
  readonly vm: VmDocument;
  /** Signed: korora/limits, the last that the source took; null where the limits are those of the order. */
  readonly limitsChange: Envelope | null;
  readonly vmId: VmId;
  readonly source: HostId;
  readonly destination: HostId;
  readonly phase: Phase;
  /** Whether `abort` is taken now. */
  readonly isAbortable: boolean;
  readonly limits: CopyLimits;
  /** Phase → ms since the start when it was first reached, in the order of reaching. */
  readonly phases: Readonly<Record<string, number>>;
  /** Memory rounds of a finished copy; empty before. */
  readonly rounds: Evidence['rounds'];
  readonly failures: readonly Failure[];
  /** What the move waits for from people before it goes on to stop the source; null where for nothing. */
  readonly awaits: 'approval' | null;
  /** Whether the copy is held; the guest runs on meanwhile. */
  readonly isHeld: boolean;
  /** What an operator does now; null where there is nothing to do. */
  readonly nextAction: string | null;
}

/** What a phase means for the VM, where its name alone would leave people guessing; null elsewhere. */
export function meaningOf({ phase, vmId, source, destination }: Pick<MigrationStatus, 'phase' | 'vmId' | 'source' | 'destination'>): string | null {
  if (phase !== 'in-doubt') return null;
  return `${source} stopped ${vmId} and gave it away; whether ${destination} took it is not known. It runs there or nowhere, and no clock decides.`;
}

/** For Temporal's web UI, in its Markdown. Commands stand in backticks, or their dashes are made typographic. Remedies are left out while there is something to do now. */
export function detailsOf(status: Pick<MigrationStatus, 'phase' | 'vmId' | 'source' | 'destination' | 'failures' | 'nextAction'>): string {
  const { phase, vmId, source, destination, failures, nextAction } = status;
  const meaning = meaningOf(status);
  return [
    `**${phase}** — VM \`${vmId}\` from \`${source}\` to \`${destination}\``,
    ...(meaning ? [meaning] : []),
    ...(failures.length > 0 ? [failures.map(({ code, message, remedy }) => `- \`${code}\` ${markdownLine(`${message}${nextAction ? '' : ` — ${remedy}`}`)}`).join('\n')] : []),
    ...(nextAction ? [`**Next action:** ${markdownLine(nextAction)}`] : []),
  ].join('\n\n');
}

/** The answer to a wish to hold the copy or to let it go on. */
export interface Hold {
  readonly isHeld: boolean;
  /**
   * False in a late round, when the hypervisor may already have so little left that it stops the source in spite of the
   * hold: then the hold is over and the move goes on at once.
   */
  readonly isCertain: boolean;
}

export interface MigrationResult {
  readonly migrationId: MigrationId;
  readonly vmId: VmId;
  readonly outcome: Evidence['outcome'];
  readonly evidencePath: string;
  readonly evidenceDigest: Sha256Hex;
  /** What is to be known of how it was recorded: EVIDENCE_DIFFERS. */
  readonly notes: readonly Failure[];
  readonly timings: Evidence['timings'];
}

/** One VM as its host knows it. */
export interface VmSurvey {
  readonly vmId: VmId;
  readonly hostId: HostId;
  /** A state of the record; `unreadable` where it, or what is installed, cannot be read. */
  readonly ownership: string;
  readonly epoch: number;
  readonly status: string;
  readonly mayRun: boolean;
  /** Why the record may not be the last one of its host, which then does nothing by it; null where it is. */
  readonly recordProblem: string | null;
  /** The move that the record is about, the other host of it, and, until it has ended, its signed order; null where about none. */
  readonly move: { readonly migrationId: MigrationId; readonly peer: HostId; readonly order: Envelope | null } | null;
  /** The document; null where only the record is left. */
  readonly vm: unknown;
  readonly consolePath: string | null;
}

/** What a worker found out of line when it started, and what it did about it; both for people. */
export interface Finding {
  readonly vmId: VmId;
  readonly found: string;
  readonly done: string;
}

/** One host as its worker sees it, for looking alone: nothing is signed by it (survey.ts). `reachable: false` where the worker does not answer. */
export type HostSurvey =
  | {
      readonly hostId: HostId;
      readonly reachable: true;
      readonly bundleDigest: Sha256Hex | null;
      readonly hypervisor: string;
      readonly swtpm: string;
      readonly pcrValues: Readonly<Record<string, string>>;
      /** Null where the values match an active reference set. */
      readonly pcrProblem: string | null;
      readonly availableMemoryBytes: number;
      readonly vms: readonly VmSurvey[];
      readonly failures: readonly Failure[];
      /** Of the worker's start. */
      readonly findings: readonly Finding[];
    }
  | { readonly hostId: HostId; readonly reachable: false };
