/** What whoever owns Temporal has: every argument and answer that ever went through it, every order that operators signed, and what is inside of them. */
import { readEnvelope } from '../../../domain/envelope.js';
import { Order } from '../../../domain/order.js';

export interface Heard {
  readonly host: string;
  readonly activity: string;
  readonly argument: unknown;
}

/** A move as an order shows it. */
export interface KnownMove extends Pick<Order, 'vmId' | 'migrationId' | 'epoch' | 'source' | 'destination'> {
  readonly envelope: unknown;
}

/** Of each member name the newest are kept. */
const KEPT = 24;

export class Loot {
  readonly heard: Heard[] = [];
  readonly moves: KnownMove[] = [];
  /** Values by the name of the member that held them, newest last. */
  readonly #values = new Map<string, Map<string, unknown>>();

  copy(): Loot {
    const copy = new Loot();
    copy.heard.push(...this.heard);
    copy.moves.push(...this.moves);
    for (const [name, values] of this.#values) copy.#values.set(name, new Map(values));
    return copy;
  }

  asked(host: string, activity: string, argument: unknown): void {
    this.heard.push({ host, activity, argument });
    this.#look(argument, 0);
  }

  answered(answer: unknown): void {
    this.#look(answer, 0);
  }

  /** Newest first. */
  valuesOf(name: string): readonly unknown[] {
    return [...(this.#values.get(name)?.values() ?? [])].reverse();
  }

  get names(): readonly string[] {
    return [...this.#values.keys()];
  }

  #look(value: unknown, depth: number): void {
    if (typeof value !== 'object' || value === null || depth > 8) return;
    for (const [name, member] of Object.entries(value)) {
      if (!Array.isArray(value)) this.#keep(name, member);
      this.#look(member, depth + 1);
    }
    const order = 'payload' in value ? openOrder(value) : null;
    if (order && !this.moves.some(({ migrationId }) => migrationId === order.migrationId)) this.moves.push({ ...order, envelope: value });
  }

  #keep(name: string, member: unknown): void {
    const values = this.#values.get(name) ?? new Map<string, unknown>();
    const text = JSON.stringify(member) ?? '';
    if (text.length > 100_000) return;
    values.delete(text);
    values.set(text, member);
    const [oldest] = values.keys();
    if (values.size > KEPT && oldest !== undefined) values.delete(oldest);
    this.#values.set(name, values);
  }
}

function openOrder(value: object): Order | null {
  const opened = readEnvelope(Order, 'korora/order', value);
  return 'document' in opened ? opened.document : null;
}
