/**
 * What people tell a running copy: other limits, hold it, let it go on, approve the move. Each is done on the source before it is
 * answered; what the source did not confirm may be said again. A move that was ordered with approval is held until it is approved; an operator's own hold comes on top.
 */
import { setHandler } from '@temporalio/workflow';
import { type OpenedDocument, openSigned } from '../domain/authority.js';
import { canonicalJson } from '../domain/canonical.js';
import type { Envelope } from '../domain/envelope.js';
import type { SaidRecord } from '../domain/evidence.js';
import { refuse } from '../domain/failures.js';
import type { Order } from '../domain/order.js';
import type { CopyLimits } from '../domain/progress.js';
import type { Hold } from '../domain/status.js';
import type { Phase } from '../domain/steps.js';
import { isRefusal } from './failures.js';
import { approveUpdate, setHeldUpdate, setLimitsUpdate } from './messages.js';

interface ControlParts {
  readonly order: Order;
  readonly phase: () => Phase;
  /** Tell the source. */
  readonly hold: (isHeld: boolean, approval: Envelope | null) => Promise<Hold>;
  readonly tune: (change: Envelope) => Promise<void>;
  /** Called whenever `awaits` or `nextAction` is another. */
  readonly onChange: () => void;
}

export class Controls {
  /** That the source was told of; null before, and where the order asks for none. */
  approval: SaidRecord | null = null;
  readonly limitsChanges: SaidRecord[] = [];
  limits: CopyLimits;
  private isHeldByOperator = false;
  private isApprovalUnconfirmed = false;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: ControlParts) {
    this.limits = parts.order.limits;
    setHandler(approveUpdate, (approval) => this.approve(approval), { validator: (approval) => this.validateApproval(approval) });
    setHandler(setHeldUpdate, ({ isHeld }) => this.setHeld(isHeld), { validator: ({ isHeld }) => this.validateHold(isHeld) });
    setHandler(setLimitsUpdate, (change) => this.setLimits(change), { validator: (change) => this.validateLimits(change) });
  }

  get awaits(): 'approval' | null {
    const { order, phase } = this.parts;
    return order.requiresApproval && (this.approval === null || this.isApprovalUnconfirmed) && phase() === 'copying' ? 'approval' : null;
  }

  /** The last that the source took. */
  get limitsChange(): Envelope | null {
    return this.limitsChanges.at(-1)?.envelope ?? null;
  }

  get isHeld(): boolean {
    return this.parts.phase() === 'copying' && this.wantsHold;
  }

  /** Null where nobody need do anything. */
  get nextAction(): string | null {
    const { vmId } = this.parts.order;
    if (this.awaits) return `Approve the move: \`korora approve ${vmId}\`.`;
    return this.isHeld ? `Let the copy go on: \`korora continue ${vmId}\`.` : null;
  }

  private get wantsHold(): boolean {
    return this.isHeldByOperator || (this.parts.order.requiresApproval && this.approval === null);
  }

  /**
   * Kept, also where the source did not confirm it: it may have heard all the same. Then it may be said again. An approval that the
   * source refuses is none.
   */
  private async approve(envelope: Envelope): Promise<void> {
    this.approval = { envelope, atMs: Date.now() };
    this.isApprovalUnconfirmed = false;
    try {
      await this.follow();
    } catch (error) {
      if (isRefusal(error)) this.approval = null;
      else this.isApprovalUnconfirmed = true;
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
    const told = this.turn.then(() => this.parts.hold(this.wantsHold, this.approval?.envelope ?? null)).finally(this.parts.onChange);
    this.turn = told.catch(() => undefined);
    return told;
  }

  private async setLimits(envelope: Envelope): Promise<CopyLimits> {
    const { limits } = openSigned('korora/limits', envelope).document;
    await this.parts.tune(envelope);
    this.limits = limits;
    this.limitsChanges.push({ envelope, atMs: Date.now() });
    return limits;
  }

  private validateApproval(value: Envelope): void {
    this.openOfThisMove('korora/approval', value);
    const { order, phase } = this.parts;
    if (!this.awaits) throw refuse('NOTHING_TO_APPROVE', { vm: order.vmId, phase: phase() });
  }

  private validateHold(isHeld: unknown): void {
    if (typeof isHeld !== 'boolean') throw refuse('ORDER_INVALID', { problem: 'isHeld: true or false' });
    this.mustBeCopying();
  }

  private validateLimits(value: Envelope): void {
    const { limits } = this.openOfThisMove('korora/limits', value);
    // QEMU takes that wish only before a copy begins.
    const isOther = canonicalJson(limits.autoConverge) !== canonicalJson(this.limits.autoConverge);
    if (isOther) throw refuse('LIMITS_INVALID', { problem: 'autoConverge: only the order of a move can say it' });
    this.mustBeCopying();
  }

  private openOfThisMove<K extends 'korora/approval' | 'korora/limits'>(kind: K, value: Envelope): OpenedDocument<K>['document'] {
    const { document } = openSigned(kind, value);
    if (document.migrationId !== this.parts.order.migrationId) throw refuse('ORDER_INVALID', { problem: 'migrationId: it is of another move' });
    return document;
  }

  private mustBeCopying(): void {
    const { order, phase } = this.parts;
    if (phase() !== 'copying') throw refuse('NOT_COPYING', { vm: order.vmId, phase: phase() });
  }
}
