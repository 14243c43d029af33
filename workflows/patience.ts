/**
 * Waiting for a host that must answer, as long as it takes. Once it is silent, or refuses to answer, people are told what to do. Only an
 * operator's fence ends a wait without an answer; a clock never does, nor a refusal: what is so on that host is not known
 * (docs/decisions/0018-a-refusal-is-no-answer.md).
 */
import { CancellationScope, condition, setHandler, sleep } from '@temporalio/workflow';
import { type OpenedDocument, openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import { type Failure, type FailureCode, refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { failuresOf, isAnswer, isOfActivity } from './failures.js';
import { LIMITS } from './limits.js';
import { fenceUpdate } from './messages.js';

/** A fence that was taken, and when. */
export interface Fencing extends OpenedDocument<'korora/fence'> {
  readonly atMs: number;
}

interface Insistence {
  /** Called whenever people are told of the wait. */
  readonly whenSilent?: () => void;
  /** Refusals that the caller takes as an answer. */
  readonly answers?: readonly FailureCode[];
  /** Why its last answer did not count: people are told at once, and it is asked again after a pause. */
  readonly doubt?: Failure | null;
}

/** A fence that the other host admitted, and what became of it. */
interface Attempt {
  readonly fence: OpenedDocument<'korora/fence'>;
  end: 'refused' | 'taken' | null;
}

interface Wait {
  readonly host: HostId;
  /** Of the question, or of the pause before the next. */
  asking: CancellationScope;
  isSilent: boolean;
  /** Why the host does not say what it is asked for. */
  doubt: Failure | null;
  attempt: Attempt | null;
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
    setHandler(fenceUpdate, (fence) => this.fence(fence), { validator: (fence) => void this.validate(fence) });
  }

  /** The one thing that people can do; null while nobody is silent. */
  get nextAction(): string | null {
    if (!this.wait?.isSilent) return null;
    const { host, doubt } = this.wait;
    const wish = doubt
      ? `The move waits for ${host}, which is asked again until it answers. It does not give it: ${doubt.message}. ${doubt.remedy}`
      : `Bring the worker of ${host} back: the move waits for its answer, and nobody else can give it.`;
    const { vmId, source, destination } = this.order;
    // A fence is admitted by the other host, which is off where it was fenced itself.
    if (this.isFenced(host === source ? destination : source)) return wish;
    return `${wish} Only if ${host} is powered off and stays so until its worker is started: \`korora fence ${vmId} --host ${host} --reason TEXT\`.`;
  }

  isFenced(host: string): boolean {
    return this.fences.some(({ document }) => document.host === host);
  }

  /** The answer of `host`; null where an operator fenced it instead. */
  async insist<T>(host: HostId, ask: () => Promise<T>, { whenSilent = () => undefined, answers = [], doubt = null }: Insistence = {}): Promise<T | null> {
    const wait: Wait = { host, asking: new CancellationScope(), isSilent: false, doubt, attempt: null };
    this.wait = wait;
    const askLater = async () => {
      await sleep(LIMITS.askAgain);
      return ask();
    };
    if (doubt) this.noteSilence(wait, whenSilent);
    let asked = wait.asking.run(doubt ? askLater : ask);
    const clock = new CancellationScope();
    const silence = clock.run(() => sleep(LIMITS.silence));
    silence.then(() => this.noteSilence(wait, whenSilent), () => undefined);
    try {
      for (;;) {
        try {
          return await asked;
        } catch (error) {
          if (!isOfActivity(error)) throw error;
          const failures = failuresOf(error, 'it was cancelled');
          if (isAnswer(error) && failures.every(({ code }) => answers.includes(code))) throw error;
          if (wait.attempt && !isAnswer(error)) return this.take(wait.attempt);
          refuseAttempt(wait);
          wait.doubt = failures[0];
          this.noteSilence(wait, whenSilent);
        }
        // The scope of the question may be cancelled, by a fence that was refused.
        wait.asking = new CancellationScope();
        asked = wait.asking.run(askLater);
      }
    } finally {
      refuseAttempt(wait);
      this.wait = null;
      clock.cancel();
      this.onChange();
    }
  }

  private take(attempt: Attempt): null {
    attempt.end = 'taken';
    this.fences = [...this.fences, { ...attempt.fence, atMs: Date.now() }];
    return null;
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
   * Ends the wait for the named host, unless its answer is on its way, whatever it says: then FENCE_REFUSED, since a host that answers
   * is not powered off. That it falls silent with the question in hand is no answer.
   */
  private async fence(value: Envelope): Promise<void> {
    const fence = this.validate(value);
    const { host } = fence.document;
    await this.admit(host, value);
    const { wait } = this;
    if (!wait || wait.host !== host) throw refuse('NOTHING_TO_FENCE', { vm: this.order.vmId, host });
    // Of two who fence it at once the first is recorded; both hear what came of it.
    wait.attempt ??= { fence, end: null };
    const { attempt } = wait;
    wait.asking.cancel();
    await condition(() => attempt.end !== null);
    if (attempt.end === 'refused') throw refuse('FENCE_REFUSED', { vm: this.order.vmId, host });
  }

  private validate(value: Envelope): OpenedDocument<'korora/fence'> {
    const fence = openSigned('korora/fence', value);
    const { host, migrationId } = fence.document;
    if (migrationId !== this.order.migrationId) throw refuse('ORDER_INVALID', { problem: 'migrationId: it is of another move' });
    if (!this.wait?.isSilent || this.wait.host !== host) throw refuse('NOTHING_TO_FENCE', { vm: this.order.vmId, host });
    return fence;
  }
}

/** The host answered. It may be fenced another time. */
function refuseAttempt(wait: Wait): void {
  if (wait.attempt) wait.attempt.end ??= 'refused';
  wait.attempt = null;
}
