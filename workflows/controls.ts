/**
 * What people tell a running copy: other limits, hold it, let it go on, approve the move. Each is done on the source before it is
 * answered; what the source did not confirm may be said again. A move that was ordered with approval is held until it is approved; an operator's own hold comes on top.
 */
import { setHandler } from '@temporalio/workflow';
import { Approval, type ApprovalRecord } from '../domain/approval.js';
import { parseDocument } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import type { Order } from '../domain/order.js';
import { CopyLimits } from '../domain/progress.js';
import type { Hold } from '../domain/status.js';
import type { Phase } from '../domain/steps.js';
import { refusing } from './failures.js';
import { approveUpdate, setHeldUpdate, setLimitsUpdate } from './messages.js';

interface ControlParts {
  readonly order: Order;
  readonly phase: () => Phase;
  /** Tell the source. */
  readonly hold: (isHeld: boolean) => Promise<Hold>;
  readonly tune: (limits: CopyLimits) => Promise<void>;
  /** Called whenever `awaits` or `nextAction` is another. */
  readonly onChange: () => void;
}

export class Controls {
  /** Who approved; null before, and where the order asks for none. */
  approval: ApprovalRecord | null = null;
  limits: CopyLimits;
  private isHeldByOperator = false;
  private isApprovalUnconfirmed = false;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: ControlParts) {
    this.limits = parts.order.limits;
    setHandler(approveUpdate, (approval) => this.approve(approval), { validator: refusing((approval: Approval) => this.validateApproval(approval)) });
    setHandler(setHeldUpdate, ({ isHeld }) => this.setHeld(isHeld), { validator: refusing(({ isHeld }) => this.validateHold(isHeld)) });
    setHandler(setLimitsUpdate, (change) => this.setLimits(change), { validator: refusing((change: Partial<CopyLimits>) => this.validateLimits(change)) });
  }

  get awaits(): 'approval' | null {
    const { order, phase } = this.parts;
    return order.requiresApproval && (this.approval === null || this.isApprovalUnconfirmed) && phase() === 'copying' ? 'approval' : null;
  }

  get isHeld(): boolean {
    return this.parts.phase() === 'copying' && this.wantsHold;
  }

  /** Null where nobody need do anything. */
  get nextAction(): string | null {
    const { vmId } = this.parts.order;
    if (this.awaits) return `Approve the move: \`korora approve ${vmId} --by NAME\`.`;
    return this.isHeld ? `Let the copy go on: \`korora continue ${vmId}\`.` : null;
  }

  private get wantsHold(): boolean {
    return this.isHeldByOperator || (this.parts.order.requiresApproval && this.approval === null);
  }

  /** Recorded at once and for good, also where the source did not confirm it: it may have heard all the same. Then it may be said again. */
  private async approve({ by, reason }: Approval): Promise<void> {
    this.approval = { by, atMs: Date.now(), reason: reason ?? null };
    this.isApprovalUnconfirmed = false;
    try {
      await this.follow();
    } catch (error) {
      this.isApprovalUnconfirmed = true;
      throw error;
    }
  }

  /** A wish stays where the source did not confirm it, so that a copy which is held without a word shows. */
  private setHeld(isHeld: boolean): Promise<Hold> {
    this.isHeldByOperator = isHeld;
    return this.follow();
  }

  /** One after the other, each with the newest wish: the source is never left with an older one. */
  private follow(): Promise<Hold> {
    const told = this.turn.then(() => this.parts.hold(this.wantsHold)).finally(this.parts.onChange);
    this.turn = told.catch(() => undefined);
    return told;
  }

  private async setLimits(change: Partial<CopyLimits>): Promise<CopyLimits> {
    const next = { ...this.limits, ...change };
    await this.parts.tune(next);
    this.limits = next;
    return next;
  }

  private validateApproval(value: Approval): void {
    parseDocument(Approval, value, 'ORDER_INVALID');
    const { order, phase } = this.parts;
    if (!this.awaits) throw refuse('NOTHING_TO_APPROVE', { vm: order.vmId, phase: phase() });
  }

  private validateHold(isHeld: unknown): void {
    if (typeof isHeld !== 'boolean') throw refuse('ORDER_INVALID', { problem: 'isHeld: true or false' });
    this.mustBeCopying();
  }

  private validateLimits(change: Partial<CopyLimits>): void {
    parseDocument(CopyLimits, { ...this.limits, ...change }, 'LIMITS_INVALID');
    // QEMU takes that wish only before a copy begins.
    if (change.autoConverge !== undefined) throw refuse('LIMITS_INVALID', { problem: 'autoConverge: only the order of a move can say it' });
    this.mustBeCopying();
  }

  private mustBeCopying(): void {
    const { order, phase } = this.parts;
    if (phase() !== 'copying') throw refuse('NOT_COPYING', { vm: order.vmId, phase: phase() });
  }
}
