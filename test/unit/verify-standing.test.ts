/**
 * What "holds" means: of evidence whose every signature is genuine, made by hosts that signed what they should not have, or from which
 * what speaks against its outcome was taken out. The AKs are in software (test/support/signed-evidence.ts).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { addVerifyCommand } from '../../cli/commands/verify.js';
import { type EvidenceReport, checkChain, verifyEvidence } from '../../client/index.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import type { Evidence } from '../../domain/evidence.js';
import type { Attest } from '../../tpm/structures.js';
import { ADA, POLICY_SIGNER, SOURCE, VM, digest, manifestOf, migrationId, orderOf, samples, verdictOf } from '../support/documents.js';
import { type OtherwiseSigned, type Quoted, type SignedMove, signedMove } from '../support/signed-evidence.js';

const move = await signedMove();

function verified(evidence: unknown, { bundle }: Pick<SignedMove, 'bundle'> = move): EvidenceReport {
  return verifyEvidence(evidence, bundle, [POLICY_SIGNER.publicKey]);
}

async function problemsOf(signed: OtherwiseSigned, changes: Partial<Evidence> = {}): Promise<readonly string[]> {
  const { evidence, bundle } = await signedMove(signed);
  return verified({ ...evidence, ...changes }, { bundle }).problems.map(({ field, problem }) => `${field}: ${problem}`);
}

const outcome = (kind: Evidence['outcome']['kind']): Evidence['outcome'] => ({ kind, runsOn: SOURCE, failures: [] });
const OUTCOME = { refused: outcome('refused'), 'source-resumed': outcome('source-resumed') };
const NO_RECEIPTS = { source: null, destination: null };
/** What tells that the VM moved. */
const STRIPPED = { manifest: null, verdict: null, receipts: NO_RECEIPTS };

describe('an outcome', () => {
  it('that all sign who can know holds', () => {
    expect(verified(move.evidence)).toMatchObject({ standing: 'holds', summary: 'holds', missing: [], problems: [] });
  });

  it.each(['refused', 'source-resumed'] as const)('%s is signed by nobody, also of a move that was accepted and whose verdict was taken out', (kind) => {
    const report = verified({ ...move.evidence, ...STRIPPED, outcome: OUTCOME[kind] });
    expect(report).toMatchObject({
      standing: 'incomplete', summary: 'nothing in it is wrong, but no host signed how the move ended', missing: [{ field: 'verdict', why: 'no host signed how the move ended' }], problems: [],
    });
    expect(report.told[3]).toEqual({ field: 'outcome', what: `${kind}, VM on host-a` });
  });

  it('source-resumed is signed where the destination signed that it rejected', async () => {
    const { evidence, bundle } = await signedMove({ verdict: { verdict: 'rejected', manifestDigest: null, reason: 'the digest differs' } });
    expect(verified({ ...evidence, receipts: NO_RECEIPTS, outcome: OUTCOME['source-resumed'] }, { bundle })).toMatchObject({ standing: 'holds', problems: [] });
  });

  it('moved lacks what a host did not sign', () => {
    const { receipts } = move.evidence;
    const lacking = (left: Partial<Evidence['receipts']>) => verified({ ...move.evidence, receipts: { ...receipts, ...left } });
    expect(lacking({ destination: null })).toMatchObject({ standing: 'incomplete', summary: 'nothing in it is wrong, but host-b did not sign that it runs the VM', missing: [{ field: 'receipts.destination' }] });
    expect(lacking({ source: null })).toMatchObject({ standing: 'incomplete', summary: 'nothing in it is wrong, but host-a did not sign that it gave the VM up' });
    expect(lacking(NO_RECEIPTS).summary).toMatch(/gave the VM up, and host-b did not sign that it runs the VM$/);
  });

  it.each<[string, Partial<Evidence>, string]>([
    ['its manifest', { manifest: null }, 'manifest'],
    ['its verdict', { verdict: null }, 'outcome.kind'],
    ['the attestation of the source', { attestation: { ...move.evidence.attestation, source: null, referenceSets: { source: null, destination: 'kernel-6.1' } } }, 'attestation.source'],
    ['the attestation of the destination', { attestation: { ...move.evidence.attestation, destination: null, referenceSets: { source: 'kernel-6.1', destination: null } } }, 'attestation.destination'],
  ])('moved does not hold without %s', (_, changes, field) => {
    const report = verified({ ...move.evidence, ...changes });
    expect(report).toMatchObject({ standing: 'does-not-hold', summary: 'DOES NOT HOLD' });
    expect(report.problems.map((problem) => problem.field)).toContain(field);
  });

  it('moved does not hold where the accepted manifest is that of another move, though the verdict names it', async () => {
    expect(await problemsOf({ manifest: { migrationId: migrationId(9) } })).toEqual([`manifest.migrationId: ${migrationId(9)} instead of ${migrationId(1)}`]);
    expect(await problemsOf({ manifest: { vmId: 'web-2' } })).toEqual(['manifest.vmId: web-2 instead of web-1']);
    expect(await problemsOf({ manifest: { epoch: 3 } })).toEqual(['manifest.epoch: 3 instead of 2']);
  });

  it('of a verdict that accepts no manifest, or rejects one, is no document at all', async () => {
    await expect(problemsOf({ verdict: { manifestDigest: null } })).rejects.toThrow('an acceptance names its manifest, a rejection none');
    await expect(problemsOf({ verdict: { verdict: 'rejected', reason: 'a reason' } })).rejects.toThrow('an acceptance names its manifest, a rejection none');
    await expect(problemsOf({ verdict: { reason: 'a reason' } })).rejects.toThrow('a rejection has a reason, an acceptance none');
  });
});

describe('a destination that owned a later epoch, and no longer knows the move', () => {
  it('proves that it took the VM, and nothing more: the file is not wrong, and lacks a verdict', async () => {
    const { evidence, bundle } = await signedMove({ succession: {} });
    const report = verified(evidence, { bundle });
    expect(report).toMatchObject({ standing: 'incomplete', problems: [] });
    expect(report.proven).toContainEqual(expect.objectContaining({ field: 'succession', what: 'host-b owned epoch 4' }));
    expect(report.missing).toEqual([expect.objectContaining({ field: 'verdict' })]);
  });

  it.each<[string, OtherwiseSigned, RegExp]>([
    ['of another move', { succession: { migrationId: migrationId(9) } }, /^succession\.succession\.migrationId/],
    ['of another VM', { succession: { vmId: 'web-2' } }, /^succession\.succession\.vmId/],
    ['by another host', { succession: { hostId: SOURCE } }, /^succession\.succession\.hostId/],
    ['of no later epoch', { succession: { ownedEpoch: 1 } }, /^succession\.succession\.ownedEpoch/],
    ['in a state of no reference', { succession: {}, attest: (what, attest) => (what === 'succession' ? { ...attest, attested: { ...attest.attested, pcrDigest: Buffer.alloc(32) } as Attest['attested'] } : attest) }, /^succession: STATE_NOT_REFERENCE/],
    ['by a revoked host', { succession: {}, destination: { status: 'revoked' } }, /^succession: HOST_NOT_ACTIVE/],
  ])('is not believed %s', async (_, signed, expected) => {
    expect(await problemsOf(signed)).toContainEqual(expect.stringMatching(expected));
  });

  it('has no verdict beside', async () => {
    const { evidence: { verdict, manifest } } = move;
    expect(await problemsOf({ succession: {} }, { verdict, manifest })).toContain('succession: of a move that has a verdict');
  });

  it('says so, or the outcome that it moved does not hold', async () => {
    expect(await problemsOf({ succession: {} }, { succession: null })).toContain('outcome.kind: moved, and the destination did not accept');
  });
});

describe('a host that signed', () => {
  const STATEMENTS = ['verdict', 'receipts.source', 'receipts.destination'] as const;
  const otherwise = (what: Quoted, changes: (attest: Attest) => Partial<Attest>): OtherwiseSigned => ({ attest: (quoted, attest) => (quoted === what ? { ...attest, ...changes(attest) } : attest) });
  const clock = (changes: Partial<Attest['clockInfo']>) => (attest: Attest) => ({ clockInfo: { ...attest.clockInfo, ...changes } });
  const quote = (changes: object) => (attest: Attest) => ({ attested: { ...attest.attested, ...changes } as Attest['attested'] });

  describe.each(STATEMENTS)('%s', (what) => {
    it.each<[string, (attest: Attest) => Partial<Attest>, readonly RegExp[]]>([
      ['after its TPM was reset', clock({ resetCount: 4 }), [/RESET_COUNT_CHANGED.*resetCount/]],
      ['after its TPM was restarted', clock({ restartCount: 2 }), [/RESET_COUNT_CHANGED.*restartCount/]],
      ['before it attested', clock({ clockMs: 12_344n }), [/RESET_COUNT_CHANGED.*clock/]],
      ['by a clock that is not safe', clock({ isSafe: false }), [/CLOCK_NOT_SAFE/]],
      ['in another state', quote({ pcrDigest: Buffer.alloc(32, 7) }), [/STATE_NOT_REFERENCE/, /its PCRs are not those that were attested/]],
      ['over other PCRs', quote({ pcrSelection: [{ hashAlgorithm: 0x000b, pcrs: [23] }] }), [/PCR_SELECTION_WRONG/]],
      ['over these PCRs and one more', quote({ pcrSelection: [{ hashAlgorithm: 0x000b, pcrs: [0, 4, 7, 23] }] }), [/PCR_SELECTION_WRONG/]],
      ['with another firmware', () => ({ firmwareVersion: 1n }), [/FIRMWARE_NOT_ALLOWED/]],
      ['something else', () => ({ extraData: Buffer.alloc(32) }), [/QUALIFYING_DATA_MISMATCH/]],
    ])('%s is not believed', async (_, changes, expected) => {
      const problems = await problemsOf(otherwise(what, changes));
      expect(problems).toEqual(expected.map((text) => expect.stringMatching(text) as string));
      for (const problem of problems) expect(problem).toMatch(new RegExp(`^${what}: `));
    });

    it('later, in the same boot, is believed', async () => {
      expect(await problemsOf(otherwise(what, clock({ clockMs: 99_999n })))).toEqual([]);
    });
  });

  it('a rejection in another boot than it attested is not believed', async () => {
    const rejected = { verdict: 'rejected', manifestDigest: null, reason: 'x' };
    expect(await problemsOf({ ...otherwise('verdict', clock({ resetCount: 9 })), verdict: rejected }, { receipts: NO_RECEIPTS, outcome: OUTCOME['source-resumed'] })).toEqual([expect.stringMatching(/^verdict: RESET_COUNT_CHANGED/)]);
  });

  it('and attested nothing is not believed', async () => {
    const attestation = { source: null, destination: null, referenceSets: { source: null, destination: null } };
    const problems = await problemsOf({ verdict: { verdict: 'rejected', manifestDigest: null, reason: 'x' } }, { attestation, receipts: NO_RECEIPTS, outcome: OUTCOME['source-resumed'] });
    expect(problems).toEqual(['verdict: by a host that attested nothing in this move']);
  });

  it('and that the bundle revoked is not believed in anything', async () => {
    const problems = await problemsOf({ destination: { status: 'revoked' } });
    for (const what of ['attestation.destination', 'verdict', 'receipts.destination'] as const) expect(problems).toContainEqual(expect.stringMatching(new RegExp(`^${what}: HOST_NOT_ACTIVE: host host-b `)));
  });
});

describe('what the control plane alone says', () => {
  it('stands apart from all that is proven, with the names that it chose', () => {
    const phases = { requested: 0, 'signed by host-b': 1 };
    const report = verified({ ...move.evidence, timings: { ...move.evidence.timings, phases } });
    expect(report.told).toContainEqual({ field: 'timings.phases', what: 'requested 0 ms, signed by host-b 1 ms' });
    expect(JSON.stringify([report.proven, report.unproven, report.missing])).not.toContain('signed by host-b');
  });
});

describe('a chain', () => {
  /** Of the n-th move of the VM, as far as a chain reads it. */
  async function nth(n: number, previousVerdict: string | null): Promise<Evidence> {
    const named = { migrationId: migrationId(n), epoch: n + 1 };
    const manifest = manifestOf({ ...named, previousVerdict });
    const order = await signEnvelope(orderOf({ migrationId: migrationId(n), epoch: n }), ADA);
    return { ...move.evidence, order, manifest, verdict: { verdict: verdictOf({ ...named, manifestDigest: digestOf(manifest) }), quote: samples.verdictStatement.quote } };
  }
  const verdictDigest = ({ verdict }: Evidence) => digestOf(verdict?.verdict);

  it('of moves that follow each other is whole, in any order and beside moves that failed', async () => {
    const first = await nth(1, null);
    const second = await nth(2, verdictDigest(first));
    const failed = { ...(await nth(3, null)), ...STRIPPED };
    expect([[first, second], [second, failed, first], [second]].map(checkChain)).toEqual(Array.from({ length: 3 }, () => ({ problems: [], gaps: [] })));
  });

  it('that lacks a link says so: one that is not there, one whose verdict was taken out, one without its manifest', async () => {
    const first = await nth(1, null);
    const second = await nth(2, verdictDigest(first));
    const third = await nth(3, verdictDigest(second));
    const named = `VM ${VM}: the move to epoch 3 follows verdict ${verdictDigest(first)}, which none of these files has`;
    expect(checkChain([second, third])).toEqual({ problems: [], gaps: [named] });
    expect(checkChain([{ ...first, ...STRIPPED }, second])).toEqual({ problems: [], gaps: [`${named}; 1 of them have no accepted verdict`] });
    expect(checkChain([first, { ...second, manifest: null }])).toEqual({ problems: [], gaps: [`VM ${VM}: the move to epoch 3 has no manifest, which would name the move before`] });
    expect(checkChain([first, third]).problems).toEqual([`VM ${VM}: the move to epoch 4 does not follow the one to epoch 2: it names verdict ${verdictDigest(second)}`]);
    expect(checkChain([first, await nth(2, digest(9))]).problems).toHaveLength(1);
  });
});

describe('korora verify', () => {
  let folder: string;
  afterEach(async () => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  async function korora(evidence: unknown, ...options: readonly string[]): Promise<{ readonly exitCode: number; readonly said: string }> {
    folder = await mkdtemp(join(tmpdir(), 'korora-standing-'));
    await writeFile(join(folder, 'trust.json'), JSON.stringify(move.bundle));
    await writeFile(join(folder, 'evidence.json'), JSON.stringify(evidence));
    let said = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((said += text.toString()), true));
    const program = new Command('korora').option('--trust <file>').option('--json').exitOverride();
    addVerifyCommand(program);
    await program.parseAsync(['--trust', join(folder, 'trust.json'), ...options, 'verify', join(folder, 'evidence.json')], { from: 'user' });
    return { exitCode: Number(process.exitCode ?? 0), said };
  }

  it('ends with 3, and says in its first line what is not signed, where nothing is wrong', async () => {
    const stripped = { ...move.evidence, ...STRIPPED, outcome: OUTCOME.refused };
    const { exitCode, said } = await korora(stripped);
    expect([exitCode, said.split('\n')[0]]).toEqual([3, expect.stringMatching(/evidence\.json: nothing in it is wrong, but no host signed how the move ended$/)]);
    expect(said).toMatch(/\n {2}told by the control plane, and signed by nobody:\n(?: {4}\S+: .*\n)+ {2}MISSING {5}verdict: no host signed how the move ended\n$/);
  });

  it('says the same to programs', async () => {
    const { exitCode, said } = await korora({ ...move.evidence, receipts: NO_RECEIPTS }, '--json');
    const { reports, chain } = JSON.parse(said) as { reports: readonly EvidenceReport[]; chain: unknown };
    expect([exitCode, reports.map(({ standing, missing }) => [standing, missing.length]), chain]).toEqual([3, [['incomplete', 2]], { problems: [], gaps: [] }]);
  });

  it('ends with 1 where something is wrong, and with 0 where all is signed', async () => {
    expect((await korora({ ...move.evidence, manifest: null })).exitCode).toBe(1);
    process.exitCode = undefined;
    expect((await korora(move.evidence)).exitCode).toBe(0);
  });
});
