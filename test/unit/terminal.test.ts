/** domain/visible.ts, cli/terminal.ts and workers/log.ts: no text from elsewhere clears a screen, forges a line, or turns the direction of reading. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createViewPrinter } from '../../cli/follow.js';
import { terminalScreen } from '../../cli/terminal.js';
import type { MigrationView } from '../../client/index.js';
import type { Evidence } from '../../domain/evidence.js';
import { failure } from '../../domain/failures.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { MigrationStatus } from '../../domain/status.js';
import { visibleJson, visibleLine, visibleText, visibleValues } from '../../domain/visible.js';
import { logLine } from '../../workers/log.js';
import { DESTINATION, SOURCE, VM, digest, migrationId } from '../support/documents.js';
import { signedMove } from '../support/signed-evidence.js';

/** Clears the screen, goes home, and says what it likes. */
const HOSTILE = '\x1b[2J\x1b[H\u009b31mevidence.json: holds\r\nevidence.json: holds\u202e\u2066\u200b\ud800\x7f\u2028';
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const withoutLines = (text: string) => text.replaceAll('\n', '');
const anyText = fc.string({ unit: 'binary', maxLength: 40 });

describe('text from elsewhere', () => {
  it('is one line in which everything is seen, and what could be seen is as it was', () => {
    expect(visibleLine(HOSTILE)).toBe('\\x1b[2J\\x1b[H\\x9b31mevidence.json: holds\\x0d\\x0aevidence.json: holds\\u{202e}\\u{2066}\\u{200b}\\u{d800}\\x7f\\u{2028}');
    expect(visibleLine('Kororā – host-b → “64 MiB” 鯨 🐧 ✓')).toBe('Kororā – host-b → “64 MiB” 鯨 🐧 ✓');
    fc.assert(fc.property(anyText, (text) => {
      expect(visibleLine(text)).not.toMatch(UNSEEN);
      expect(withoutLines(visibleText(text))).not.toMatch(UNSEEN);
    }));
  });

  it('in a document is visible in every value and in every name', () => {
    const shown = visibleValues({ a: HOSTILE, [HOSTILE]: [{ b: HOSTILE }, null, 7, true] });
    expect(JSON.stringify(shown)).not.toMatch(UNSEEN);
    expect(visibleValues({ a: [null, 7, true, undefined, 'x'] })).toEqual({ a: [null, 7, true, undefined, 'x'] });
  });

  it('in JSON is escaped and means the same', () => {
    fc.assert(fc.property(fc.jsonValue(), anyText, fc.constantFrom(undefined, 2), (value, text, indent) => {
      const json = visibleJson({ value, text, [text]: 1 }, indent);
      expect(withoutLines(json)).not.toMatch(UNSEEN);
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify({ value, text, [text]: 1 })));
    }));
    expect(visibleJson('\u{e0001}\u009b')).toBe('"\\udb40\\udc01\\u009b"');
  });
});

describe('the command', () => {
  let folder: string;
  let said: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'korora-terminal-'));
    said = '';
    const hear = (text: string | Uint8Array) => ((said += text.toString()), true);
    vi.spyOn(process.stdout, 'write').mockImplementation(hear);
    vi.spyOn(process.stderr, 'write').mockImplementation(hear);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    process.exitCode = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  /** As it is started: all of main.ts. */
  async function korora(...args: readonly string[]): Promise<number> {
    const before = process.argv;
    process.argv = ['node', 'korora', ...args];
    vi.resetModules();
    try {
      await import('../../cli/main.js');
    } finally {
      process.argv = before;
      process.stdout.removeAllListeners('error');
    }
    return Number(process.exitCode ?? 0);
  }

  async function files(changes: (evidence: Evidence) => Partial<Evidence>): Promise<readonly string[]> {
    const { evidence, bundle } = await signedMove();
    await writeFile(join(folder, 'trust.json'), JSON.stringify(bundle));
    await writeFile(join(folder, 'evidence.json'), JSON.stringify({ ...evidence, ...changes(evidence) }));
    return ['--trust', join(folder, 'trust.json'), 'verify', join(folder, 'evidence.json')];
  }

  it('shows an evidence file that does not hold as what it is, whatever its texts would draw', async () => {
    const hostile = await files(({ timings, attestation }) => ({
      rounds: [],
      timings: { ...timings, phases: { [HOSTILE]: 1 } },
      attestation: { ...attestation, referenceSets: { source: HOSTILE, destination: HOSTILE } },
      outcome: { kind: 'moved', runsOn: DESTINATION, failures: [{ code: HOSTILE, message: HOSTILE, remedy: HOSTILE }] },
    }));
    expect(await korora(...hostile)).toBe(1);
    expect(withoutLines(said)).not.toMatch(UNSEEN);
    expect(said.split('\n').filter((line) => line.includes('evidence.json: '))[0]).toMatch(/evidence\.json: DOES NOT HOLD$/);
    expect(said.split('\n').filter((line) => line.startsWith('evidence.json'))).toEqual([]);
  });

  it('escapes the same in JSON', async () => {
    const hostile = await files(() => ({ outcome: { kind: 'moved', runsOn: DESTINATION, failures: [{ code: 'X', message: HOSTILE, remedy: '' }] } }));
    expect(await korora('--json', ...hostile)).toBe(0);
    expect(withoutLines(said)).not.toMatch(UNSEEN);
    expect(said).toContain('\\u009b31m');
    expect(JSON.stringify(JSON.parse(said))).toContain(JSON.stringify(HOSTILE).slice(1, -1));
  });

  it.each<[string, readonly string[], number]>([
    ['an option that it does not know', [`--${HOSTILE}`], 2],
    ['a command that it does not know', [HOSTILE], 2],
    ['an option that a command of a command does not know', ['vm', 'list', `--${HOSTILE}`], 2],
    ['a number that is none', ['limits', 'web-1', '--bandwidth', HOSTILE], 2],
  ])('repeats %s without doing what it says', async (_, args, exitCode) => {
    expect(await korora(...args)).toBe(exitCode);
    expect(said).toContain('\\x1b[2J');
    expect(withoutLines(said)).not.toMatch(UNSEEN);
  });

  it('names a file that is not there on the lines of one failure', async () => {
    expect(await korora('--trust', HOSTILE, 'trust', 'show')).toBe(1);
    expect(said.split('\n').map((line) => line.slice(0, 16))).toEqual(['BUNDLE_INVALID: ', '  → Correct the ', '']);
    expect(withoutLines(said)).not.toMatch(UNSEEN);
  });

  it('follows a move whose reasons and names are hostile on lines of its own', () => {
    const status = {
      migrationId: migrationId(1), orderDigest: digest(2), vmId: VM, source: SOURCE, destination: DESTINATION, phase: HOSTILE, isAbortable: true, limits: DEFAULT_LIMITS, phases: { [HOSTILE]: 1 }, rounds: [],
      failures: [failure('COPY_FAILED', { problem: HOSTILE })], awaits: null, isHeld: false, nextAction: HOSTILE,
    } as unknown as MigrationStatus;
    createViewPrinter(terminalScreen())({ status, progress: null, hasEnded: false } satisfies MigrationView);
    expect(withoutLines(said)).not.toMatch(UNSEEN);
    expect(said.split('\n').filter((line) => line.startsWith('evidence.json'))).toEqual([]);
  });

  it('lets a line pass only where its screen can, by its own escape sequences alone', () => {
    const written: string[] = [];
    const screen = terminalScreen({ isTTY: true, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream);
    screen.passing(HOSTILE);
    screen.line(`a\n${HOSTILE}`);
    expect(written).toEqual([visibleText(HOSTILE), `\r\x1b[K${visibleText(`a\n${HOSTILE}`)}\n`]);
  });

  it('logs one line where it is a worker', () => {
    logLine(`reconciled VM web-1: ${HOSTILE}`);
    expect(said).toBe(`reconciled VM web-1: ${visibleLine(HOSTILE)}\n`);
  });
});
