/** What `npm test` runs when (test/plan.mjs): nothing is forgotten, every promise is there at every commit, and a hash chooses one share. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { allButtons } from '../../infra/testbed/faults/buttons.js';
import { allCells } from '../../infra/testbed/faults/cells.js';
import { ALWAYS, BY_CELL, SHARES, SOMETIMES, filesOf, partOf, shareAskedFor, shareOf } from '../plan.mjs';

const all = Array.from({ length: SHARES }, (_, i) => i + 1);
const testFiles = (folder: string) => readdirSync(`test/e2e/${folder}`).filter((name) => name.endsWith('.test.ts')).map((name) => `${folder}${name.replace('.test.ts', '')}`);

/** Where each promise of docs/theory-of-operation.md is held against real QEMU, swtpm and Temporal at every commit: a file, and words of a test in it. */
const PROMISES: Readonly<Record<string, readonly (readonly [file: string, words: string])[]>> = {
  P1: [['control-plane', 'lets no step come before those that it rests on'], ['infra/testbed/scenarios.ts', "'untrusted-destination'"]],
  P2: [['control-plane', 'with another TLS key in its binding']],
  P3: [['infra/testbed/scenarios.ts', "'changed-after-quote'"], ['control-plane', 'with another wrapping key']],
  P4: [['infra/testbed/scenarios.ts', "'tampered-stream'"]],
  P5: [['cells-qemu', 'STEP_CELLS'], ['move', 'is owned once, with an epoch that went up by one a move']],
  P6: [['move', 'has no Temporal round trip inside the pause']],
  P7: [['control-plane', 'is refused at every step forward']],
  P8: [['move', 'leaves evidence that an auditor checks offline']],
};

describe('the plan', () => {
  it('has every file of the end-to-end tests once, and no other', () => {
    const planned = [...ALWAYS, ...BY_CELL, ...Object.keys(SOMETIMES)];
    expect([...planned].sort()).toEqual([...testFiles(''), ...testFiles('shared/')].sort());
    expect([...filesOf(null)].sort()).toEqual([...planned].sort());
  });

  it('runs each promise at every commit', () => {
    expect(Object.keys(PROMISES)).toEqual(['P1', 'P2', 'P3', 'P4', 'P5', 'P6', 'P7', 'P8']);
    for (const [promise, places] of Object.entries(PROMISES)) {
      for (const [file, words] of places) {
        const path = file.includes('/') ? file : `test/e2e/${file}.test.ts`;
        expect([promise, file, existsSync(path) && readFileSync(path, 'utf8').includes(words)]).toEqual([promise, file, true]);
        expect([promise, file, [...ALWAYS, ...BY_CELL].includes(file) || file === 'infra/testbed/scenarios.ts']).toEqual([promise, file, true]);
      }
    }
    expect(ALWAYS).toContain('scenarios');
  });

  it('comes to every other file in one share, and to every cell of the fault matrix in one share', () => {
    const chosen = all.flatMap((share) => filesOf(share).filter((name) => name in SOMETIMES));
    expect([...chosen].sort()).toEqual(Object.keys(SOMETIMES).sort());
    const cells = [...allCells(), ...allButtons()];
    expect(all.flatMap((share) => partOf(share, cells)).length).toBe(cells.length);
    expect(new Set(all.flatMap((share) => partOf(share, cells)))).toEqual(new Set(cells));
    expect(partOf(null, cells)).toEqual(cells);
  });

  it('has shares of like length', () => {
    for (const trials of [allCells(), allButtons()]) {
      const sizes = all.map((share) => partOf<unknown>(share, trials).length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }
    const seconds = all.map((share) => filesOf(share).reduce((sum, name) => sum + (SOMETIMES[name] ?? 0), 0));
    expect(Math.max(...seconds)).toBeLessThanOrEqual(Math.max(...Object.values(SOMETIMES)));
  });

  it('takes the share from the hash: each comes up, none far more often than another', () => {
    const counts = new Map<number, number>();
    for (let i = 0; i < 1600; i += 1) {
      const share = shareOf(((i * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, '0'));
      counts.set(share, (counts.get(share) ?? 0) + 1);
    }
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual(all);
    expect(Math.max(...counts.values())).toBeLessThan(200);
    expect(shareOf('0000000f')).toBe(SHARES);
  });

  it('refuses a share that there is not', () => {
    expect([shareAskedFor({}), shareAskedFor({ KORORA_SHARE: 'all' }), shareAskedFor({ KORORA_SHARE: '3' })]).toEqual([null, null, 3]);
    for (const wrong of ['0', String(SHARES + 1), '1.5', 'some', '']) expect(() => shareAskedFor({ KORORA_SHARE: wrong })).toThrow('KORORA_SHARE');
  });
});
