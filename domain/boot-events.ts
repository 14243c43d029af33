/**
 * What a host measured while it booted, event by event, and why a PCR has another value than the reference: for people. Nothing is accepted or
 * refused by it. Events are compared by their digests and the order of these, which a PCR value proves; what a log says beside that, an event's
 * type above all, is its own word. Pure; the log itself is parsed in tpm/.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { z } from 'zod';
import { Base64, Sha256Hex } from './ids.js';

/** Two logs must fit into one payload of Temporal, beside all else that an evidence file holds. */
export const EVENT_LOG_BYTES_MAX = 256 * 1024;
export const BOOT_EVENTS_MAX = 4096;
const WHAT_MAX = 100;
/** How many differences of one PCR are told; the others are counted. */
const TOLD_MAX = 4;

/** The log as the firmware wrote it, base64. */
export const EventLog = Base64.max(4 * Math.ceil(EVENT_LOG_BYTES_MAX / 3));

export const BootEvent = z.strictObject({
  pcr: z.int().min(0).max(23),
  /** As the log calls it; a number where the specification has no name. */
  type: z.string().regex(/^(?:EV_[A-Z0-9_]{1,40}|0x[0-9a-f]{8})$/, 'the name of an event type, or its number in hex'),
  /** What was extended into the PCR. */
  digest: Sha256Hex,
  /** The event's data in short; made by `plainText`. */
  what: z.string().max(WHAT_MAX).regex(/^[A-Za-z0-9 ._:\-\\/,=+()?]*$/, 'plain text'),
  /** Whether `digest` is the digest of these data: then the PCR value proves them as well. */
  isDataMeasured: z.boolean(),
});
export type BootEvent = Readonly<z.infer<typeof BootEvent>>;

/** A log as it was read: the events that were extended, in their order. */
export interface BootLog {
  /** The locality of TPM2_Startup, from which PCR 0 has its first value. */
  readonly startupLocality: number;
  readonly events: readonly BootEvent[];
}

/** What a host shows of its boot: a log, why it cannot be read, or nothing. */
export type ShownLog = BootLog | { readonly problem: string } | null;

/** Where a TPM may be started (PC Client Platform TPM Profile); 4 stands for an H-CRTM. */
export const STARTUP_LOCALITIES: readonly number[] = [0, 3, 4];

/** The value that a PCR of the SHA-256 bank has after these events. */
export function replay({ startupLocality, events }: BootLog, pcr: number): Sha256Hex {
  return events.filter((event) => event.pcr === pcr).reduce((value, { digest }) => bytesToHex(sha256(hexToBytes(value + digest))), firstValue(pcr, startupLocality));
}

/** PCRs 17 to 22 belong to a dynamic launch, and say that there was none. */
function firstValue(pcr: number, startupLocality: number): Sha256Hex {
  if (pcr >= 17 && pcr <= 22) return 'ff'.repeat(32);
  return (pcr === 0 ? startupLocality : 0).toString(16).padStart(64, '0');
}

/** The events of those PCRs that the log adds up to: of the others it tells nothing. */
export function eventsBehind(log: BootLog, pcrValues: Readonly<Record<string, string>>): readonly BootEvent[] {
  return log.events.filter(({ pcr }) => replay(log, pcr) === pcrValues[pcr]);
}

export interface Difference {
  readonly pcr: number;
  readonly value: string | undefined;
  readonly log: ShownLog;
  readonly reference: { readonly value: string | undefined; readonly events: readonly BootEvent[] | null };
}

/** In words, for a PCR whose value is not that of the reference. */
export function explainDifference({ pcr, value, log, reference }: Difference): string {
  if (log === null) return 'the host showed no event log';
  if ('problem' in log) return `the host’s event log cannot be read: ${log.problem}`;
  if (replay(log, pcr) !== value) return 'the host’s event log does not add up to its value';
  const { events } = reference;
  const isKept = events !== null && STARTUP_LOCALITIES.some((startupLocality) => replay({ startupLocality, events }, pcr) === reference.value);
  if (!isKept) return 'no event log is kept for the reference';
  const [own, kept] = [log.events, events].map((all) => all.filter((event) => event.pcr === pcr)) as [BootEvent[], BootEvent[]];
  return differencesOf(pcr, own, kept);
}

function differencesOf(pcr: number, own: readonly BootEvent[], kept: readonly BootEvent[]): string {
  const found = [
    ...surplus(own, kept).map(({ at, event }) => ({ at, text: `event ${at} of PCR ${pcr} is new: ${told(event)}` })),
    ...surplus(kept, own).map(({ at, event }) => ({ at, text: `event ${at} of the reference is missing: ${told(event)}` })),
  ].sort((a, b) => a.at - b.at);
  if (found.length > 0) {
    const more = found.length - TOLD_MAX;
    return found.slice(0, TOLD_MAX).map(({ text }) => text).join('; ') + (more > 0 ? `; and ${more} more` : '');
  }
  const at = own.findIndex(({ digest }, i) => digest !== kept[i]?.digest);
  if (at >= 0) return `the events of PCR ${pcr} are those of the reference, from event ${at + 1} on in another order`;
  return `the events of PCR ${pcr} are those of the reference; the host’s TPM was started at another locality`;
}

/** What `others` has less often; `at`: counted from 1. */
function surplus(events: readonly BootEvent[], others: readonly BootEvent[]): { readonly at: number; readonly event: BootEvent }[] {
  const left = new Map<string, number>();
  for (const { digest } of others) left.set(digest, (left.get(digest) ?? 0) + 1);
  return events.flatMap((event, i) => {
    const count = left.get(event.digest) ?? 0;
    left.set(event.digest, count - 1);
    return count > 0 ? [] : [{ at: i + 1, event }];
  });
}

function told({ type, what, isDataMeasured, digest }: BootEvent): string {
  return `${type}, ${what} (${isDataMeasured ? 'measured' : 'by the log’s word'}; SHA-256 ${digest.slice(0, 16)}…)`;
}

/** A foreign text as it may stand on a terminal and in Markdown: what is no letter, digit or harmless sign becomes "?", and nothing becomes a link. */
export function plainText(text: string): string {
  const plain = text.replace(/[^A-Za-z0-9 ._:\-\\/,=+()]|:(?=\/\/)|(?<=www)\./gi, '?');
  return plain.length > WHAT_MAX ? `${plain.slice(0, WHAT_MAX - 3)}...` : plain;
}
