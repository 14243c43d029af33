/**
 * A move ends with its evidence and not before, since its result names it: where the control worker refuses to write it, people are told why, and it
 * is asked again. The VM is settled by then.
 */
import { proxyActivities, sleep } from '@temporalio/workflow';
import type { ControlActivities } from '../activities/index.js';
import type { Evidence } from '../domain/evidence.js';
import { type Failure, failure } from '../domain/failures.js';
import type { VmId } from '../domain/ids.js';
import { failuresOf, isOfActivity } from './failures.js';
import { LIMITS } from './limits.js';
import { controlOptions } from './options.js';

type Recorded = Awaited<ReturnType<ControlActivities['recordEvidence']>>;

/** `notes`: what people are told of it, and is no failure of the move. */
export type Written = Pick<Recorded, 'path' | 'digest'> & { readonly notes: readonly Failure[] };

export class Recording {
  private readonly control = proxyActivities<ControlActivities>(controlOptions);
  private refusal: Failure | null = null;
  private notes: readonly Failure[] = [];

  /** `onChange` is called whenever `nextAction` is another. */
  constructor(
    private readonly vmId: VmId,
    private readonly onChange: () => void,
  ) {}

  /** Null while nothing is refused, and where there is nothing to tell of what was written. */
  get nextAction(): string | null {
    if (this.notes.length > 0) return this.notes.map(({ message, remedy }) => `${message}. ${remedy}`).join(' ');
    if (!this.refusal) return null;
    const { code, message, remedy } = this.refusal;
    const what = code === 'EVIDENCE_NAME_TAKEN' ? remedy : 'Bring every control worker to the version of Kororā that began the move, or a newer one: it is asked again until it writes it.';
    return `The VM is settled; the control worker refuses to write the evidence of the move: ${message}. ${what}`;
  }

  async write(evidence: Evidence): Promise<Written> {
    for (;;) {
      try {
        return this.told(await this.control.recordEvidence({ evidence }));
      } catch (error) {
        if (!isOfActivity(error)) throw error;
        [this.refusal] = failuresOf(error, 'it was cancelled');
        this.onChange();
        await sleep(LIMITS.askAgain);
      }
    }
  }

  /** Older histories do not say which other files there are. */
  private told({ path, digest, differsFrom }: Pick<Recorded, 'path' | 'digest'> & Partial<Recorded>): Written {
    const others = differsFrom ?? [];
    this.notes = others.length > 0 ? [failure('EVIDENCE_DIFFERS', { vm: this.vmId, path, others: others.join(', ') })] : [];
    this.refusal = null;
    this.onChange();
    return { path, digest, notes: this.notes };
  }
}
