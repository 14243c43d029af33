/** client/verify/statements.ts: what is said of each statement of a host, to the letter, and what is not proven where one thing in it is wrong. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../domain/evidence.js';
import type { Attest } from '../../tpm/structures.js';
import { SOURCE, digest, migrationId } from '../support/documents.js';
import { type Said, fieldsOf, saidOfMove } from '../support/reports.js';
import type { OtherwiseSigned, Quoted } from '../support/signed-evidence.js';

const NONE = { source: null, destination: null };
const outcome = (kind: Evidence['outcome']['kind']): Evidence['outcome'] => ({ kind, runsOn: SOURCE, failures: [] });
const REJECTED = { verdict: { verdict: 'rejected', manifestDigest: null, reason: 'the digest differs' } };
const RESUMED = { receipts: NONE, outcome: outcome('source-resumed') };
const REFUSED = { manifest: null, verdict: null, receipts: NONE, outcome: outcome('refused') };
const NO_RECEIPTS = ['rounds', 'timings.source', 'approval', 'limitsChanges'].map((field) => `${field}: host-a gave no receipt`).concat('timings.destination: host-b gave no receipt');
const FRESH = 'nonces: whether they were fresh: each host checked its own';
const [SHOWN_SOURCE, SHOWN_DESTINATION] = ['attestation.source: PCRs 0, 4, 7 as in reference set kernel-6.1; its TLS key [host-a, AK]', 'attestation.destination: PCRs 0, 4, 7 as in reference set kernel-6.1; its TLS key and wrapping key [host-b, AK]'];
const IMAGE = `image of 123456789 bytes, SHA-256 ${digest(0x51)}, vTPM ${digest(0x71)}`;

describe('a move that went well', () => {
  let said: Said;
  beforeAll(async () => void (said = await saidOfMove()));

  it('is proven by both hosts', () => {
    expect(said.proven.filter((line) => line.includes(', AK]'))).toEqual([
      SHOWN_SOURCE,
      SHOWN_DESTINATION,
      'verdict: accepted [host-b, AK]',
      `manifest: ${IMAGE}; its first move, or since a fence [host-b, AK]`,
      'receipts.source: it gave the VM up, and what it saw: rounds, timings, what operators said [host-a, AK]',
      'receipts.destination: the VM runs, and what it saw: timings [host-b, AK]',
    ]);
  });

  it('leaves unproven what no key can prove, and nothing else', () => {
    expect(said).toMatchObject({ problems: [], missing: [], unproven: [FRESH] });
  });
});

describe('an attestation', () => {
  const shown = (attestation: Partial<Evidence['attestation']>, others: Partial<Evidence> = REFUSED) => saidOfMove({}, (evidence) => ({ ...others, attestation: { ...evidence.attestation, ...attestation } }));

  it('of no host is no lie where the move ended before it', async () => {
    expect(await shown({ ...NONE, referenceSets: NONE })).toMatchObject({
      problems: [],
      unproven: ['attestation.source: the move ended before it', 'attestation.destination: the move ended before it', ...NO_RECEIPTS],
    });
  });

  it.each<['source' | 'destination', string, string]>([
    ['source', SHOWN_SOURCE, 'destination'],
    ['destination', SHOWN_DESTINATION, 'source'],
  ])('of the %s alone, which its peer never appraised, proves its state', async (role, line, other) => {
    const said = await shown({ [other]: null, referenceSets: NONE });
    expect(said.problems).toEqual([]);
    expect(said.proven).toContain(line);
    const here = `attestation.referenceSets: ${role}: the peer has not said that it appraised it`;
    const there = `attestation.${other}: the move ended before it`;
    expect(said.unproven).toEqual([...(role === 'source' ? [here, there] : [there, here]), FRESH, ...NO_RECEIPTS]);
  });

  it('that is missing from a move is told', async () => {
    const said = await shown({ ...NONE, referenceSets: NONE }, {});
    for (const role of ['source', 'destination']) expect(said.problems).toContain(`attestation.${role}: it is missing`);
  });

  it('that the peer took for another reference set, or appraised though nothing was shown, is told', async () => {
    expect((await shown({ referenceSets: { source: 'kernel-6.1', destination: 'kernel-5.9' } })).problems).toEqual(['attestation.referenceSets: destination: kernel-5.9 instead of kernel-6.1']);
    expect((await shown({ source: null, referenceSets: { source: 'kernel-6.1', destination: 'kernel-6.1' } })).problems).toEqual(['attestation.referenceSets: source: of a host that proved nothing']);
  });
});

describe('a verdict', () => {
  it('that rejects proves its reason, and leaves the manifest, if it is there', async () => {
    const said = await saidOfMove(REJECTED, RESUMED);
    expect(said).toMatchObject({ problems: [], missing: [] });
    expect(said.proven).toContain('verdict: rejected: the digest differs [host-b, AK]');
    expect(said.unproven).toEqual([FRESH, 'manifest: it was rejected', ...NO_RECEIPTS, 'outcome.runsOn: no host signed that the VM runs']);
    expect((await saidOfMove(REJECTED, { ...RESUMED, manifest: null })).unproven).not.toContain('manifest: it was rejected');
  });

  it('that is not there leaves a manifest that is', async () => {
    expect((await saidOfMove({}, ({ manifest }) => ({ ...REFUSED, manifest }))).unproven).toContain('manifest: no verdict names it');
    expect((await saidOfMove({}, REFUSED)).unproven.join()).not.toContain('manifest');
  });

  it.each<[string, string | number, string | number]>([
    ['migrationId', migrationId(9), migrationId(1)],
    ['vmId', 'web-2', 'web-1'],
    ['destination', 'host-a', 'host-b'],
    ['epoch', 3, 2],
  ])('with another %s is not proven', async (member, value, right) => {
    const said = await saidOfMove({ verdict: { [member]: value } });
    expect(said.problems).toContain(`verdict.verdict.${member}: ${value} instead of ${right}`);
    expect(fieldsOf(said)).not.toContain('verdict');
    expect(fieldsOf(said)).toContain('manifest');
  });

  it('names what it accepted', async () => {
    const { problems } = await saidOfMove({}, { manifest: null });
    expect(problems).toEqual([expect.stringMatching(/^manifest: it is missing: what was accepted is not shown; the verdict names [0-9a-f]{64}$/)]);
    const other = await saidOfMove({}, ({ manifest }) => ({ manifest: manifest && { ...manifest, streamBytes: 1 } }));
    expect(other.problems).toEqual(['manifest: it is not the one that was accepted']);
    expect(fieldsOf(other)).not.toContain('manifest');
  });

  it('is followed by the next one', async () => {
    expect((await saidOfMove({ manifest: { previousVerdict: digest(9) } })).proven).toContain(`manifest: ${IMAGE}; after verdict ${digest(9)} [host-b, AK]`);
  });

  it('does not prove a manifest of another move', async () => {
    const said = await saidOfMove({ manifest: { vmId: 'web-2' } });
    expect([said.problems, fieldsOf(said).includes('manifest')]).toEqual([['manifest.vmId: web-2 instead of web-1'], false]);
  });
});

describe('a receipt', () => {
  it('of a move without a verdict is told', async () => {
    const said = await saidOfMove({}, { verdict: null, manifest: null, outcome: outcome('refused') });
    expect(said.problems).toEqual(['receipts.source: of a move without a verdict', 'receipts.destination: of a move without a verdict']);
    expect(fieldsOf(said).join()).not.toContain('receipts');
  });

  it.each<[string, string | number]>([
    ['migrationId', migrationId(9)],
    ['vmId', 'web-2'],
    ['epoch', 3],
    ['orderDigest', digest(1)],
    ['verdictDigest', digest(1)],
    ['hostId', 'host-c'],
  ])('with another %s is told, and proves nothing', async (member, value) => {
    const said = await saidOfMove({ receipt: { [member]: value } });
    expect(said.problems.map((line) => line.replace(/ instead of .*/, ''))).toEqual(['source', 'destination'].map((role) => `receipts.${role}.receipt.${member}: ${value}`));
    expect(fieldsOf(said).join()).not.toContain('receipts');
  });

  it('of the other role is told', async () => {
    expect((await saidOfMove({ receipt: { role: 'source' } })).problems).toEqual(['receipts.destination.receipt.role: source instead of destination']);
  });

  it('of what the file does not say is told with all that it is over', async () => {
    const said = await saidOfMove({ receipt: { observedDigest: digest(1) } });
    expect(said.problems).toEqual(['rounds, timings.source, approval, limitsChanges: host-a signed that it saw something else', 'timings.destination: host-b signed that it saw something else']);
    expect(fieldsOf(said).join()).not.toContain('receipts');
  });
});

describe('a statement that a host may not be believed', () => {
  const otherwise = (what: Quoted, changes: (attest: Attest) => Partial<Attest>): OtherwiseSigned => ({ attest: (quoted, attest) => (quoted === what ? { ...attest, ...changes(attest) } : attest) });
  const reset = ({ clockInfo }: Attest) => ({ clockInfo: { ...clockInfo, resetCount: 9 } });

  it.each(['verdict', 'receipts.source', 'receipts.destination'] as const)('proves nothing: %s after its TPM was reset', async (what) => {
    const said = await saidOfMove(otherwise(what, reset));
    expect(said.problems).toEqual([expect.stringMatching(new RegExp(`^${what}: RESET_COUNT_CHANGED: `))]);
    expect(fieldsOf(said)).not.toContain(what);
  });

  it('proves nothing: a rejection by a host that attested nothing', async () => {
    const said = await saidOfMove(REJECTED, { ...RESUMED, attestation: { ...NONE, referenceSets: NONE } });
    expect(said.problems).toEqual(['verdict: by a host that attested nothing in this move']);
    expect(fieldsOf(said)).not.toContain('verdict');
  });
});

describe('a succession', () => {
  it('lacks the verdict, and says which', async () => {
    const said = await saidOfMove({ succession: {} });
    expect(said).toMatchObject({ problems: [], missing: ['verdict: host-b owned the VM later, and signed no more of this move'] });
    expect(said.proven).toContain('succession: host-b owned epoch 4 [host-b, AK]');
  });

  it.each<[string, OtherwiseSigned, string | RegExp]>([
    ['of another VM', { succession: { vmId: 'web-2' } }, 'succession.succession.vmId: web-2 instead of web-1'],
    ['of no later epoch', { succession: { ownedEpoch: 1 } }, 'succession.succession.ownedEpoch: 1 is no later epoch than the order’s'],
    ['that signs something else', { succession: {}, attest: (what, attest) => (what === 'succession' ? { ...attest, extraData: Buffer.alloc(32) } : attest) }, /^succession: QUALIFYING_DATA_MISMATCH: /],
  ])('is not proven %s', async (_, signed, problem) => {
    const said = await saidOfMove(signed);
    expect(said.problems).toEqual([typeof problem === 'string' ? problem : expect.stringMatching(problem)]);
    expect(fieldsOf(said)).not.toContain('succession');
  });
});
