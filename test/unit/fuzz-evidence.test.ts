/**
 * Evidence files, changed in every way, through `verifyEvidence` and `korora verify`: a report, or a refusal by the code that is said for
 * it; and what a key stands for cannot be changed without the report being another. The AKs are in software; test/e2e/move.test.ts has a
 * file of real TPMs.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { addVerifyCommand } from '../../cli/commands/verify.js';
import { type EvidenceReport, checkChain, verifyEvidence } from '../../client/index.js';
import { canonicalJson } from '../../domain/canonical.js';
import { KororaError } from '../../domain/failures.js';
import { POLICY_SIGNER } from '../support/documents.js';
import { anyBytes, byteEdits, editBytes, editJson, jsonEdits } from '../support/mutations.js';
import { signedMove, withoutUnproven } from '../support/signed-evidence.js';
import { everyChange } from '../support/tamper.js';

const { evidence, bundle } = await signedMove();
const SIGNERS = [POLICY_SIGNER.publicKey];

/** Undefined where it is refused; any error without such a code is thrown. */
function verified(value: unknown, of: unknown = bundle): EvidenceReport | undefined {
  try {
    return verifyEvidence(value, of, SIGNERS);
  } catch (error) {
    if (error instanceof KororaError && ['EVIDENCE_INVALID', 'BUNDLE_INVALID', 'BUNDLE_NOT_SIGNED'].includes(error.code)) return undefined;
    throw error;
  }
}

const genuine = verified(evidence);

/** What the report of a file that nobody changed says is what this one says; then all that a key stands for must be as it was. */
function isNoticedOrUnproven(value: unknown): void {
  const report = verified(value);
  if (!report || canonicalJson({ ...report }) !== canonicalJson({ ...genuine })) return;
  expect(canonicalJson(withoutUnproven(value))).toBe(canonicalJson(withoutUnproven(evidence)));
}

describe('an evidence file', () => {
  it('that nobody changed has no problem, and names what nobody proved', () => {
    expect(genuine).toMatchObject({ standing: 'holds', summary: 'holds', problems: [], missing: [] });
    expect(genuine?.proven.map(({ field }) => field)).toEqual([
      'trust bundle', 'order', 'vm', 'attestation.source', 'attestation.destination', 'verdict', 'manifest', 'receipts.source', 'receipts.destination', 'fences.0', 'limitsChanges.0', 'approval',
    ]);
    expect(genuine?.unproven.map(({ field }) => field)).toEqual(['nonces']);
    expect(genuine?.told.map(({ field }) => field)).toEqual(['fences.0.atMs', 'limitsChanges.0.atMs', 'approval.atMs', 'outcome.failures', 'timings.startedAtMs', 'timings.endedAtMs', 'timings.phases']);
  });

  it('with one field changed has a problem, unless it says that the field is unproven', () => {
    const isUnproven = (path: string) => [...(genuine?.unproven ?? []), ...(genuine?.told ?? [])].some(({ field }) => path === field || path.startsWith(`${field}.`));
    const unnoticed = everyChange(evidence).filter(({ path, document }) => verified(document)?.problems.length === 0 && !isUnproven(path));
    // No host signs which fences it heard of: one that is left out is missing from what is proven, and is no problem.
    expect(unnoticed.map(({ path }) => path)).toEqual(['fences']);
  });

  it('changed in any way is refused, or has another report', () => {
    fc.assert(fc.property(jsonEdits, (edits) => isNoticedOrUnproven(editJson(evidence, edits))), { numRuns: 150 });
  });

  it('with a member __proto__ in any place is refused', () => {
    const places = (value: unknown): readonly object[] => (typeof value === 'object' && value !== null ? [value, ...Object.values(value).flatMap(places)] : []);
    const isObject = (place: object) => !Array.isArray(place);
    const count = places(evidence).filter(isObject).length;
    for (let i = 0; i < count; i++) {
      const changed = structuredClone(evidence);
      const place = places(changed).filter(isObject)[i] as object;
      Object.defineProperty(place, '__proto__', { value: Object.values(place)[0] as unknown, enumerable: true });
      expect([i, verified(changed)]).toEqual([i, undefined]);
    }
  });

  it('or a bundle that is any JSON is refused', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => verified(value) === undefined && verified(evidence, value) === undefined), { numRuns: 200 });
  });

  it('is checked by the bundle that was signed, and by no other', () => {
    fc.assert(
      fc.property(jsonEdits, (edits) => {
        const report = verified(evidence, editJson(bundle, edits));
        if (report) expect({ ...report }).toEqual({ ...genuine });
      }),
      { numRuns: 60 },
    );
  });

  it('among others is a link of a chain, or refused', () => {
    fc.assert(
      fc.property(jsonEdits, (edits) => {
        try {
          checkChain([evidence, editJson(evidence, edits)]);
        } catch (error) {
          expect(error).toMatchObject({ code: 'EVIDENCE_INVALID' });
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('korora verify', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'korora-fuzz-'));
    await writeFile(join(folder, 'trust.json'), JSON.stringify(bundle));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  });

  /** Exit code and what was said. */
  async function korora(content: string | Buffer): Promise<{ readonly exitCode: number; readonly said: string }> {
    let said = '';
    const hear = (text: string | Uint8Array) => ((said += text.toString()), true);
    const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(hear), vi.spyOn(process.stderr, 'write').mockImplementation(hear)];
    await writeFile(join(folder, 'evidence.json'), content);
    const program = new Command('korora').option('--trust <file>').option('--json').exitOverride();
    addVerifyCommand(program);
    process.exitCode = undefined;
    await program.parseAsync(['--trust', join(folder, 'trust.json'), 'verify', join(folder, 'evidence.json')], { from: 'user' });
    spies.forEach((spy) => spy.mockRestore());
    const exitCode = Number(process.exitCode ?? 0);
    process.exitCode = undefined;
    return { exitCode, said };
  }

  it('says that it holds, or what is wrong, whatever is in the file', async () => {
    const text = JSON.stringify(evidence);
    const { exitCode, said } = await korora(text);
    expect([exitCode, said]).toEqual([0, expect.stringContaining('evidence.json: holds')]);
    const told = async (content: string | Buffer) => {
      const result = await korora(content);
      if (result.exitCode !== 0) expect(result.said).toMatch(/^[A-Z_]+: |WRONG|MISSING/);
    };
    await fc.assert(fc.asyncProperty(byteEdits, async (edits) => told(editBytes(Buffer.from(text), edits))), { numRuns: 60 });
    await fc.assert(fc.asyncProperty(jsonEdits, async (edits) => told(JSON.stringify(editJson(evidence, edits)))), { numRuns: 40 });
    await fc.assert(fc.asyncProperty(anyBytes(60), async (bytes) => (await korora(bytes)).exitCode === 1), { numRuns: 20 });
  });
});
