/**
 * Enrolment between two real software TPMs, each with a CA of its own for its EK certificates, and an operator who has files only:
 * what is admitted, and what somebody who changes or swaps the files comes by.
 */
import { type KeyObject, X509Certificate, createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttestationKeyPublic } from '../../domain/attestation.js';
import { type Answer, AdmissionPaper, Challenge, type Enrolment } from '../../domain/enrolment.js';
import { HostId } from '../../domain/ids.js';
import { createEndorsement } from '../../tpm/endorsement.js';
import { certificatesIn } from '../../tpm/ek-certificate.js';
import { EK_TEMPLATES, ekPublicOf } from '../../tpm/ek-template.js';
import { nameOf, sized } from '../../tpm/marshal.js';
import { parseSizedBuffers } from '../../tpm/structures.js';
import { admitHosts, challengeHost, readCas } from '../../workers/admit.js';
import { HostConfig } from '../../workers/config.js';
import { answerChallenge, enrolHost } from '../../workers/enrol.js';
import { EK_EXTENSIONS, createTestCa } from '../support/pki.js';
import { POLICY_SIGNER } from '../support/documents.js';
import { type TpmTestbed, access, startTpmTestbed } from './tpm-testbed.js';

const PCRS = [0, 7, 14];

interface Host {
  readonly testbed: TpmTestbed;
  readonly config: HostConfig;
  readonly enrolment: Enrolment;
  readonly cas: Awaited<ReturnType<typeof readCas>>;
}
let a: Host;
let b: Host;

async function startHost(hostId: string): Promise<Host> {
  const testbed = await startTpmTestbed();
  const path = (name: string) => join(testbed.folder, name);
  const config = HostConfig.parse({
    kind: 'korora/host', version: 1, hostId, access: 'local', hypervisor: 'qemu', stateDir: path('state'), runDir: path('run'), trustBundle: path('trust.json'),
    tcti: testbed.tcti, storage: { disks: ['/srv/korora'], boot: ['/srv/korora-boot'] }, channel: { listen: { host: '127.0.0.1', port: 7711 } },
  });
  return { testbed, config, cas: await readCas(testbed.caFiles), enrolment: await enrol(config) };
}

const enrol = (config: HostConfig) => enrolHost(config, { signers: [POLICY_SIGNER.publicKey], hostClass: 'rack', pcrs: PCRS });

beforeAll(async () => {
  [a, b] = await Promise.all([startHost('host-a'), startHost('host-b')]);
}, 120_000);
afterAll(async () => {
  for (const host of [a, b]) await host?.testbed.stop();
});

/** As a file that somebody carries. */
const carried = <T>(document: T): T => JSON.parse(JSON.stringify(document)) as T;
const attack = (enrolment: Enrolment, ak: AttestationKeyPublic): Enrolment => ({ ...enrolment, host: { ...enrolment.host, attestationKey: ak } });
const whatIsLeft = async ({ testbed }: Host) => {
  let loaded = '';
  for (const kind of ['transient', 'loaded-session', 'saved-session']) loaded += (await testbed.tool('tpm2_getcap', `handles-${kind}`)).toString();
  return { loaded, files: (await access.list(join(testbed.folder, 'state/tpm'))).filter((name) => name !== 'tpm.lock') };
};

describe('a host', () => {
  it('is admitted, proven, when it answers the challenge that is made of its enrolment', async () => {
    const { challenge, kept } = await challengeHost(carried(a.enrolment), a.cas);
    expect(Challenge.parse(carried(challenge))).toEqual(challenge);
    expect(AdmissionPaper.parse(carried(kept))).toEqual(kept);
    const answer = await answerChallenge(a.config, carried(challenge));
    expect(AdmissionPaper.parse(carried(answer))).toEqual(answer);

    const [admitted, ...others] = admitHosts([answer, kept], []);
    expect(others).toEqual([]);
    const certificate = Buffer.from(a.enrolment.ekCertificate ?? '', 'base64');
    const rootSha256 = a.cas.find((ca) => ca.checkIssued(ca))?.fingerprint256.replaceAll(':', '').toLowerCase();
    const identity = { proof: 'ek-certificate', ekCertificateSha256: createHash('sha256').update(certificate).digest('hex'), rootSha256 };
    expect(admitted).toEqual({ host: { ...a.enrolment.host, identity }, pcrValues: a.enrolment.pcrValues, events: null });
    expect(await a.testbed.tool('tpm2_nvread', '0x01c00016')).toEqual(certificate);
    expect(await whatIsLeft(a)).toEqual({ loaded: '', files: [] });
  });

  it('says nothing of the secret that its TPM gave out', async () => {
    const { challenge } = await challengeHost(a.enrolment, a.cas);
    const endorsement = createEndorsement({ access, hostId: 'host-a', tcti: a.config.tcti, stateDir: join(a.testbed.folder, 'state/tpm') });
    const secret = await endorsement.activate(Buffer.from(challenge.credential, 'base64'));
    expect(secret.length).toBe(32);
    const { attest, signature } = (await answerChallenge(a.config, challenge)).quote;
    for (const part of [attest, signature]) expect(Buffer.from(part, 'base64').includes(secret)).toBe(false);
  });

  it('is not admitted without its answer', async () => {
    const { kept } = await challengeHost(a.enrolment, a.cas);
    const ofB = await challengeHost(b.enrolment, b.cas);
    const answerOfB = await answerChallenge(b.config, ofB.challenge);
    expect(() => admitHosts([kept], [])).toThrow(/^ANSWER_MISSING: host-a/);
    expect(() => admitHosts([kept, answerOfB], ['host-a'])).toThrow(/^ANSWER_MISSING: host-a/);
    expect(() => admitHosts([a.enrolment], [])).toThrow(/^ANSWER_MISSING: host-a/);
  });

  it('answers one challenge, not all', async () => {
    const [first, second] = [await challengeHost(a.enrolment, a.cas), await challengeHost(a.enrolment, a.cas)];
    const answer = await answerChallenge(a.config, first.challenge);
    expect(() => admitHosts([second.kept, answer], [])).toThrow(/^ANSWER_WRONG: .*host-a .*bound to something else/);
    expect(admitHosts([first.kept, answer], [])).toHaveLength(1);
  });
});

describe('two TPMs', () => {
  it('cannot answer for each other', async () => {
    const { challenge } = await challengeHost(a.enrolment, a.cas);
    await expect(answerChallenge({ ...b.config, hostId: HostId.parse('host-a') }, challenge)).rejects.toMatchObject({ code: 'ACTIVATION_REFUSED' });
    expect(await whatIsLeft(b)).toEqual({ loaded: '', files: [] });
  });

  it('do not make one host: the EK of one, the AK of the other', async () => {
    const swapped = attack(a.enrolment, b.enrolment.host.attestationKey);
    const { challenge, kept } = await challengeHost(swapped, a.cas);
    for (const { config } of [a, b]) await expect(answerChallenge(config, challenge)).rejects.toMatchObject({ code: 'ACTIVATION_REFUSED' });
    // Each TPM by itself has an answer for a challenge of its own, and neither is one for this.
    for (const { config, enrolment, cas } of [a, b]) {
      const answer = await answerChallenge(config, (await challengeHost(enrolment, cas)).challenge);
      expect(() => admitHosts([kept, { ...answer, hostId: kept.enrolment.host.hostId }], [])).toThrow(/^ANSWER_WRONG/);
    }
  });

  it('do not make one host either where the AK’s TPM quotes what the EK’s TPM gave out of a challenge of its own', async () => {
    const { challenge } = await challengeHost(a.enrolment, a.cas);
    const answerOfA = await answerChallenge(a.config, challenge);
    const { kept } = await challengeHost(attack(a.enrolment, b.enrolment.host.attestationKey), a.cas);
    expect(() => admitHosts([kept, answerOfA], [])).toThrow(/^ANSWER_WRONG: .*the AK did not sign it/);
  });

  it('of which one has lost its certificate to the other are found out at once', async () => {
    const stolen: Enrolment = { ...b.enrolment, ekCertificate: a.enrolment.ekCertificate };
    const { challenge } = await challengeHost(stolen, a.cas);
    await expect(answerChallenge(b.config, challenge)).rejects.toMatchObject({ code: 'ACTIVATION_REFUSED' });
  });
});

describe('an enrolment that was changed on its way', () => {
  it('with other PCR values is not admitted: the answer has those of the TPM', async () => {
    for (const change of [{ '7': '5a'.repeat(32) }, { '8': '5a'.repeat(32) }]) {
      const { challenge, kept } = await challengeHost({ ...a.enrolment, pcrValues: { ...a.enrolment.pcrValues, ...change } }, a.cas);
      const answer = await answerChallenge(a.config, challenge);
      expect(() => admitHosts([kept, answer], [])).toThrow(/^ANSWER_WRONG: .*its PCRs are not those of the enrolment/);
    }
  });

  it('with the right values for other PCRs is not admitted, whatever the challenge is changed to', async () => {
    const { '14': of14 = '', ...others } = a.enrolment.pcrValues;
    const { challenge, kept } = await challengeHost({ ...a.enrolment, pcrValues: { ...others, '15': of14 } }, a.cas);
    const answer = await answerChallenge(a.config, { ...challenge, pcrs: PCRS });
    expect(() => admitHosts([kept, answer], [])).toThrow(/^ANSWER_WRONG: .*its PCRs are not those of the enrolment/);
  });

  it('under the name of another host is not admitted, though challenge and answer were renamed too', async () => {
    const hostId = HostId.parse('host-c');
    const { challenge, kept } = await challengeHost({ ...a.enrolment, host: { ...a.enrolment.host, hostId } }, a.cas);
    const answer = await answerChallenge(a.config, { ...challenge, hostId: a.config.hostId });
    expect(() => admitHosts([kept, { ...answer, hostId }], [])).toThrow(/^ANSWER_WRONG: .*bound to something else/);
  });

  it('with another AK’s name is challenged by no operator', async () => {
    const ak = { ...a.enrolment.host.attestationKey, name: b.enrolment.host.attestationKey.name };
    await expect(challengeHost(attack(a.enrolment, ak), a.cas)).rejects.toMatchObject({ code: 'AK_UNFIT', message: expect.stringMatching(/its name is not that/) });
  });

  it('and whose answer was changed too is not admitted', async () => {
    const { challenge, kept } = await challengeHost(a.enrolment, a.cas);
    const answer = await answerChallenge(a.config, challenge);
    const bytes = Buffer.from(answer.quote.attest, 'base64');
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    const changed: Answer = { ...answer, quote: { ...answer.quote, attest: bytes.toString('base64') } };
    expect(() => admitHosts([kept, changed], [])).toThrow(/^ANSWER_WRONG: .*the AK did not sign it/);
  });
});

describe('an AK that signs more than its TPM made', () => {
  it('is challenged by no operator, and not believed either', async () => {
    const path = join(a.testbed.folder, 'free');
    const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda';
    await a.testbed.tool('tpm2_createprimary', '-C', 'e', '-G', 'ecc256:ecdsa-sha256:null', '-g', 'sha256', '-a', attributes, '-c', `${path}.ctx`, '-Q');
    await a.testbed.tool('tpm2_readpublic', '-c', `${path}.ctx`, '-f', 'tss', '-o', `${path}.pub`, '-Q');
    await a.testbed.tool('tpm2_flushcontext', '-t');
    const [publicArea = Buffer.alloc(0)] = parseSizedBuffers((await access.readFile(`${path}.pub`)) ?? Buffer.alloc(0), 1);
    const enrolment = attack(a.enrolment, { publicArea: publicArea.toString('base64'), name: nameOf(publicArea) });
    await expect(challengeHost(enrolment, a.cas)).rejects.toMatchObject({ code: 'AK_UNFIT', message: expect.stringMatching(/lacks restricted/) });
    expect(() => admitHosts([enrolment], ['host-a'])).toThrow(/^AK_UNFIT: .*lacks restricted/);
  });
});

describe('the certificate', () => {
  it('of another CA, or not yet good, makes no challenge', async () => {
    await expect(challengeHost(a.enrolment, b.cas)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_UNTRUSTED' });
    await expect(challengeHost(a.enrolment, a.cas, new Date('2020-01-01'))).rejects.toMatchObject({ code: 'EK_CERTIFICATE_EXPIRED' });
  });

  it('files are read before anything is believed', async () => {
    await expect(readCas([join(a.testbed.folder, 'none.pem')])).rejects.toMatchObject({ code: 'ENROLMENT_FILE_INVALID' });
    await expect(readCas([await a.testbed.file(Buffer.from('no certificate'))])).rejects.toMatchObject({ code: 'ENROLMENT_FILE_INVALID' });
  });
});

/** One after another on the TPM of host-b, whose own certificates go: P-384 first, as it is preferred. */
describe('a TPM', () => {
  const [P384, P256, RSA] = EK_TEMPLATES.map(({ certificateIndex }) => certificateIndex) as [string, string, string];
  const path = (name: string) => join(b.testbed.folder, name);
  const undefine = (index: string) => b.testbed.tool('tpm2_nvundefine', '-C', 'p', index);
  /** As a maker puts it there: an index that is `spareBytes` larger than what it holds. */
  async function store(index: string, content: Buffer, spareBytes = 0): Promise<void> {
    const attributes = 'ppwrite|ppread|ownerread|authread|no_da|platformcreate';
    await b.testbed.tool('tpm2_nvdefine', '-C', 'p', index, '-s', String(content.length + spareBytes), '-a', attributes);
    await b.testbed.tool('tpm2_nvwrite', '-C', 'p', index, '-i', await b.testbed.file(Buffer.concat([content, Buffer.alloc(spareBytes, 0xff)])));
  }
  async function publicEk(algorithm: string): Promise<KeyObject> {
    await b.testbed.tool('tpm2_createek', '-G', algorithm, '-c', path('ek.ctx'), '-u', path('ek.pem'), '-f', 'pem');
    await b.testbed.tool('tpm2_flushcontext', '-t');
    return createPublicKey((await access.readFile(path('ek.pem'))) ?? '');
  }
  async function admitted(cas: Host['cas']) {
    const enrolment = await enrol(b.config);
    const { challenge, kept } = await challengeHost(enrolment, cas);
    const [host] = admitHosts([kept, await answerChallenge(b.config, challenge)], []);
    return { identity: host?.host.identity, kind: new X509Certificate(Buffer.from(enrolment.ekCertificate ?? '', 'base64')).publicKey.asymmetricKeyDetails };
  }

  it.each(EK_TEMPLATES)('makes the EK of template $algorithm, as it is told here from its public key', async ({ algorithm, head }) => {
    await b.testbed.tool('tpm2_createek', '-G', algorithm, '-c', path('ek.ctx'), '-u', path('ek.pub'));
    await b.testbed.tool('tpm2_flushcontext', '-t');
    const made = (await access.readFile(path('ek.pub'))) ?? Buffer.alloc(0);
    const told = ekPublicOf(await publicEk(algorithm));
    expect(told?.template.head).toEqual(head);
    expect(sized(told?.publicArea ?? Buffer.alloc(0))).toEqual(made);
  });

  it('with an RSA certificate only is admitted by that', async () => {
    await undefine(P384);
    expect(await admitted(b.cas)).toMatchObject({ identity: { proof: 'ek-certificate' }, kind: { modulusLength: 2048 } });
    expect(await whatIsLeft(b)).toEqual({ loaded: '', files: [] });
  });

  it('refuses the challenge of another TPM with an RSA key as well', async () => {
    const { challenge } = await challengeHost(a.enrolment, a.cas);
    await expect(answerChallenge(b.config, challenge)).rejects.toMatchObject({ code: 'ACTIVATION_REFUSED' });
    const { challenge: ofOtherAk } = await challengeHost(attack(await enrol(b.config), a.enrolment.host.attestationKey), b.cas);
    await expect(answerChallenge(b.config, ofOtherAk)).rejects.toMatchObject({ code: 'ACTIVATION_REFUSED' });
    expect(await whatIsLeft(b)).toEqual({ loaded: '', files: [] });
  });

  it('with a P-256 certificate is admitted by that, also where its index is larger', async () => {
    const ca = await createTestCa(b.testbed.folder, 'maker');
    const certificate = await ca.issue({ name: 'EK', key: await publicEk('ecc'), extensions: EK_EXTENSIONS });
    await store(P256, certificate, 100);
    const ekCertificateSha256 = createHash('sha256').update(certificate).digest('hex');
    expect(await admitted(certificatesIn(ca.certificate))).toMatchObject({ identity: { proof: 'ek-certificate', ekCertificateSha256 }, kind: { namedCurve: 'prime256v1' } });
    await undefine(P256);
  });

  it('that has the certificate of another EK answers nothing', async () => {
    const ca = await createTestCa(b.testbed.folder, 'maker');
    await store(P256, await ca.issue({ name: 'EK', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey, extensions: EK_EXTENSIONS }));
    const { challenge } = await challengeHost(await enrol(b.config), certificatesIn(ca.certificate));
    await expect(answerChallenge(b.config, challenge)).rejects.toMatchObject({ code: 'EK_DIFFERS' });
    expect(await whatIsLeft(b)).toEqual({ loaded: '', files: [] });
    await undefine(P256);
  });

  it.each([
    ['is none', Buffer.from('no certificate')],
    ['is cut off', Buffer.from('3082ffff00', 'hex')],
  ])('whose certificate %s can be believed without proof, and nothing else', async (_, content) => {
    const { challenge } = await challengeHost(await enrol(b.config), b.cas);
    await store(P256, content);
    const enrolment = await enrol(b.config);
    await expect(challengeHost(enrolment, b.cas)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_INVALID' });
    await expect(answerChallenge(b.config, challenge)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_INVALID' });
    expect(admitHosts([enrolment], ['host-b'])).toMatchObject([{ host: { identity: { proof: 'none' } } }]);
    await undefine(P256);
  });

  it('without a certificate is admitted only where the operator names it, and then as unproven', async () => {
    const { challenge } = await challengeHost(await enrol(b.config), b.cas);
    await undefine(RSA);
    const enrolment = await enrol(b.config);
    expect(enrolment.ekCertificate).toBeNull();
    await expect(challengeHost(enrolment, b.cas)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_MISSING' });
    await expect(answerChallenge(b.config, challenge)).rejects.toMatchObject({ code: 'EK_CERTIFICATE_MISSING' });
    for (const unproven of [[], ['host-a']]) expect(() => admitHosts([enrolment], unproven)).toThrow(/^EK_CERTIFICATE_MISSING: .*host-b/);
    expect(admitHosts([enrolment], ['host-b'])).toEqual([{ host: { ...enrolment.host, identity: { proof: 'none' } }, pcrValues: enrolment.pcrValues, events: null }]);
  });
});
