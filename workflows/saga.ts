/**
 * Undo for workflows. An undo is registered before its step is scheduled, means "ensure absent",
 * and retries without limit (its activity options say so). Unwinding cannot be cancelled, goes
 * last in first out, and goes on past an undo that fails; what failed is returned, not thrown.
 */
import { CancellationScope } from '@temporalio/workflow';

export interface FailedUndo {
  readonly step: string;
  readonly error: unknown;
}

export class Saga {
  private readonly undos: { readonly step: string; readonly undo: () => Promise<void> }[] = [];

  /** Call before the step is scheduled. */
  undoWith(step: string, undo: () => Promise<void>): void {
    this.undos.push({ step, undo });
  }

  unwind(): Promise<readonly FailedUndo[]> {
    return CancellationScope.nonCancellable(async () => {
      const failed: FailedUndo[] = [];
      for (const { step, undo } of this.undos.splice(0).reverse()) {
        try {
          await undo();
        } catch (error) {
          failed.push({ step, error });
        }
      }
      return failed;
    });
  }
}
