/**
 * `korora trust …` and `korora host answer` on files: what becomes a bundle, what it says of hosts that proved nothing, and files that
 * are not what they should be. The TPM's part is in test/parts/enrolment.test.ts, all commands in a row in test/e2e/readme.test.ts.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { addHostCommands } from '../../cli/commands/host.js';
import { addTrustCommands } from '../../cli/commands/trust.js';
import { type NewKey, makeKey } from '../../cli/keys.js';
import { replay } from '../../domain/boot-events.js';
import type { Enrolment } from '../../domain/enrolment.js';
import type { Failure } from '../../domain/failures.js';
import { HostId } from '../../domain/ids.js';
import { type TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { marshalEccPublic, nameOf } from '../../tpm/marshal.js';
import { ALGORITHM, CURVE_P256, OBJECT_ATTRIBUTE } from '../../tpm/structures.js';
import { digest, samples } from '../support/documents.js';
import { bootOf, eventLog } from '../support/event-log.js';

let folder: string;
let policy: NewKey;
const path = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-cli-'));
  policy = await makeKey(path('policy.key'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a command; what it refused, where it did. */
async function korora(...args: string[]): Promise<readonly Failure[]> {
  const program = new Command().option('--json').option('--trust <file>').exitOverride();
  addTrustCommands(program);
  addHostCommands(program);
  const [written, exitCode] = [vi.spyOn(process.stdout, 'write').mockReturnValue(true), process.exitCode];
  try {
    await program.parseAsync(['--json', ...args], { from: 'user' });
    const said = written.mock.calls.map(([chunk]) => String(chunk)).join('');
    return (JSON.parse(said) as { readonly failures?: readonly Failure[] }).failures ?? [];
  } finally {
    written.mockRestore();
    process.exitCode = exitCode;
  }
}

async function file(name: string, content: unknown): Promise<string> {
  await writeFile(path(name), typeof content === 'string' ? content : JSON.stringify(content));
  return path(name);
}

/** With an AK of the right attributes, which no TPM holds. */
function enrolmentOf(hostId: string, changes: Partial<Enrolment> & { readonly class?: string } = {}): Enrolment {
  const { x = '', y = '' } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  const names = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'] as const;
  const publicArea = marshalEccPublic({
    nameAlgorithm: ALGORITHM.sha256, objectAttributes: names.reduce((mask, name) => mask | OBJECT_ATTRIBUTE[name], 0), authPolicy: Buffer.alloc(0), symmetric: null,
    scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: ALGORITHM.sha256 }, curve: CURVE_P256, kdf: null, x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url'),
  });
  const { class: hostClass = 'rack', ...others } = changes;
  const attestationKey = { publicArea: publicArea.toString('base64'), name: nameOf(publicArea) };
  return {
    kind: 'korora/enrolment', version: 1, pcrValues: { '0': digest(1), '7': digest(2) }, ekCertificate: null, eventLog: null, ...others,
    host: { hostId: HostId.parse(hostId), class: hostClass, status: 'active', address: { host: 'h', port: 7711 }, attestationKey },
  };
}

const signing = (out: string) => ['--sign-with', policy.privateFile, '--out', path(out)];
const bundleIn = async (name: string): Promise<TrustBundle> => installBundle(JSON.parse(await readFile(path(name), 'utf8')), 'test', [policy.publicKey]).bundle;
const init = async (out: string, enrolments: readonly Enrolment[], unproven: readonly string[]) => {
  const files = await Promise.all(enrolments.map((enrolment) => file(`${enrolment.host.hostId}.enrolment`, enrolment)));
  return korora('trust', 'init', ...files, ...(unproven.length > 0 ? ['--without-ek-certificate', ...unproven] : []), '--operator', `me=${policy.publicFile}`, ...signing(out));
};

describe('korora trust init', () => {
  it('takes a host that proved nothing where it is named, and says so in the bundle', async () => {
    const [a, b] = [enrolmentOf('host-a'), enrolmentOf('host-b', { pcrValues: { '0': digest(1), '7': digest(3) } })];
    expect(await init('first.json', [a, b], ['host-a', 'host-b'])).toEqual([]);
    const bundle = await bundleIn('first.json');
    expect(bundle.hosts).toEqual([a, b].map(({ host }) => ({ ...host, identity: { proof: 'none' } })));
    expect(bundle.serial).toBe(1);
    expect(bundle.classes['rack']).toEqual({
      pcrs: [0, 7],
      firmwareVersions: null,
      referenceSets: [
        { id: 'host-a-in-bundle-1', status: 'active', pcrValues: a.pcrValues, events: null },
        { id: 'host-b-in-bundle-1', status: 'active', pcrValues: b.pcrValues, events: null },
      ],
    });
  });

  it('takes no other host along with it', async () => {
    expect(await init('none.json', [enrolmentOf('host-a'), enrolmentOf('host-b')], ['host-a'])).toMatchObject([{ code: 'EK_CERTIFICATE_MISSING', message: expect.stringContaining('host-b') }]);
    expect(await init('none.json', [enrolmentOf('host-a')], [])).toMatchObject([{ code: 'EK_CERTIFICATE_MISSING' }]);
    await expect(readFile(path('none.json'))).rejects.toThrow();
  });

  it.each([
    ['that is not there', async () => path('nothing')],
    ['that is no JSON', async () => file('text', 'text')],
    ['of another kind', async () => file('vm', samples.vm)],
    ['that was meant for the host', async () => file('challenge', samples.challenge)],
    ['with a member too many', async () => file('surplus', { ...enrolmentOf('host-a'), surplus: 1 })],
  ])('names a file %s', async (_, make) => {
    const name = await make();
    expect(await korora('trust', 'init', name, '--operator', `me=${policy.publicFile}`, ...signing('none.json'))).toMatchObject([{ code: 'ENROLMENT_FILE_INVALID', message: expect.stringContaining(name) }]);
  });
});

describe('korora trust admit', () => {
  it('adds hosts, and PCR values that are new to a class as pending', async () => {
    const [a, b, c] = [enrolmentOf('host-a'), enrolmentOf('host-b', { pcrValues: { '0': digest(1), '7': digest(4) } }), enrolmentOf('host-c', { class: 'edge', pcrValues: { '4': digest(5) } })];
    await init('before.json', [a], ['host-a']);
    const files = await Promise.all([b, c].map((enrolment) => file(`${enrolment.host.hostId}.enrolment`, enrolment)));
    expect(await korora('--trust', path('before.json'), 'trust', 'admit', ...files, '--without-ek-certificate', 'host-b', 'host-c', ...signing('after.json'))).toEqual([]);
    const [before, after] = [await bundleIn('before.json'), await bundleIn('after.json')];
    expect(after.hosts.map(({ hostId }) => hostId)).toEqual(['host-a', 'host-b', 'host-c']);
    expect(after.serial).toBe(2);
    expect(after.operators).toEqual(before.operators);
    expect(after.classes['rack']?.referenceSets.map(({ id, status }) => [id, status])).toEqual([['host-a-in-bundle-1', 'active'], ['host-b-in-bundle-2', 'pending']]);
    expect(after.classes['edge']?.referenceSets).toMatchObject([{ id: 'host-c-in-bundle-2', status: 'active' }]);
  });

  it('puts a host that is enrolled anew in the place of its old entry', async () => {
    await init('before.json', [enrolmentOf('host-a'), enrolmentOf('host-b')], ['host-a', 'host-b']);
    const again = enrolmentOf('host-a');
    await korora('--trust', path('before.json'), 'trust', 'admit', await file('again', again), '--without-ek-certificate', 'host-a', ...signing('after.json'));
    const { hosts, classes } = await bundleIn('after.json');
    expect(hosts.map(({ hostId, attestationKey }) => [hostId, attestationKey.name === again.host.attestationKey.name])).toEqual([['host-b', false], ['host-a', true]]);
    expect(classes['rack']?.referenceSets).toHaveLength(1);
  });

  it('gives a reference set without events those of a host with its values, and changes none that has some', async () => {
    const [with4, with4And7] = [bootOf('\\EFI\\shim.efi').filter(({ pcr }) => pcr === 4), bootOf('\\EFI\\shim.efi').filter(({ pcr }) => pcr !== 0)].map((events) => eventLog(events)) as [Buffer, Buffer];
    const log = parseEventLog(with4And7);
    const booted = (eventLogOf: Buffer | null) => enrolmentOf('host-a', { pcrValues: { '4': replay(log, 4), '7': replay(log, 7) }, eventLog: eventLogOf && eventLogOf.toString('base64') });
    await init('before.json', [booted(null)], ['host-a']);
    const admit = async (before: string, after: string, enrolment: Enrolment) => {
      expect(await korora('--trust', path(before), 'trust', 'admit', await file('again', enrolment), '--without-ek-certificate', 'host-a', ...signing(after))).toEqual([]);
      return (await bundleIn(after)).classes['rack']?.referenceSets;
    };
    const expected = [{ id: 'host-a-in-bundle-1', status: 'active', pcrValues: booted(null).pcrValues, events: log.events.filter(({ pcr }) => pcr === 4) }];
    expect((await bundleIn('before.json')).classes['rack']?.referenceSets).toMatchObject([{ events: null }]);
    expect(await admit('before.json', 'between.json', booted(with4))).toEqual(expected);
    expect(await admit('between.json', 'after.json', booted(with4And7))).toEqual(expected);
    const refused = await korora('--trust', path('after.json'), 'trust', 'admit', await file('again', booted(Buffer.from('no log'))), '--without-ek-certificate', 'host-a', ...signing('none.json'));
    expect(refused).toMatchObject([{ code: 'EVENT_LOG_INVALID' }]);
  });

  it('takes no host with other PCRs than its class has', async () => {
    await init('before.json', [enrolmentOf('host-a')], ['host-a']);
    const other = await file('other', enrolmentOf('host-b', { pcrValues: { '0': digest(1) } }));
    expect(await korora('--trust', path('before.json'), 'trust', 'admit', other, '--without-ek-certificate', 'host-b', ...signing('none.json'))).toMatchObject([{ code: 'BUNDLE_INVALID' }]);
  });
});

describe('korora trust challenge', () => {
  const challenge = (enrolment: string, ca: string) => korora('trust', 'challenge', enrolment, '--ek-ca', ca, '--keep', path('kept'));

  it('refuses an enrolment that it cannot read, and a file without a CA', async () => {
    const enrolment = await file('enrolment', enrolmentOf('host-a'));
    expect(await challenge(await file('kind', samples.answer), policy.publicFile)).toMatchObject([{ code: 'ENROLMENT_FILE_INVALID', message: expect.stringContaining(path('kind')) }]);
    expect(await challenge(enrolment, policy.publicFile)).toMatchObject([{ code: 'ENROLMENT_FILE_INVALID', message: expect.stringContaining(policy.publicFile) }]);
    await expect(readFile(path('kept'))).rejects.toThrow();
  });
});

describe('korora host answer', () => {
  it('is for the challenge of this host, and for nothing else', async () => {
    const config = await file('host.json', {
      kind: 'korora/host', version: 1, hostId: 'host-b', access: 'local', hypervisor: 'qemu', stateDir: 'state', runDir: 'run', trustBundle: 'trust.json',
      tcti: 'device:/dev/no-such-tpm', storage: { disks: ['/srv/korora'], boot: ['/srv/korora-boot'] }, channel: { listen: { host: '127.0.0.1', port: 0 } },
    });
    const answer = async (content: unknown) => korora('host', 'answer', await file('challenge', content), '--config', config);
    expect(await answer(samples.challenge)).toMatchObject([{ code: 'ENROLMENT_FILE_INVALID', message: expect.stringContaining('it is for host-a, and this is host-b') }]);
    expect(await answer(samples.enrolment)).toMatchObject([{ code: 'ENROLMENT_FILE_INVALID' }]);
    expect(await answer({ ...samples.challenge, hostId: 'host-b' })).toMatchObject([{ code: 'TPM_UNREACHABLE' }]);
  });
});
