/** What the fault matrix asks of a guest and of what it runs on: small, so that another hypervisor's driver can answer it. */
import type { VmId } from '../../../domain/ids.js';
import type { HostName } from './move.js';

export interface Unsealing {
  readonly secret: string;
  /** What tells this vTPM from another one. */
  readonly vtpm: string;
  /** The last number said before it. */
  readonly count: number;
}

/** What a guest said since the last `mark`, in the order of `hosts`. */
export interface Said {
  readonly counts: readonly number[];
  readonly unsealings: readonly Unsealing[];
  /** Whole lines that say something failed. */
  readonly complaints: readonly string[];
}

export interface VmProcess {
  readonly host: HostName;
  readonly kind: 'hypervisor' | 'vtpm';
  readonly pid: number;
}

export interface TestedGuest {
  readonly vmId: VmId;
  /** From here on: the next `said` begins after the last whole line that `host` said. Gives the last number said there so far. */
  mark(host: HostName): Promise<number>;
  /** What was said since, first on the first host, then on the next. */
  said(hosts: readonly HostName[]): Promise<Said>;
  /** The number on the guest's disk. */
  diskCount(): Promise<number>;
  /** Every process of the VM there is, by host and kind: a whole VM is one of each. */
  processes(): Promise<readonly VmProcess[]>;
  close(): void;
}
