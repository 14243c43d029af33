/** domain/appraisal.ts: a statement counts by the state in which its host signed it, and what is wrong with that is told of that host. */
import { describe, expect, it } from 'vitest';
import { type StatementInput, appraiseStatement } from '../../domain/appraisal.js';
import { DESTINATION, digest, hostClassOf, hostEntryOf, tpmName } from '../support/documents.js';

const good: StatementInput = {
  host: hostEntryOf({ hostId: DESTINATION }),
  hostClass: hostClassOf(),
  quote: {
    magic: 'ff544347',
    type: '8018',
    qualifiedSigner: tpmName(0x99),
    extraData: digest(0xb1),
    clock: '12345',
    resetCount: 3,
    restartCount: 1,
    isClockSafe: true,
    firmwareVersion: '2019102300163636',
    pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [0, 4, 7] }],
    pcrDigest: digest(0xdd),
  },
  isSignatureValid: true,
  expectedSigner: tpmName(0x99),
  bindingDigest: digest(0xb1),
  referenceDigests: [digest(0xdc), digest(0xdd)],
  boot: { resetCount: 3, restartCount: 1, clock: '12345' },
};

describe('a statement', () => {
  it('counts where it was signed in the state of any active reference set', () => {
    expect(appraiseStatement(good)).toEqual([]);
  });

  it.each([
    ['another state', [digest(0xdc)]],
    ['any state, where no set is active', []],
  ])('does not count that was signed in %s, and the host is named', (_, referenceDigests) => {
    expect(appraiseStatement({ ...good, referenceDigests })).toEqual([
      {
        code: 'STATE_NOT_REFERENCE',
        message: 'the PCRs of host-b had no values of an active reference set when it signed this',
        remedy: 'Find out what changed on host-b (`korora host list`). Where it is right, put the values into a new bundle; else believe nothing that it signed in that state.',
      },
    ]);
  });
});
