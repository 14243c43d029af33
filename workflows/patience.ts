/**
 * Waiting for a host that must answer, as long as it takes. Once it is silent people are told what to do. Only an
 * operator's fence ends a wait without an answer; a clock never does.
 */
import { CancellationScope, condition, isCancellation, setHandler, sleep } from '@temporalio/workflow';
import { type OpenedDocument, openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import { type Failure, type FailureCode, failure, refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { failuresOf, refusing, toApplicationFailure } from './failures.js';
import { LIMITS } from './limits.js';
import { fenceUpdate } from './messages.js';

/** A fence that was taken, and when. */
export interface Fencing extends OpenedDocument<'korora/fence'> {
  readonly atMs: number;
}

const IN_DOUBT: readonly FailureCode[] = ['RECORD_STALE', 'RECORD_UNREADABLE', 'RECORDS_IN_DOUBT'];

interface Wait {
  readonly host: HostId;
  readonly asking: CancellationScope;
  isSilent: boolean;
  /** Of a host that answers that it cannot tell: as good as silence. */
  doubt: Failure | null;
  fence: OpenedDocument<'korora/fence'> | null;
  end: 'answered' | 'fenced' | null;
}

export class Patience {
  /** Oldest first. */
  fences: readonly Fencing[] = [];
  private wait: Wait | null = null;

  /** `admit`: has the other host say whether the fence is an operator's. `onChange` is called whenever `nextAction` is another. */
  constructor(
    private readonly order: Order,
    private readonly admit: (fenced: HostId, fence: Envelope) => Promise<void>,
    private readonly onChange: () => void,
  ) {
    setHandler(fenceUpdate, (fence) => this.fence(fence), { validator: refusing((fence: Envelope) => void this.validate(fence)) });
  }

  /** The one thing that people can do; null while nobody is silent. */
  get nextAction(): string | null {
    if (!this.wait?.isSilent) return null;
    const { host, doubt } = this.wait;
    if (doubt) return `The move waits for ${host}, which cannot tell: ${doubt.message}. ${doubt.remedy}`;
    return (
      `Bring the worker of ${host} back: the move waits for its answer, and nobody else can give it. ` +
      `Only if ${host} is powered off and stays so until its worker is started: \`korora fence ${this.order.vmId} --host ${host} --reason TEXT\`.`
    );
  }

  isFenced(host: string): boolean {
    return this.fences.some(({ document }) => document.host === host);
  }

  /** The answer of `host`; null where an operator fenced it instead. */
  async insist<T>(host: HostId, ask: () => Promise<T>, whenSilent: () => void = () => undefined): Promise<T | null> {
    const wait: Wait = { host, asking: new CancellationScope(), isSilent: false, doubt: null, fence: null, end: null };
    this.wait = wait;
    const answer = wait.asking.run(() => this.untilSure(wait, ask, whenSilent));
    const clock = new CancellationScope();
    const silence = clock.run(() => sleep(LIMITS.silence));
    silence.then(() => this.noteSilence(wait, whenSilent), () => undefined);
    try {
      return await answer;
    } catch (error) {
      if (!wait.fence || !isCancellation(error)) throw error;
      wait.end = 'fenced';
      this.fences = [...this.fences, { ...wait.fence, atMs: Date.now() }];
      return null;
    } finally {
      wait.end ??= 'answered';
      this.wait = null;
      clock.cancel();
      this.onChange();
    }
  }

  private async untilSure<T>(wait: Wait, ask: () => Promise<T>, whenSilent: () => void): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (isCancellation(error)) throw error;
        const [first] = failuresOf(error, '');
        if (!IN_DOUBT.includes(first.code)) throw error;
        wait.doubt = first;
        this.noteSilence(wait, whenSilent);
        await sleep(LIMITS.askAgain);
      }
    }
  }

  private noteSilence(wait: Wait, whenSilent: () => void): void {
    wait.isSilent = true;
    whenSilent();
    this.onChange();
  }

  /** A fence that the host it was for no longer takes: its time was over. */
  forget(fence: Fencing): void {
    this.fences = this.fences.filter((taken) => taken !== fence);
  }

  /**
   * Ends the wait for the named host, unless its answer is on its way: then FENCE_REFUSED, since a host that answers
   * is not powered off.
   */
  private async fence(value: Envelope): Promise<void> {
    const fence = this.validate(value);
    const { host } = fence.document;
    await this.admit(host, value).catch((error: unknown) => {
      throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
    });
    const { wait } = this;
    if (!wait || wait.host !== host) throw toApplicationFailure([failure('NOTHING_TO_FENCE', { vm: this.order.vmId, host })]);
    wait.fence = fence;
    wait.asking.cancel();
    await condition(() => wait.end !== null);
    if (wait.end === 'answered') throw toApplicationFailure([failure('FENCE_REFUSED', { vm: this.order.vmId, host })]);
  }

  private validate(value: Envelope): OpenedDocument<'korora/fence'> {
    const fence = openSigned('korora/fence', value);
    const { host, migrationId } = fence.document;
    if (migrationId !== this.order.migrationId) throw refuse('ORDER_INVALID', { problem: 'migrationId: it is of another move' });
    if (!this.wait?.isSilent || this.wait.host !== host) throw refuse('NOTHING_TO_FENCE', { vm: this.order.vmId, host });
    return fence;
  }
}
