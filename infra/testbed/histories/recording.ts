/**
 * One workflow as a replay test needs it: its history, and what it answered to queries when it had ended. Identities, stack
 * traces and the places of files are left out, also where they are payloads; nothing of that matters to a replay.
 */
import { type Client, QueryNotRegisteredError } from '@temporalio/client';
import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import * as messages from '../../../workflows/messages.js';

export interface Recording {
  /** By the name of the query; empty where the workflow has none. */
  readonly answers: Readonly<Record<string, unknown>>;
  readonly history: { readonly events: readonly Readonly<Record<string, unknown>>[] };
}

/** Records the newest run of a workflow under a name of the corpus. */
export type Take = (name: string, workflowId: string) => Promise<void>;

/** Beside the histories of a folder: the key of those that are encrypted. It has never been a key of anything else, so it is no secret. */
export const THROW_AWAY_KEY = 'throw-away.payload-key';

/** As the SDK makes them: a process and the name of its machine. */
export const IDENTITY = /\b\d+@[a-z0-9]/i;

export const QUERIES = Object.values(messages).flatMap((message) => (message.type === 'query' ? [message.name] : []));
export const UPDATES = Object.values(messages).flatMap((message) => (message.type === 'update' ? [message.name] : []));

/** Of a workflow that has ended. */
export async function recordingOf(client: Client, workflowId: string): Promise<Recording> {
  const handle = client.workflow.getHandle(workflowId);
  const { status } = await handle.describe();
  if (status.name === 'RUNNING') throw new Error(`${workflowId} has not ended: what it answers is not its last word`);
  const answers: Record<string, unknown> = {};
  for (const query of QUERIES) {
    try {
      answers[query] = await handle.query(query);
    } catch (error) {
      if (!(error instanceof QueryNotRegisteredError)) throw error;
    }
  }
  const context: SerializationContext = { type: 'workflow', namespace: client.options.namespace, workflowId };
  const history = JSON.parse(historyToJSON(await handle.fetchHistory())) as Recording['history'];
  return { answers, history: (await withoutPlaces(history, '', payloadsOf(client.options.loadedDataConverter.payloadCodecs, context))) as Recording['history'] };
}

/** Reads and writes the JSON in a payload, through the codecs that it came by. */
interface Payloads {
  read(payload: PayloadJson): Promise<Record<string, unknown>>;
  write(value: Readonly<Record<string, unknown>>): Promise<PayloadJson>;
}

interface PayloadJson {
  readonly metadata: Readonly<Record<string, string>>;
  readonly data: string;
}

function payloadsOf(codecs: readonly PayloadCodec[], context: SerializationContext): Payloads {
  return {
    async read({ metadata, data }) {
      let payloads: Payload[] = [{ metadata: mapped(metadata, (text) => Buffer.from(text, 'base64')), data: Buffer.from(data, 'base64') }];
      for (const codec of codecs.toReversed()) payloads = await codec.decode(payloads, context);
      return JSON.parse(Buffer.from(payloads[0]?.data ?? []).toString('utf8')) as Record<string, unknown>;
    },
    async write(value) {
      let payloads: Payload[] = [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from(JSON.stringify(value)) }];
      for (const codec of codecs) payloads = await codec.encode(payloads, context);
      const { metadata, data } = payloads[0] ?? {};
      return { metadata: mapped(metadata ?? {}, base64), data: base64(data ?? new Uint8Array()) };
    },
  };
}

async function withoutPlaces(value: unknown, key: string, payloads: Payloads): Promise<unknown> {
  if (key === 'identity') return 'recorded';
  if (key === 'stackTrace') return '';
  // The text of a failure is a payload (temporal/failure-converter.cjs).
  if (key === 'encodedAttributes') return payloads.write({ ...(await payloads.read(value as PayloadJson)), stack_trace: '' });
  // The name of a sticky queue is the identity of a worker.
  if (typeof value === 'string' && IDENTITY.test(value)) return 'recorded';
  if (Array.isArray(value)) return Promise.all(value.map((one) => withoutPlaces(one, '', payloads)));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([name, one]) => [name, await withoutPlaces(one, name, payloads)])));
}

function mapped<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
