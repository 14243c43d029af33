/** workers/trust.ts on real files and the NV memory of a real software TPM: whose bundles a host takes, and that no older one comes back. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Signer, keyIdOf, signEnvelope } from '../../domain/envelope.js';
import { createLocalHost } from '../../host/local.js';
import { createHostTpm } from '../../tpm/host-tpm.js';
import { createTrust } from '../../workers/trust.js';
import { ADA, POLICY_SIGNER, SOURCE, trustBundleOf } from '../support/documents.js';
import { testSigner } from '../support/signers.js';
import { refusalOf } from '../support/refusal.js';
import { type TpmTestbed, startTpmTestbed } from './tpm-testbed.js';

const access = createLocalHost(SOURCE);
let testbed: TpmTestbed;
let folder: string;

beforeAll(async () => {
  testbed = await startTpmTestbed();
}, 60_000);
afterAll(() => testbed?.stop());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-trust-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
  await testbed.tool('tpm2_nvundefine', '-C', 'o', '0x1806b02').catch(() => undefined);
});

const trustFile = () => join(folder, 'trust.json');
/** As a worker that has just started. */
const opened = () =>
  createTrust(access, { hostId: SOURCE, stateDir: join(folder, 'state'), trustBundle: trustFile() }, createHostTpm({ access, hostId: SOURCE, tcti: testbed.tcti, stateDir: join(testbed.folder, 'keys') }).newestBundle);

async function install(changes: Parameters<typeof trustBundleOf>[0] = {}, signer: Signer = POLICY_SIGNER): Promise<void> {
  await writeFile(trustFile(), JSON.stringify(await signEnvelope(trustBundleOf(changes), signer)));
}

describe('the signer', () => {
  it('is pinned once, and changed only where that is said', async () => {
    const trust = opened();
    expect(await refusalOf(trust.pinned())).toContain('SIGNER_NOT_PINNED');
    await trust.pin([POLICY_SIGNER.publicKey], false);
    await trust.pin([POLICY_SIGNER.publicKey], false);
    expect(await refusalOf(trust.pin([ADA.publicKey], false))).toMatch(new RegExp(`^SIGNER_PINNED: .*${keyIdOf(POLICY_SIGNER.publicKey)}`));
    expect(await opened().pinned()).toEqual([POLICY_SIGNER.publicKey]);
    await trust.pin([ADA.publicKey], true);
    expect(await opened().pinned()).toEqual([ADA.publicKey]);
  });

  it('must have signed the bundle', async () => {
    const trust = opened();
    await install();
    expect(await refusalOf(trust.installedBundle())).toContain('SIGNER_NOT_PINNED');
    await trust.pin([testSigner(9).publicKey, POLICY_SIGNER.publicKey], false);
    expect((await trust.installedBundle()).bundle.serial).toBe(7);
    await install({}, ADA);
    expect(await refusalOf(trust.installedBundle())).toMatch(/^BUNDLE_NOT_SIGNED: /);
    await trust.pin([ADA.publicKey], true);
    expect((await trust.installedBundle()).bundle.serial).toBe(7);
  });

  it.each([
    ['no file', null, /^BUNDLE_INVALID: .*there is none at /],
    ['no JSON', '{', /^BUNDLE_INVALID: /],
    ['no envelope', JSON.stringify(trustBundleOf()), /^BUNDLE_INVALID: .*payload/],
  ])('signed %s', async (_, content, refusal) => {
    const trust = opened();
    await trust.pin([POLICY_SIGNER.publicKey], false);
    if (content !== null) await writeFile(trustFile(), content);
    expect(await refusalOf(trust.installedBundle())).toMatch(refusal);
  });
});

describe('an older bundle', () => {
  beforeEach(() => opened().pin([POLICY_SIGNER.publicKey], false));

  it('is refused by the worker that saw the newer one, and by the next', async () => {
    const trust = opened();
    await install({ serial: 7 });
    await trust.installedBundle();
    await install({ serial: 9 });
    expect((await trust.installedBundle()).bundle.serial).toBe(9);
    await install({ serial: 8 });
    for (const one of [trust, opened()]) expect(await refusalOf(one.installedBundle())).toMatch(/^BUNDLE_OLDER: .* serial 8; host-a has seen serial 9/);
    await install({ serial: 9 });
    for (const one of [trust, opened()]) expect((await one.installedBundle()).bundle.serial).toBe(9);
  });

  it('is refused after its disk was put back, and its TPM lost power', async () => {
    await install({ serial: 9 });
    await opened().installedBundle();
    await rm(join(folder, 'state'), { recursive: true });
    await opened().pin([POLICY_SIGNER.publicKey], false);
    await install({ serial: 8 });
    await testbed.restart('killed');
    expect(await refusalOf(opened().installedBundle())).toContain('BUNDLE_OLDER');
  });

  it('that says something else is refused, at the same serial', async () => {
    const trust = opened();
    await install({ serial: 7 });
    await trust.installedBundle();
    await install({ serial: 7, expiresAt: '2031-01-01T00:00:00Z' });
    for (const one of [trust, opened()]) expect(await refusalOf(one.installedBundle())).toMatch(/^BUNDLE_SERIAL_USED: .* 7/);
  });

  it('is not made the newest by a signature of somebody else', async () => {
    await install({ serial: 1000 }, ADA);
    expect(await refusalOf(opened().installedBundle())).toContain('BUNDLE_NOT_SIGNED');
    await install({ serial: 1 });
    expect((await opened().installedBundle()).bundle.serial).toBe(1);
  });
});
