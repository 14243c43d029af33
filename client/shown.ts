/** What somebody is shown before it is signed in his name: the document, whole, and what it rests on, proven by signatures. */
import type { CopyLimits } from '../domain/progress.js';
import type { Approval, Fence, LimitsChange, Order, Reinstatement, StartOrder } from '../domain/order.js';
import type { OwnershipRecord } from '../domain/ownership.js';
import type { ShownLedger } from '../domain/survey.js';
import type { VmDocument } from '../domain/vm.js';

type Subject =
  | { readonly kind: 'korora/order'; readonly document: Order; readonly vm: VmDocument }
  | { readonly kind: 'korora/start'; readonly document: StartOrder; readonly vm: VmDocument }
  | { readonly kind: 'korora/approval'; readonly document: Approval; readonly order: Order; readonly vm: VmDocument }
  | { readonly kind: 'korora/limits'; readonly document: LimitsChange; readonly order: Order; readonly before: CopyLimits }
  /** `order`: of the move that waits; null where its workflow is gone, and the source's `record` says that it waits. */
  | { readonly kind: 'korora/fence'; readonly document: Fence; readonly order: Order | null; readonly record: OwnershipRecord | null }
  | { readonly kind: 'korora/reinstatement'; readonly document: Reinstatement; readonly ledger: ShownLedger };

/** `signedBy`: operators who signed it before. */
export type Shown = Subject & { readonly signedBy: readonly string[] };

/** Whether it is to be signed. */
export type Confirm = (shown: Shown) => Promise<boolean>;
