/**
 * The host TPM against a real software TPM; tpm2_checkquote is the oracle for quotes.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SignedAttestation } from '../../domain/attestation.js';
import type { HostAccess } from '../../host/port.js';
import { createHostTpm } from '../../tpm/host-tpm.js';
import { nameOf, pcrDigestOf, pcrPolicyDigest, sized } from '../../tpm/marshal.js';
import type { HostTpm } from '../../tpm/port.js';
import { parseSizedBuffers, splitAttestation } from '../../tpm/structures.js';
import { certificationCounters, checkAttestationKey, checkWrappingKey, parseQuote, verifyQuoteOver, verifySignature } from '../../tpm/verify.js';
import { wrapSecrets } from '../../tpm/wrap.js';
import { freePortPair } from '../../infra/testbed/ports.js';
import { until } from '../../infra/testbed/until.js';
import { type TpmTestbed, access, hostId, startTpmTestbed } from './tpm-testbed.js';

const PCRS = [0, 7, 11];
const context = Buffer.from('{"purpose":"secrets"}');
let testbed: TpmTestbed;
let tpm: HostTpm;
const stateDir = () => join(testbed.folder, 'keys');
const open = (tcti = testbed.tcti) => createHostTpm({ access, hostId, tcti, stateDir: stateDir() });

beforeAll(async () => {
  testbed = await startTpmTestbed();
  tpm = open();
}, 60_000);
afterAll(() => testbed?.stop());

const foldersLeft = () => readdirSync(stateDir()).filter((name) => name !== 'tpm.lock');
const extend = (pcr: number) => testbed.tool('tpm2_pcrextend', `${pcr}:sha256=${randomBytes(32).toString('hex')}`);
/** What stays loaded in the TPM once `tpm` has cleaned up. */
const loaded = async () => {
  await tpm.readPcrs([0]);
  return `${await testbed.tool('tpm2_getcap', 'handles-transient')}${await testbed.tool('tpm2_getcap', 'handles-loaded-session')}`;
};

/** Bit 1 of the byte at `at` (from the end if negative) the other way round. */
function flipped(base64: string, at: number): string {
  const bytes = Buffer.from(base64, 'base64');
  const index = at < 0 ? bytes.length + at : at;
  bytes[index] = (bytes[index] as number) ^ 1;
  return bytes.toString('base64');
}

describe('the AK', () => {
  it('is made once and kept', async () => {
    const ak = await tpm.ensureAttestationKey();
    expect(checkAttestationKey(ak)).toBeNull();
    expect(await open().ensureAttestationKey()).toEqual(ak);
  });

  it('comes back the same after its handle was evicted', async () => {
    const ak = await tpm.ensureAttestationKey();
    await testbed.tool('tpm2_evictcontrol', '-C', 'o', '-c', '0x81010002');
    expect(await open().ensureAttestationKey()).toEqual(ak);
  });

  it('is not the wrong key that somebody else keeps at its handle', async () => {
    await testbed.tool('tpm2_evictcontrol', '-C', 'o', '-c', '0x81010002');
    await testbed.tool('tpm2_createprimary', '-C', 'e', '-G', 'ecc', '-c', join(testbed.folder, 'other.ctx'));
    await testbed.tool('tpm2_evictcontrol', '-C', 'o', '-c', join(testbed.folder, 'other.ctx'), '0x81010002');
    await testbed.tool('tpm2_flushcontext', '-t');
    await expect(open().ensureAttestationKey()).rejects.toMatchObject({ code: 'TPM_COMMAND_FAILED', message: expect.stringMatching(/0x81010002 holds another key: it lacks sign/) });
    await testbed.tool('tpm2_evictcontrol', '-C', 'o', '-c', '0x81010002');
    await open().ensureAttestationKey();
  });
});

describe('a quote', () => {
  const qualifyingData = randomBytes(32);

  it('carries the values that it digests', async () => {
    const quote = await tpm.quote(PCRS, qualifyingData);
    expect(quote.pcrValues).toEqual(await tpm.readPcrs(PCRS));
    expect(Object.keys(quote.pcrValues)).toEqual(PCRS.map(String));
    expect(parseQuote(quote)).toMatchObject({
      magic: 'ff544347', type: '8018', extraData: qualifyingData.toString('hex'), isClockSafe: true,
      pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: PCRS }], pcrDigest: pcrDigestOf(PCRS, quote.pcrValues),
    });
    await extend(11);
    expect((await tpm.readPcrs([11]))['11']).not.toBe(quote.pcrValues['11']);
  });

  it('is judged here as by tpm2_checkquote, good or changed anywhere', async () => {
    const ak = await tpm.ensureAttestationKey();
    const akFile = await testbed.file(sized(Buffer.from(ak.publicArea, 'base64')));
    const good = await tpm.quote(PCRS, qualifyingData);
    const accepts = async (signed: SignedAttestation, over: Buffer) => {
      const here = verifyQuoteOver({ ak, signed, qualifyingData: over }).ok;
      const files = [await testbed.file(Buffer.from(signed.attest, 'base64')), await testbed.file(Buffer.from(signed.signature, 'base64'))] as const;
      const oracle = await access.run('tpm2_checkquote', ['-u', akFile, '-m', files[0], '-s', files[1], '-g', 'sha256', '-q', over.toString('hex')]);
      return { here, oracle: oracle.exitCode === 0 };
    };
    expect(await accepts(good, qualifyingData)).toEqual({ here: true, oracle: true });
    const no = { here: false, oracle: false };
    expect(await accepts(good, randomBytes(32))).toEqual(no);
    for (const at of [10, 40, -1]) expect(await accepts({ ...good, signature: flipped(good.signature, at) }, qualifyingData)).toEqual(no);
    for (const at of [0, 12, 50, 80, -40, -1]) expect(await accepts({ ...good, attest: flipped(good.attest, at) }, qualifyingData)).toEqual(no);
  });

  it('is none by another TPM key', async () => {
    const quote = await tpm.quote(PCRS, qualifyingData);
    const other = await tpm.createWrappingKey(PCRS);
    expect(verifySignature({ publicArea: other.evidence.publicArea, name: other.evidence.name }, quote)).toBe(false);
    await other.forget();
  });
});

describe('a wrapping key', () => {
  it('passes the check, opens what was wrapped to it, and leaves nothing behind', async () => {
    const ak = await tpm.ensureAttestationKey();
    const secret = randomBytes(64);
    const key = await tpm.createWrappingKey(PCRS);
    const quote = await tpm.quote(PCRS, randomBytes(32));
    expect(checkWrappingKey({ ak, evidence: key.evidence, pcrs: PCRS, pcrValues: quote.pcrValues })).toBeNull();
    expect(certificationCounters(key.evidence.certification)).toMatchObject({ resetCount: parseQuote(quote).resetCount, restartCount: parseQuote(quote).restartCount });

    const wrapped = wrapSecrets(key.evidence.publicArea, secret, context);
    expect(await key.unwrap(wrapped, context)).toEqual(secret);
    expect(await key.unwrap(wrapped, context)).toEqual(secret);
    expect(await loaded()).toBe('');

    await expect(key.unwrap(wrapped, Buffer.from('other'))).rejects.toMatchObject({ code: 'SECRETS_INVALID' });
    await expect(key.unwrap({ ...wrapped, tag: flipped(wrapped.tag, 0) }, context)).rejects.toMatchObject({ code: 'SECRETS_INVALID' });
    await expect(key.unwrap({ ...wrapped, ephemeralPoint: flipped(wrapped.ephemeralPoint, 9) }, context)).rejects.toMatchObject({ code: 'SECRETS_INVALID' });

    await key.forget();
    await key.forget();
    expect(foldersLeft()).toEqual([]);
    await expect(key.unwrap(wrapped, context)).rejects.toMatchObject({ code: 'SESSION_LOST' });
  });

  it('does not open after one of its PCRs changed', async () => {
    const key = await tpm.createWrappingKey(PCRS);
    const wrapped = wrapSecrets(key.evidence.publicArea, randomBytes(32), context);
    await extend(12);
    await key.unwrap(wrapped, context);
    await extend(11);
    for (let i = 0; i < 4; i++) await expect(key.unwrap(wrapped, context)).rejects.toMatchObject({ code: 'UNSEAL_REFUSED' });
    expect(await loaded()).toBe('');
    const { pcrValues } = await tpm.quote(PCRS, randomBytes(32));
    expect(checkWrappingKey({ ak: await tpm.ensureAttestationKey(), evidence: key.evidence, pcrs: PCRS, pcrValues })).toMatch(/policy/);
    await key.forget();
  });

  it('opens and refuses the same way under more PCRs than the tools take in one option', async () => {
    const pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 14];
    const key = await tpm.createWrappingKey(pcrs);
    const secret = randomBytes(48);
    const wrapped = wrapSecrets(key.evidence.publicArea, secret, context);
    expect(await key.unwrap(wrapped, context)).toEqual(secret);
    await extend(14);
    await expect(key.unwrap(wrapped, context)).rejects.toMatchObject({ code: 'UNSEAL_REFUSED' });
    expect(await loaded()).toBe('');
    await key.forget();
  });

  it('does not open with its empty auth value instead of the policy', async () => {
    const key = await tpm.createWrappingKey(PCRS);
    const [folder = ''] = foldersLeft();
    const point = await testbed.file(parsePointFile(wrapSecrets(key.evidence.publicArea, Buffer.alloc(1), context).ephemeralPoint));
    await expect(testbed.tool('tpm2_ecdhzgen', '-c', join(stateDir(), folder, 'key.ctx'), '-u', point, '-o', join(testbed.folder, 'z'))).rejects.toThrow(/0x12F/);
    await testbed.tool('tpm2_flushcontext', '-t');
    await key.forget();
  });

  /** Keys that this very TPM makes and certifies, each with one thing wrong. */
  it.each([
    { what: 'auth value allowed', attributes: 'fixedtpm|fixedparent|sensitivedataorigin|decrypt|userwithauth', problem: /has userWithAuth/ },
    { what: 'signing key', attributes: 'fixedtpm|fixedparent|sensitivedataorigin|sign', algorithm: 'ecc256:ecdsa', problem: /lacks decrypt/ },
    { what: 'other PCRs', pcrs: [0, 7], problem: /policy/ },
    { what: 'no policy', pcrs: null, problem: /policy/ },
    { what: 'free scheme', algorithm: 'ecc256', problem: /scheme/ },
    { what: 'nothing wrong', problem: null },
  ])('made with $what', async ({ attributes = 'fixedtpm|fixedparent|sensitivedataorigin|decrypt', algorithm = 'ecc256:ecdh', pcrs = PCRS, problem }) => {
    const ak = await tpm.ensureAttestationKey();
    const pcrValues = await tpm.readPcrs(PCRS);
    const path = (file: string) => join(testbed.folder, file);
    const policy = pcrs === null ? [] : ['-L', pcrPolicyDigest(pcrs, pcrValues)];
    await testbed.tool('tpm2_create', '-C', '0x81000002', '-G', algorithm, '-a', attributes, ...policy, '-u', path('odd.pub'), '-c', path('odd.ctx'));
    await testbed.tool('tpm2_certify', '-c', path('odd.ctx'), '-C', '0x81010002', '-g', 'sha256', '-o', path('odd.attest'), '-s', path('odd.signature'));
    await testbed.tool('tpm2_flushcontext', '-t');
    const [publicArea = Buffer.alloc(0)] = parseSizedBuffers((await access.readFile(path('odd.pub'))) ?? Buffer.alloc(0), 1);
    const both = Buffer.concat([(await access.readFile(path('odd.attest'))) ?? Buffer.alloc(0), (await access.readFile(path('odd.signature'))) ?? Buffer.alloc(0)]);
    const { attest, signature } = splitAttestation(both, 'attest-first');
    const evidence = { publicArea: publicArea.toString('base64'), name: nameOf(publicArea), certification: { attest: attest.toString('base64'), signature: signature.toString('base64') } };
    const found = checkWrappingKey({ ak, evidence, pcrs: PCRS, pcrValues });
    if (problem === null) expect(found).toBeNull();
    else expect(found).toMatch(problem);
  });

  it('of a worker that died is removed by the next one', async () => {
    await tpm.createWrappingKey(PCRS);
    // As one of an operation that did not end.
    mkdirSync(join(stateDir(), 'tmp-of-a-test'));
    expect(foldersLeft().length).toBe(2);
    await open().removeLeftovers();
    expect(foldersLeft()).toEqual([]);
  });
});

describe('sealing at rest', () => {
  it.each(['orderly', 'killed'] as const)('survives a TPM that was %s and a new worker', async (how) => {
    const secret = randomBytes(64);
    const blob = await tpm.sealAtRest(secret);
    expect(Buffer.from(blob.privateArea, 'base64').includes(secret)).toBe(false);
    await testbed.restart(how);
    expect(await open().unsealAtRest(blob)).toEqual(secret);
    expect(await loaded()).toBe('');
  });

  it('opens no changed blob and takes no more than a TPM does', async () => {
    const blob = await tpm.sealAtRest(randomBytes(128));
    await expect(tpm.unsealAtRest({ ...blob, privateArea: flipped(blob.privateArea, -1) })).rejects.toMatchObject({ code: 'TPM_COMMAND_FAILED' });
    await expect(tpm.sealAtRest(randomBytes(129))).rejects.toThrow(RangeError);
  });
});

describe('a TPM without a resource manager', () => {
  it('that was killed again and again still quotes (an AK without noDA would be locked out)', async () => {
    for (let i = 0; i < 4; i++) {
      await tpm.quote(PCRS, randomBytes(32));
      await testbed.restart('killed');
    }
    expect(parseQuote(await tpm.quote(PCRS, randomBytes(32))).pcrSelection).toHaveLength(1);
  }, 20_000);

  it('is shared with other processes, whatever they leave loaded', async () => {
    const path = join(testbed.folder, 'left.ctx');
    for (let i = 0; i < 3; i++) await testbed.tool('tpm2_createprimary', '-C', 'n', '-G', 'ecc', '-c', path);
    for (let i = 0; i < 3; i++) await testbed.tool('tpm2_createpolicy', '--policy-pcr', '-l', 'sha256:0', '-L', path);
    const key = await tpm.createWrappingKey(PCRS);
    const wrapped = wrapSecrets(key.evidence.publicArea, Buffer.from('a'), context);
    for (let i = 0; i < 3; i++) await testbed.tool('tpm2_createpolicy', '--policy-pcr', '-l', 'sha256:0', '-L', path);
    expect((await key.unwrap(wrapped, context)).toString()).toBe('a');
    await key.forget();
  });

  it('serves calls at the same time, of two workers too, each worker one after another', async () => {
    let running = 0;
    let mostRunning = 0;
    const counting: HostAccess = {
      ...access,
      async run(...args) {
        mostRunning = Math.max(mostRunning, ++running);
        return access.run(...args).finally(() => running--);
      },
    };
    const counted = createHostTpm({ access: counting, hostId, tcti: testbed.tcti, stateDir: stateDir() });
    const workers = [];
    for (const worker of [counted, tpm]) workers.push({ worker, key: await worker.createWrappingKey(PCRS) });
    const calls = workers.flatMap(({ worker, key }) => {
      const wrapped = wrapSecrets(key.evidence.publicArea, Buffer.from('a'), context);
      return [1, 2, 3].flatMap(() => [key.unwrap(wrapped, context), worker.quote(PCRS, randomBytes(32)), worker.readPcrs(PCRS)]);
    });
    expect(await Promise.all(calls)).toHaveLength(18);
    expect(mostRunning).toBe(1);
    for (const { key } of workers) await key.forget();
  }, 30_000);

  it('is left alone while another process of Kororā holds its lock', async () => {
    const path = (file: string) => join(testbed.folder, file);
    const holder = access.run('flock', [join(stateDir(), 'tpm.lock'), 'bash', '-c', 'touch "$0"; until [ -e "$1" ]; do sleep 0.02; done', path('held'), path('release')]);
    await until('the lock to be held', () => readdirSync(testbed.folder), (files) => files.includes('held'), { everyMs: 5 });
    const events: string[] = [];
    const read = tpm.readPcrs([0]).then(() => events.push('read'));
    for (let i = 0; i < 3; i++) await testbed.tool('tpm2_getcap', 'properties-fixed');
    events.push('released');
    await access.writeFileDurably(path('release'), '');
    await Promise.all([holder, read]);
    expect(events).toEqual(['released', 'read']);
  });

  it('that is not there is unreachable, not at fault', async () => {
    const gone = open(`swtpm:host=127.0.0.1,port=${await freePortPair()}`);
    await expect(gone.readPcrs([0])).rejects.toMatchObject({ code: 'TPM_UNREACHABLE' });
    await expect(gone.ensureAttestationKey()).rejects.toMatchObject({ code: 'TPM_UNREACHABLE' });
    await expect(open('device:/dev/no-such-tpm').readPcrs([0])).rejects.toMatchObject({ code: 'TPM_UNREACHABLE' });
  });
});

/** TPM2B_ECC_POINT of an uncompressed point. */
function parsePointFile(point: string): Buffer {
  const bytes = Buffer.from(point, 'base64');
  return sized(Buffer.concat([sized(bytes.subarray(1, 33)), sized(bytes.subarray(33))]));
}
