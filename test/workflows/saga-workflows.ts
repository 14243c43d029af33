/** Small workflows that use workflows/saga.ts and tell what it does. Bundled by saga.test.ts alone. */
import { CancellationScope, isCancellation, proxySinks, sleep, type Sinks } from '@temporalio/workflow';
import { type FailedUndo, Saga } from '../../workflows/saga.js';

export interface Telling extends Sinks {
  readonly told: { tell(text: string): void };
}

const { told } = proxySinks<Telling>();
const names = (failed: readonly FailedUndo[]) => failed.map(({ step, error }) => `${step} (${error instanceof Error ? error.message : String(error)})`).join(', ');

/** Two of three undos fail; it unwinds twice. */
export async function unwinds(): Promise<void> {
  const saga = new Saga();
  for (const step of ['first', 'second', 'third']) {
    saga.undoWith(step, async () => {
      told.tell(`undo ${step}`);
      if (step !== 'first') throw new Error(`${step} is stuck`);
      told.tell(`undone ${step}`);
    });
  }
  told.tell(`failed: ${names(await saga.unwind())}`);
  told.tell(`again, failed: ${names(await saga.unwind())}`);
}

/** The undo that comes first takes a while. */
export async function waitsForEach(): Promise<void> {
  const saga = new Saga();
  saga.undoWith('first', async () => told.tell('undo first'));
  saga.undoWith('second', async () => {
    told.tell('undo second');
    await sleep(1);
    told.tell('undone second');
  });
  told.tell(`failed: ${names(await saga.unwind())}`);
}

/** It is cancelled while it waits for that, and unwinds; what can be cancelled then is. */
export async function isCancelled(): Promise<void> {
  const saga = new Saga();
  saga.undoWith('first', async () => told.tell('undo first'));
  saga.undoWith('slow', async () => {
    told.tell('undo slow');
    await sleep(1);
    told.tell('undone slow');
  });
  try {
    told.tell('waits');
    await CancellationScope.current().cancelRequested;
  } catch (error) {
    told.tell(`cancelled: ${isCancellation(error)}`);
    told.tell(`failed: ${names(await saga.unwind())}`);
    told.tell(`afterwards: ${await sleep(1).then(() => 'not cancelled', (late: unknown) => (isCancellation(late) ? 'cancelled' : 'failed'))}`);
  }
}
