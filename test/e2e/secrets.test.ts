/**
 * A real move with payloads encrypted and mutual TLS to Temporal, of which every byte that Temporal was sent or sent, every
 * file, and every argument and variable of a process is searched for the secrets that the hosts made; and what Temporal
 * got, for the words of operators and documents. What is searched for is sent on purpose, too, and found.
 */
import { createPrivateKey, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectClient } from '../../cli/context.js';
import { untilView } from '../../infra/testbed/until-view.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import { makeAuthority } from '../../infra/testbed/certificates.js';
import { built } from '../../infra/testbed/faults/built.js';
import { type TemporalFront, startTemporalFront } from '../../infra/testbed/temporal-front.js';
import { type Testbed, pidsBelow } from '../../infra/testbed/testbed.js';
import { readTemporalPlace } from '../../temporal/place.js';
import { Forms, type Place, filesBelow, findings, processes } from '../support/secret-search.js';
import { evidenceOf, openTestbed, startGuest } from './support.js';

const VM = `vault-${randomBytes(4).toString('hex')}`;
const REASON = `because ${randomUUID()}`;
const PLANTED = randomBytes(32);

let aside: string;
let front: TemporalFront;
let testbed: Testbed;
let secrets: readonly Forms[];
/** While the copy was held for its approval, and after the move. */
const files: Place[] = [];
let running: Place[];
let migrationId: string;

beforeAll(async () => {
  aside = await mkdtemp('/tmp/kr-aside-');
  const authority = await makeAuthority(join(aside, 'ca'));
  const [server, client] = [await authority.issue('temporal'), await authority.issue('client')];
  const payloadKey = randomBytes(32);
  await writeFile(join(aside, 'payload.keys'), `one ${payloadKey.toString('base64')}\n`, { mode: 0o600 });
  testbed = await openTestbed(() => ({
    workerCommands: {
      host: (configFile) => [process.execPath, built('infra/testbed/telling-worker.js'), configFile, join(aside, 'told')],
      control: (evidenceDir) => [process.execPath, built('cli/main.js'), 'worker', 'control', '--evidence-dir', evidenceDir],
    },
    temporalTap: async ({ address }) => {
      front = await startTemporalFront({ server: address, certificate: server, clientAuthority: authority.certificate });
      return {
        TEMPORAL_ADDRESS: front.address,
        TEMPORAL_TLS_SERVER_CA_CERT_PATH: authority.certificate,
        TEMPORAL_TLS_CLIENT_CERT_PATH: client.certificate,
        TEMPORAL_TLS_CLIENT_KEY_PATH: client.key,
        KORORA_PAYLOAD_KEY: join(aside, 'payload.keys'),
      };
    },
  }));
  const { console: guest } = await startGuest(testbed, VM, 'host-a');
  await guest.close();
  const { runId } = await testbed.client.migrate({ vmId: VM, destination: 'host-b', requiresApproval: true });
  const waiting = await untilView(testbed, VM, runId, 'the wait for its approval, while it is copied', ({ status, progress }) => status.awaits === 'approval' && progress !== null);
  ({ migrationId } = waiting.status);
  files.push(...(await filesBelow(testbed.root)).map(({ name, bytes }) => ({ name: `${name}, while it was copied`, bytes })));
  running = await processes([...(await pidsBelow(testbed.root)), testbed.control.pid, ...Object.values(testbed.hosts).map(({ worker }) => worker.pid)]);
  await testbed.client.approve(VM, { reason: REASON });
  const result = await endOfMove(testbed.client, VM, runId);
  expect((await evidenceOf(result)).approval).not.toBeNull();
  files.push(...(await filesBelow(testbed.root)));
  secrets = [...(await told()), new Forms('payload key', payloadKey), new Forms('client’s TLS key', await scalarOf(client.key)), new Forms('operator’s key', await scalarOf(testbed.keys.operator.privateFile))];
});
afterAll(async () => {
  await testbed?.stop();
  await front?.close();
  await rm(aside, { recursive: true, force: true });
});

/** What the hosts' workers made or opened. */
async function told(): Promise<Forms[]> {
  const lines = new Set((await readFile(join(aside, 'told'), 'utf8')).trim().split('\n'));
  return [...lines].map((line) => {
    const [name = '', base64 = ''] = line.split('\t');
    return new Forms(name, Buffer.from(base64, 'base64'));
  });
}

async function scalarOf(file: string): Promise<Buffer> {
  return Buffer.from(createPrivateKey(await readFile(file)).export({ format: 'jwk' }).d ?? '', 'base64url');
}

const toTemporal = (): Place[] =>
  front.calls().flatMap(({ method, headers, messages }) => [{ name: `the headers of ${method}`, bytes: Buffer.from(headers) }, ...messages.map((bytes) => ({ name: method.split('/').at(-1) ?? '', bytes }))]);
const database = () => files.filter(({ name }) => /^temporal\.db(-wal)?$/.test(name));

describe('a move', () => {
  it('makes each kind of secret', () => {
    const counted = Object.fromEntries([...new Set(secrets.map(({ name }) => name))].map((kind) => [kind, secrets.filter(({ name }) => name === kind).length]));
    expect(counted).toEqual({ 'vTPM state key': 2, 'vTPM migration key': 1, 'session key': 1, 'TLS key': 2, 'TLS key as PEM': 4, 'payload key': 1, 'client’s TLS key': 1, 'operator’s key': 1 });
  });

  it('tells Temporal none of them', () => {
    expect(toTemporal().length).toBeGreaterThan(100);
    expect(findings(secrets, toTemporal())).toEqual([]);
  });

  it('writes none of them into a file', () => {
    for (const file of ['temporal.db', 'logs/host-a.log', 'logs/control.log', `run/host-b/${VM}/console.log`, `host-b/state/vms/${VM}/ownership.json`]) expect(files.map(({ name }) => name)).toContain(file);
    expect(findings(secrets, files).filter((found) => !/^operator’s key in operator\.key(,|$)/.test(found))).toEqual([]);
  });

  it('gives none of them to a process as an argument or a variable', () => {
    expect(findings(secrets, running)).toEqual([]);
  });

  it('tells Temporal nothing of its documents, its operators’ words and its paths', () => {
    const words = [REASON, migrationId, `${testbed.root}/shared`, 'korora/order', 'requiresApproval', 'console=ttyS0'].map((text) => new Forms(text, Buffer.from(text)));
    expect(findings(words, [...toTemporal(), ...database()])).toEqual([]);
  });

  it('tells Temporal the name of the VM in ids of workflows only', () => {
    const name = new Forms(VM, Buffer.from(VM));
    const ids = new RegExp(`(?:migrate|start)-${VM}`, 'g');
    const withoutIds = [...toTemporal(), ...database()].map((place) => ({ ...place, bytes: Buffer.from(place.bytes.toString('latin1').replaceAll(ids, ''), 'latin1') }));
    expect(findings([name], toTemporal()).length).toBeGreaterThan(0);
    expect(findings([name], withoutIds)).toEqual([]);
  });
});

describe('the search', () => {
  it('finds what is sent to Temporal in clear, on its way there, back, and in the database', async () => {
    const keyless = await connectClient(await readTemporalPlace({ ...testbed.environment, KORORA_PAYLOAD_KEY: '' }));
    const planted = new Forms('what was planted', PLANTED);
    const handle = await keyless.workflow.start('nobody', { taskQueue: 'nobody', workflowId: `nobody-${randomUUID()}`, args: [{ base64: PLANTED.toString('base64') }] });
    await handle.fetchHistory();
    await keyless.connection.close();
    expect(findings([planted], toTemporal())).toEqual(['StartWorkflowExecution', 'GetWorkflowExecutionHistory'].map((method) => `what was planted in ${method}`));
    expect(findings([planted], await filesBelow(testbed.root)).map((found) => found.replace('-wal', ''))).toContain('what was planted in temporal.db');
  });
});
