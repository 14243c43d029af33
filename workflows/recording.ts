/**
 * A move ends with its evidence and not before, since its result names it: where the control worker refuses to write it, people are told why, and it
 * is asked again. The VM is settled by then.
 */
import { proxyActivities, sleep } from '@temporalio/workflow';
import type { ControlActivities } from '../activities/index.js';
import type { Evidence } from '../domain/evidence.js';
import type { Failure } from '../domain/failures.js';
import { failuresOf, isOfActivity } from './failures.js';
import { LIMITS } from './limits.js';
import { controlOptions } from './options.js';

type Recorded = Awaited<ReturnType<ControlActivities['recordEvidence']>>;

export class Recording {
  private readonly control = proxyActivities<ControlActivities>(controlOptions);
  private refusal: Failure | null = null;

  /** `onChange` is called whenever `nextAction` is another. */
  constructor(private readonly onChange: () => void) {}

  /** Null while nothing is refused. */
  get nextAction(): string | null {
    if (!this.refusal) return null;
    return `The VM is settled; the control worker refuses to write the evidence of the move: ${this.refusal.message}. Bring every control worker to the version of Kororā that began the move, or a newer one: it is asked again until it writes it.`;
  }

  async write(evidence: Evidence): Promise<Recorded> {
    for (;;) {
      try {
        return await this.control.recordEvidence({ evidence });
      } catch (error) {
        if (!isOfActivity(error)) throw error;
        [this.refusal] = failuresOf(error, 'it was cancelled');
        this.onChange();
        await sleep(LIMITS.askAgain);
      }
    }
  }
}
