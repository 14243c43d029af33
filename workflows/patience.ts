/**
 * Waiting for a host that must answer, as long as it takes. Once it is silent people are told what to do. Only an
 * operator's fence ends a wait without an answer; a clock never does.
 */
import { CancellationScope, condition, isCancellation, setHandler, sleep } from '@temporalio/workflow';
import { parseDocument } from '../domain/documents.js';
import { failure, refuse } from '../domain/failures.js';
import { Fence, type FenceRecord } from '../domain/fence.js';
import type { HostId, VmId } from '../domain/ids.js';
import { refusing, toApplicationFailure } from './failures.js';
import { fenceUpdate } from './messages.js';

/** How long a host that must answer may be silent before people are told. */
const SILENT_AFTER = '5 s';

interface Wait {
  readonly host: HostId;
  readonly asking: CancellationScope;
  isSilent: boolean;
  fence: Fence | null;
  end: 'answered' | 'fenced' | null;
}

export class Patience {
  /** Oldest first. */
  readonly fences: FenceRecord[] = [];
  private wait: Wait | null = null;

  /** `onChange` is called whenever `nextAction` is another. */
  constructor(
    private readonly vmId: VmId,
    private readonly onChange: () => void,
  ) {
    setHandler(fenceUpdate, (fence) => this.fence(fence), { validator: refusing((fence: Fence) => this.validate(fence)) });
  }

  /** The one thing that people can do; null while nobody is silent. */
  get nextAction(): string | null {
    if (!this.wait?.isSilent) return null;
    const { host } = this.wait;
    return (
      `Bring the worker of ${host} back: the move waits for its answer, and nobody else can give it. ` +
      `Only if ${host} is powered off and stays so until its worker is started: \`korora fence ${this.vmId} --host ${host} --by NAME --reason TEXT\`.`
    );
  }

  isFenced(host: string): boolean {
    return this.fences.some((fence) => fence.host === host);
  }

  /** The answer of `host`; null where an operator fenced it instead. */
  async insist<T>(host: HostId, ask: () => Promise<T>, whenSilent: () => void = () => undefined): Promise<T | null> {
    const wait: Wait = { host, asking: new CancellationScope(), isSilent: false, fence: null, end: null };
    this.wait = wait;
    const answer = wait.asking.run(ask);
    const clock = new CancellationScope();
    const silence = clock.run(() => sleep(SILENT_AFTER));
    silence.then(
      () => {
        wait.isSilent = true;
        whenSilent();
        this.onChange();
      },
      () => undefined,
    );
    try {
      return await answer;
    } catch (error) {
      if (!wait.fence || !isCancellation(error)) throw error;
      wait.end = 'fenced';
      this.fences.push({ ...wait.fence, atMs: Date.now() });
      return null;
    } finally {
      wait.end ??= 'answered';
      this.wait = null;
      clock.cancel();
      this.onChange();
    }
  }

  /**
   * Ends the wait for the named host, unless its answer is on its way: then FENCE_REFUSED, since a host that answers
   * is not powered off.
   */
  private async fence(fence: Fence): Promise<void> {
    const { wait } = this;
    if (wait?.host !== fence.host) throw toApplicationFailure([failure('NOTHING_TO_FENCE', { vm: this.vmId, host: fence.host })]);
    wait.fence = fence;
    wait.asking.cancel();
    await condition(() => wait.end !== null);
    if (wait.end === 'answered') throw toApplicationFailure([failure('FENCE_REFUSED', { vm: this.vmId, host: fence.host })]);
  }

  private validate(value: Fence): void {
    const { host } = parseDocument(Fence, value, 'ORDER_INVALID');
    if (!this.wait?.isSilent || this.wait.host !== host) throw refuse('NOTHING_TO_FENCE', { vm: this.vmId, host });
  }
}
