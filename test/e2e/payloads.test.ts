/**
 * What passes between workers, clients and the real Temporal server, over mutual TLS: who gets in, what Temporal sees of
 * every kind of payload, and what becomes of one that was moved, kept plain, or made with another key.
 */
import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Context } from '@temporalio/activity';
import { type Client, type WorkflowHandle, WorkflowUpdateFailedError } from '@temporalio/client';
import type { PayloadCodec, Workflow } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkflowBundle, bundleWorkflowCode } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectClient } from '../../cli/context.js';
import { fromTemporal } from '../../client/errors.js';
import { KororaError } from '../../domain/failures.js';
import { type Authority, makeAuthority } from '../../infra/testbed/certificates.js';
import { built } from '../../infra/testbed/faults/built.js';
import { type TemporalFront, startTemporalFront } from '../../infra/testbed/temporal-front.js';
import { answered, until } from '../../infra/testbed/until.js';
import { type TemporalServer, startTemporalServer } from '../../infra/temporal/start-server.mjs';
import { forWorkflows } from '../../temporal/payload-codec.js';
import { connectionOptionsOf, readTemporalPlace } from '../../temporal/place.js';
import { Forms } from '../support/secret-search.js';
import { type asks, type fails, heard, type listens, saying, telling } from '../support/payload-workflows.js';
import { newRoot, partsFromEnvironment } from './support.js';

/** Stands for all that an operator would rather not tell Temporal. */
const WORD = `canary-${randomUUID()}`;
const canary = new Forms('the word', Buffer.from(WORD));

let root: string;
let server: TemporalServer;
let front: TemporalFront;
let authority: Authority;
let environment: Record<string, string>;
let client: Client;
let keyless: Client;
let strangers: Client;
let workflowBundle: WorkflowBundle;
/** What `echo` waits for. */
let gate = Promise.resolve();
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  root = await newRoot();
  const { temporalBinary } = partsFromEnvironment();
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
  const bundling = bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../support/payload-workflows.ts', import.meta.url)),
    workflowInterceptorModules: [fileURLToPath(new URL('../../workflows/refusals.ts', import.meta.url))],
    failureConverterPath: fileURLToPath(new URL('../../temporal/failure-converter.cjs', import.meta.url)),
    logger: new DefaultLogger('ERROR', () => undefined),
  });
  [server, authority] = await Promise.all([startTemporalServer({ binary: temporalBinary, ui: false, logFile: join(root, 'temporal.log') }), makeAuthority(join(root, 'ca'))]);
  front = await startTemporalFront({ server: server.address, certificate: await authority.issue('temporal'), clientAuthority: authority.certificate });
  await Promise.all([keyFile('payload.keys', 'one'), keyFile('other.keys', 'two')]);
  environment = await environmentOf(authority);
  [client, keyless, strangers] = await Promise.all(['payload.keys', '', 'other.keys'].map((name) => clientWith({ ...environment, KORORA_PAYLOAD_KEY: name && join(root, name) }))) as [Client, Client, Client];
  workflowBundle = await bundling;
  await Promise.all([startWorker('workflows'), startWorker('answers')]);
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  await front?.close();
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

async function keyFile(name: string, id: string): Promise<void> {
  await writeFile(join(root, name), `${id} ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
}

async function environmentOf(issuer: Authority): Promise<Record<string, string>> {
  const { certificate, key } = await issuer.issue('client');
  return {
    TEMPORAL_ADDRESS: front.address,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: authority.certificate,
    TEMPORAL_TLS_CLIENT_CERT_PATH: certificate,
    TEMPORAL_TLS_CLIENT_KEY_PATH: key,
    KORORA_PAYLOAD_KEY: join(root, 'payload.keys'),
  };
}

async function clientWith(variables: Readonly<Record<string, string>>): Promise<Client> {
  const made = await connectClient(await readTemporalPlace(variables));
  ends.push(() => made.connection.close());
  return made;
}

/** A worker with the workflows and `echo`. `change`: what somebody else would have made of its codec. Returns its end. */
async function startWorker(taskQueue: string, change: (codec: PayloadCodec) => PayloadCodec = (codec) => codec, variables = environment): Promise<() => Promise<void>> {
  const place = await readTemporalPlace(variables);
  const connection = await NativeConnection.connect(connectionOptionsOf(place));
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowBundle,
    dataConverter: { ...place.dataConverter, payloadCodecs: (place.dataConverter.payloadCodecs ?? []).map(forWorkflows).map(change) },
    activities: {
      echo: async (word: string) => {
        Context.current().heartbeat({ word });
        await gate;
        return { said: word };
      },
    },
  });
  const running = worker.run();
  const end = async () => {
    if (worker.getState() !== 'RUNNING') return;
    worker.shutdown();
    await running;
    await connection.close();
  };
  ends.push(end);
  return end;
}

const eventsOf = async (handle: WorkflowHandle) => (await handle.fetchHistory()).events ?? [];
const endTold = async (handle: WorkflowHandle) => JSON.stringify((await eventsOf(handle)).slice(-3));
/** Its result, waited for no longer than a limit; past it, with the end of its history. */
const endOf = <T extends Workflow>(handle: WorkflowHandle<T>) => answered(`the end of ${handle.workflowId}`, handle.result(), { tell: () => endTold(handle) });

const codeOf = (asked: Promise<unknown>): Promise<string> =>
  answered('what is asked for', asked).then(
    () => 'done',
    (error: unknown) => {
      const told = fromTemporal(error, 'of-the-test');
      if (!(told instanceof KororaError)) throw told;
      return told.code;
    },
  );

const asking = (who: Client, taskQueue = 'workflows', workflowId = `asks-${randomUUID()}`) =>
  who.workflow.start<typeof asks>('asks', { taskQueue, workflowId, args: [{ taskQueue: 'answers', word: WORD }], staticSummary: WORD, memo: { WORD } });

/** The type of the failure that ended it, as Temporal has it. */
async function typeOfEnd({ workflowId }: WorkflowHandle): Promise<string | null | undefined> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return events?.at(-1)?.workflowExecutionFailedEventAttributes?.failure?.applicationFailureInfo?.type;
}

describe('TLS to Temporal', () => {
  /** `korora worker control`, which connects at once; what it fails with. */
  const workerCodes = (variables: Readonly<Record<string, string>>) =>
    new Promise<readonly string[]>((resolve, reject) => {
      execFile(process.execPath, [built('cli/main.js'), '--json', 'worker', 'control'], { cwd: root, env: { PATH: process.env['PATH'], ...variables }, timeout: 30_000 }, (error, stdout, stderr) => {
        if (!error) return reject(new Error('the worker ran'));
        const lines = stdout.trim();
        if (lines === '') return reject(new Error(`the worker said no code: ${stderr}`));
        resolve((JSON.parse(lines) as { failures: { code: string }[] }).failures.map(({ code }) => code));
      });
    });
  const clientCodes = async (variables: Readonly<Record<string, string>>) => [await codeOf(readTemporalPlace(variables).then(connectClient))];

  it('lets nobody in without a certificate of its CA, nobody takes a server of another CA, and each says so', async () => {
    const other = await makeAuthority(join(root, 'other-ca'));
    const without = Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('TEMPORAL_TLS_CLIENT_')));
    const stranger = await environmentOf(other);
    const elsewhere = { ...environment, TEMPORAL_TLS_SERVER_CA_CERT_PATH: other.certificate };
    const answers = await Promise.all([without, stranger, elsewhere].flatMap((variables) => [workerCodes(variables), clientCodes(variables)]));
    expect(answers).toEqual(Array(6).fill(['TEMPORAL_UNREACHABLE']));
  });

  it('names what is wrong with the configuration before it connects', async () => {
    const variables = { ...environment, TEMPORAL_TLS_CLIENT_KEY_PATH: join(root, 'none.key') };
    expect(await Promise.all([workerCodes(variables), clientCodes(variables)])).toEqual(Array(2).fill(['TEMPORAL_CONFIG_INVALID']));
    const unkeyed = { ...environment, KORORA_PAYLOAD_KEY: join(root, 'none.keys') };
    expect(await Promise.all([workerCodes(unkeyed), clientCodes(unkeyed)])).toEqual(Array(2).fill(['PAYLOAD_KEY_INVALID']));
  });
});

describe('with a payload key', () => {
  const hits = () => front.calls().filter(({ headers, messages }) => canary.isIn(Buffer.from(headers)) || messages.some((message) => canary.isIn(message))).map(({ method }) => method);

  it('Temporal sees no word of arguments, results, heartbeats, updates, queries, summaries, details, memos and failures', async () => {
    const before = front.calls().length;
    const asked = await asking(client);
    expect(await endOf(asked)).toEqual({ said: WORD });
    expect((await asked.describe()).memo).toEqual({ WORD });
    const listening = await client.workflow.start<typeof listens>('listens', { taskQueue: 'workflows', workflowId: `listens-${randomUUID()}` });
    expect(await listening.executeUpdate(saying, { args: [WORD] })).toBe(`heard ${WORD}`);
    expect(await listening.query(heard)).toEqual([WORD]);
    await listening.executeUpdate(telling, { args: ['end'] });
    expect(await endOf(listening)).toEqual([WORD, 'end']);
    await expect(client.workflow.execute<typeof fails>('fails', { taskQueue: 'workflows', workflowId: `fails-${randomUUID()}`, args: [WORD] })).rejects.toMatchObject({
      cause: { type: 'TEST', message: `it says ${WORD}`, details: [WORD], cause: { message: `because of ${WORD}` } },
    });
    await asked.fetchHistory();

    const passed = front.calls().slice(before);
    const methods = new Set(passed.map(({ method }) => method.split('/').at(-1)));
    for (const method of ['StartWorkflowExecution', 'RespondWorkflowTaskCompleted', 'RespondActivityTaskCompleted', 'UpdateWorkflowExecution', 'QueryWorkflow', 'GetWorkflowExecutionHistory']) expect(methods).toContain(method);
    expect(passed.reduce((sum, { messages }) => sum + messages.length, 0)).toBeGreaterThan(passed.length);
    expect(hits()).toEqual([]);
  });

  it('the search finds the word where it is sent, by a client and, compressed, by a worker', async () => {
    const connection = await NativeConnection.connect(connectionOptionsOf(await readTemporalPlace(environment)));
    await keyless.workflow.start('nobody', { taskQueue: 'nobody', workflowId: `nobody-${randomUUID()}`, args: [WORD] });
    expect(hits().map((method) => method.split('/').at(-1))).toEqual(['StartWorkflowExecution']);
    const { namespace } = client.options;
    const input = { payloads: [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from(JSON.stringify(WORD)) }] };
    await connection.workflowService.startWorkflowExecution({ namespace, requestId: randomUUID(), workflowId: `nobody-${randomUUID()}`, workflowType: { name: 'nobody' }, taskQueue: { name: 'nobody' }, input });
    await connection.close();
    expect(hits()).toHaveLength(2);
  });

  it('arguments that were made for another workflow end the new one', async () => {
    const asked = await asking(client);
    await endOf(asked);
    const { events } = await asked.fetchHistory();
    const { input, workflowType, taskQueue } = events?.[0]?.workflowExecutionStartedEventAttributes ?? {};
    const workflowId = `asks-${randomUUID()}`;
    const { namespace } = client.options;
    await client.workflowService.startWorkflowExecution({ namespace, requestId: randomUUID(), workflowId, workflowType: workflowType ?? null, taskQueue: { name: taskQueue?.name ?? '' }, input: input ?? null });
    expect(await codeOf(endOf(client.workflow.getHandle(workflowId)))).toBe('PAYLOAD_FOREIGN');
  });

  it('arguments of an activity that were made for another workflow are refused by its worker', async () => {
    await startWorker('confused', (codec) => ({
      ...codec,
      encode: (payloads, context) => codec.encode(payloads, context?.type === 'activity' ? { ...context, workflowId: 'another' } : context),
    }));
    expect(await endOf(await asking(client, 'confused'))).toEqual({ said: 'PAYLOAD_FOREIGN' });
  });

  it('a command without the key, or with another, ends as a refusal on both sides', async () => {
    const [plain, other] = [await asking(keyless), await asking(strangers)];
    expect(await codeOf(endOf(client.workflow.getHandle(plain.workflowId)))).toBe('PAYLOAD_NOT_ENCRYPTED');
    expect(await codeOf(endOf(client.workflow.getHandle(other.workflowId)))).toBe('PAYLOAD_KEY_UNKNOWN');
    expect([await typeOfEnd(plain), await typeOfEnd(other)]).toEqual(['PAYLOAD_NOT_ENCRYPTED', 'PAYLOAD_KEY_UNKNOWN']);
    expect([await codeOf(endOf(plain)), await codeOf(endOf(other))]).toEqual(['PAYLOAD_KEY_UNKNOWN', 'PAYLOAD_KEY_UNKNOWN']);
  });

  it('an update without the key is refused, and the workflow goes on', async () => {
    const listening = await client.workflow.start<typeof listens>('listens', { taskQueue: 'workflows', workflowId: `listens-${randomUUID()}` });
    const refused = await keyless.workflow.getHandle(listening.workflowId).executeUpdate(saying, { args: ['unheard'] }).catch((error: unknown) => error);
    expect(refused).not.toBeInstanceOf(WorkflowUpdateFailedError);
    expect(await codeOf(Promise.reject(refused as Error))).toBe('PAYLOAD_KEY_UNKNOWN');
    await listening.executeUpdate(saying, { args: ['end'] });
    expect(await endOf(listening)).toEqual(['end']);
  });

  it('a worker that comes without the key keeps a running workflow back, and does not end it', async () => {
    let open = () => {};
    gate = new Promise((resolve) => (open = resolve));
    const endFirst = await startWorker('replaced');
    const asked = await asking(client, 'replaced');
    await until('its activity to run', async () => (await asked.describe()).raw.pendingActivities ?? [], ([activity]) => activity?.state === 2);
    await endFirst();
    const endKeyless = await startWorker('replaced', undefined, { ...environment, KORORA_PAYLOAD_KEY: '' });
    open();
    await until('a failed workflow task', () => eventsOf(asked), (events) => events.some((event) => event.workflowTaskFailedEventAttributes), { tell: () => endTold(asked) });
    await endKeyless();
    await startWorker('replaced');
    expect(await endOf(asked)).toEqual({ said: WORD });
  });
});
