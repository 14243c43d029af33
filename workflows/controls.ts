/**
 * What people tell a running copy: hold it, let it go on, approve the move. Each is done on the source before it is
 * answered. A move that was ordered with approval is held until it is approved; an operator's own hold comes on top.
 */
import { setHandler } from '@temporalio/workflow';
import { Approval, type ApprovalRecord } from '../domain/approval.js';
import { failure } from '../domain/failures.js';
import type { Order } from '../domain/order.js';
import type { Hold } from '../domain/status.js';
import type { Phase } from '../domain/steps.js';
import { toApplicationFailure } from './failures.js';
import { approveUpdate, setHeldUpdate } from './messages.js';

interface ControlParts {
  readonly order: Order;
  readonly phase: () => Phase;
  /** Tells the source. */
  readonly hold: (isHeld: boolean) => Promise<Hold>;
  /** Called whenever `awaits` or `nextAction` is another. */
  readonly onChange: () => void;
}

export class Controls {
  /** Who approved; null before, and where the order asks for none. */
  approval: ApprovalRecord | null = null;
  private isHeldByOperator = false;

  constructor(private readonly parts: ControlParts) {
    setHandler(approveUpdate, (approval) => this.approve(approval), { validator: (approval) => this.validateApproval(approval) });
    setHandler(setHeldUpdate, ({ isHeld }) => this.setHeld(isHeld), { validator: ({ isHeld }) => this.validateHold(isHeld) });
  }

  get awaits(): 'approval' | null {
    const { order, phase } = this.parts;
    return order.requiresApproval && this.approval === null && phase() === 'copying' ? 'approval' : null;
  }

  get isHeld(): boolean {
    return this.parts.phase() === 'copying' && this.wantsHold;
  }

  /** Null where nobody need do anything. */
  get nextAction(): string | null {
    const { vmId } = this.parts.order;
    if (this.awaits) return `Approve the move: korora approve ${vmId} --by NAME.`;
    return this.isHeld ? `Let the copy go on: korora continue ${vmId}.` : null;
  }

  private get wantsHold(): boolean {
    return this.isHeldByOperator || (this.parts.order.requiresApproval && this.approval === null);
  }

  private async approve({ by, reason }: Approval): Promise<void> {
    // At once, so that a second one is refused.
    this.approval = { by, atMs: Date.now(), reason: reason ?? null };
    try {
      await this.follow();
    } catch (error) {
      this.approval = null;
      throw error;
    } finally {
      this.parts.onChange();
    }
  }

  private async setHeld(isHeld: boolean): Promise<Hold> {
    const before = this.isHeldByOperator;
    this.isHeldByOperator = isHeld;
    try {
      return await this.follow();
    } catch (error) {
      this.isHeldByOperator = before;
      throw error;
    } finally {
      this.parts.onChange();
    }
  }

  private follow(): Promise<Hold> {
    return this.parts.hold(this.wantsHold);
  }

  private validateApproval(value: Approval): void {
    const parsed = Approval.safeParse(value);
    if (!parsed.success) throw toApplicationFailure([failure('ORDER_INVALID', { problem: parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ') })]);
    const { order, phase } = this.parts;
    if (!this.awaits) throw toApplicationFailure([failure('NOTHING_TO_APPROVE', { vm: order.vmId, phase: phase() })]);
  }

  private validateHold(isHeld: unknown): void {
    if (typeof isHeld !== 'boolean') throw toApplicationFailure([failure('ORDER_INVALID', { problem: 'isHeld: true or false' })]);
    const { order, phase } = this.parts;
    if (phase() !== 'copying') throw toApplicationFailure([failure('NOT_COPYING', { vm: order.vmId, phase: phase() })]);
  }
}
