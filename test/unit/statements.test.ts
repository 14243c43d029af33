/**
 * Whom a host believes (activities/statements.ts): a statement counts by its signer's standing in the bundle, by the state that it was signed in, and,
 * within a move, by the boot that was attested. A genuine signature of an enrolled AK alone counts for nothing.
 */
import { describe, expect, it } from 'vitest';
import { createStatements } from '../../activities/statements.js';
import type { HostServices } from '../../activities/services.js';
import type { PcrValues, SignedAttestation, TpmBoot } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { KororaError } from '../../domain/failures.js';
import type { HostId } from '../../domain/ids.js';
import type { HostEntry } from '../../domain/trust-bundle.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import type { Attest } from '../../tpm/structures.js';
import { DESTINATION, SOURCE, digest, hostClassOf, hostEntryOf, rejectionOf, trustBundleOf } from '../support/documents.js';
import { makeSoftwareKey, quoteBy } from '../../infra/testbed/software-ak.js';

const PCRS = [0, 4, 7];
const sets = hostClassOf().referenceSets;
const [ACTIVE, OBSOLETE] = [sets[0]?.pcrValues ?? {}, sets[1]?.pcrValues ?? {}];
const ak = makeSoftwareKey();
const verdict = rejectionOf();
/** As quoteBy has it. */
const BOOT: TpmBoot = { resetCount: 3, restartCount: 1, clock: '12345' };

interface Signing {
  readonly values?: PcrValues;
  readonly pcrs?: readonly number[];
  readonly document?: unknown;
  readonly attest?: Partial<Attest>;
  readonly clockInfo?: Partial<Attest['clockInfo']>;
  readonly by?: ReturnType<typeof makeSoftwareKey>;
}

function signed({ values = ACTIVE, pcrs = PCRS, document = verdict, attest, clockInfo, by = ak }: Signing = {}): SignedAttestation {
  const quote = quoteBy(by, { extraData: Buffer.from(digestOf(document), 'hex'), pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, values), 'hex') });
  return by.sign({ ...quote, ...attest, clockInfo: { ...quote.clockInfo, ...clockInfo } });
}

function problemOf(quote: SignedAttestation, boot: TpmBoot | null = BOOT, host: Partial<HostEntry> = {}, asked: HostId = DESTINATION): Promise<string | null> {
  const { publicArea, name } = ak;
  const bundle = trustBundleOf({ hosts: [hostEntryOf({ hostId: SOURCE }), hostEntryOf({ hostId: DESTINATION, attestationKey: { publicArea, name }, identity: { proof: 'none' }, ...host })] });
  const services = { hostId: SOURCE, verifier: createEvidenceVerifier(), installedBundle: () => Promise.resolve({ bundle, digest: digestOf(bundle) }) } as Partial<HostServices> as HostServices;
  return createStatements(services).problem(asked, verdict, quote, boot);
}

describe('a statement', () => {
  it('counts from an active host in a state of an active reference set, in the boot that was attested', async () => {
    expect(await problemOf(signed())).toBeNull();
    expect(await problemOf(signed({ clockInfo: { clockMs: 99_999n } }))).toBeNull();
  });

  it.each<[string, string, Signing, Partial<HostEntry>]>([
    ['by a host that the bundle revoked', 'HOST_NOT_ACTIVE', {}, { status: 'revoked' }],
    ['by a host that the bundle suspended', 'HOST_NOT_ACTIVE', {}, { status: 'suspended' }],
    ['that quotes PCR 23 alone', 'PCR_SELECTION_WRONG', { pcrs: [23], values: { '23': digest(0) } }, {}],
    ['that quotes fewer PCRs', 'PCR_SELECTION_WRONG', { pcrs: [0, 4] }, {}],
    ['in the state of an obsolete reference set', 'STATE_NOT_REFERENCE', { values: OBSOLETE }, {}],
    ['in a state that is none of the bundle', 'STATE_NOT_REFERENCE', { values: { ...ACTIVE, '4': digest(0x99) } }, {}],
    ['after a reset of the TPM', 'RESET_COUNT_CHANGED', { clockInfo: { resetCount: 4 } }, {}],
    ['after a restart of the TPM', 'RESET_COUNT_CHANGED', { clockInfo: { restartCount: 2 } }, {}],
    ['from before its host was attested', 'RESET_COUNT_CHANGED', { clockInfo: { clockMs: 12_344n } }, {}],
    ['with a clock that is not safe', 'CLOCK_NOT_SAFE', { clockInfo: { isSafe: false } }, {}],
    ['by a TPM whose firmware the class does not have', 'FIRMWARE_NOT_ALLOWED', { attest: { firmwareVersion: 1n } }, {}],
    ['about something else', 'QUALIFYING_DATA_MISMATCH', { document: rejectionOf({ epoch: 3 }) }, {}],
    ['by another key', 'QUOTE_SIGNATURE_INVALID', { by: makeSoftwareKey() }, {}],
    ['that no TPM made', 'QUOTE_MAGIC_WRONG', { attest: { magic: 1 } }, {}],
  ])('%s does not', async (_, code, signing, host) => {
    expect(await problemOf(signed(signing), BOOT, host)).toContain(`${code}: `);
  });

  it('that holds in any boot counts after a restart, too', async () => {
    expect(await problemOf(signed({ clockInfo: { resetCount: 4, clockMs: 1n } }), null)).toBeNull();
  });

  it('whose bytes are none of a TPM is a problem like any other', async () => {
    expect(await problemOf({ attest: 'AAAA', signature: 'AAAA' })).toContain('host-b');
  });

  it('of a host that the bundle lacks is refused as such', async () => {
    await expect(problemOf(signed(), BOOT, {}, 'host-x' as HostId)).rejects.toThrow(KororaError);
  });
});
