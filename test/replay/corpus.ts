/**
 * The recorded histories as tests read them, and the worker that replays one with today's workflow code (dist/, as `npm run build`
 * made it). Encrypted ones are opened with the throw-away key beside them: it was made for the recording, is in Git on purpose, and
 * protects nothing.
 */
import { createSecretKey } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { DefaultLogger, type InjectedSinks, Worker, type WorkflowBundle, bundleWorkflowCode } from '@temporalio/worker';
import { type Recording, THROW_AWAY_KEY } from '../../infra/testbed/histories/recording.js';
import { createPayloadCodec, ENCRYPTED, forWorkflows } from '../../temporal/payload-codec.js';
import type { AnswerSinks } from './answering.js';

export const project = fileURLToPath(new URL('../../', import.meta.url));
export const place = join(project, 'test/replay');
const histories = join(place, 'histories');

export interface Recorded {
  readonly folder: string;
  readonly name: string;
  readonly recording: Recording;
}

export interface PayloadJson {
  readonly metadata: Readonly<Record<string, string>>;
  readonly data: string;
}

/** Oldest first. */
export const FOLDERS: readonly string[] = readdirSync(histories).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));

export const RECORDED: readonly Recorded[] = FOLDERS.flatMap((folder) =>
  readdirSync(join(histories, folder)).filter((file) => file.endsWith('.json')).map((file) => ({ folder, name: file.replace('.json', ''), recording: read(folder, file) })),
);

function read(folder: string, file: string): Recording {
  return JSON.parse(readFileSync(join(histories, folder, file), 'utf8')) as Recording;
}

/** A copy, to be changed. */
export function recordedAs(name: string): Recorded {
  const found = RECORDED.findLast((recorded) => recorded.name === name);
  if (!found) throw new Error(`no history is called ${name}: \`npm run histories\` records them`);
  return structuredClone(found);
}

/** The attributes that are of one kind of event, in every event of the history that has them. */
export function attributesOf<T>({ history }: Recording, kind: string): readonly T[] {
  return history.events.flatMap((event) => (event[kind] === undefined ? [] : [event[kind] as T]));
}

interface Started {
  readonly workflowId: string;
  readonly workflowType: { readonly name: string };
}

export function startOf(recording: Recording): Started {
  const [started] = attributesOf<Started>(recording, 'workflowExecutionStartedEventAttributes');
  if (!started) throw new Error('the history has no beginning');
  return started;
}

/** Every payload in it. */
export function payloadsIn(value: unknown): readonly PayloadJson[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('data' in value && typeof value.data === 'string' && 'metadata' in value) return [value as PayloadJson];
  return Object.values(value).flatMap(payloadsIn);
}

export function isEncrypted({ metadata }: PayloadJson): boolean {
  return Buffer.from(metadata['encoding'] ?? '', 'base64').toString() === ENCRYPTED;
}

/** The codec that the worker had which recorded it. */
function codecOf({ folder, recording }: Recorded): PayloadCodec {
  const file = join(histories, folder, THROW_AWAY_KEY);
  if (!existsSync(file) || !payloadsIn(recording.history).some(isEncrypted)) return createPayloadCodec([]);
  const [id = '', key = ''] = readFileSync(file, 'utf8').trim().split(' ');
  return createPayloadCodec([{ id, key: createSecretKey(Buffer.from(key, 'base64')) }]);
}

/** What is in a payload of it, in clear. */
export async function textOf(recorded: Recorded, { metadata, data }: PayloadJson): Promise<string> {
  const bytes = Object.fromEntries(Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text, 'base64')]));
  const context: SerializationContext = { type: 'workflow', namespace: 'default', workflowId: startOf(recorded.recording).workflowId };
  const [payload]: Payload[] = await codecOf(recorded).decode([{ metadata: bytes, data: Buffer.from(data, 'base64') }], context);
  return Buffer.from(payload?.data ?? []).toString('utf8');
}

const dist = (file: string) => join(project, 'dist', file);

/** As a control worker's bundle is made (infra/setup/finish-build.mjs), and who asks the queries in it. */
export function bundleThatAnswers(): Promise<WorkflowBundle> {
  return bundleWorkflowCode({
    workflowsPath: dist('workflows/index.js'),
    workflowInterceptorModules: [dist('workflows/refusals.js'), join(place, 'answering.ts')],
    failureConverterPath: dist('temporal/failure-converter.cjs'),
    logger: new DefaultLogger('ERROR'),
  });
}

/** What it answers at its end. Throws where today's code would not do what the history says. */
export async function replay(workflowBundle: WorkflowBundle, recorded: Recorded): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  const sinks: InjectedSinks<AnswerSinks> = {
    answers: {
      told: {
        callDuringReplay: true,
        fn: (_, query, answer) => {
          answers[query] = JSON.parse(answer) as unknown;
        },
      },
    },
  };
  const { history } = recorded.recording;
  const dataConverter = { payloadCodecs: [forWorkflows(codecOf(recorded))] };
  await Worker.runReplayHistory({ workflowBundle, sinks, dataConverter }, history, startOf(recorded.recording).workflowId);
  return answers;
}
