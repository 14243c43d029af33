/**
 * domain/failures.ts: the table of everything that Kororā refuses, pinned as text in
 * docs/failure-codes.md. A change of a code, a message, a remedy or of whether trying again
 * helps shows in that file; users and their scripts rely on it.
 */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { FAILURES, FAILURE_CODES, type FailureCode, KororaError, failure, isFailureCode, refuse } from '../../domain/failures.js';
import { FAILURE_GROUPS } from '../support/failure-groups.js';

const parametersOf = (template: string): string[] => [...template.matchAll(/\{(.*?)\}/g)].map(([, name]) => name ?? '');

/** `failure` with a value for every parameter of the message. */
function filled(code: FailureCode) {
  const parameters = Object.fromEntries(parametersOf(FAILURES[code].message).map((name) => [name, `<${name}>`]));
  return failure(code, parameters as never);
}

describe('the table of failures', () => {
  it('is the one in the snapshot', async () => {
    const entry = (code: FailureCode) => {
      const { message, isRetryable, remedy } = FAILURES[code];
      return `**${code}**${isRetryable ? ' (the same request may succeed later)' : ''}  \n${message}  \n→ ${remedy}\n`;
    };
    const head = '# Failure codes\n\nEvery way Kororā says no, from `domain/failures.ts`: code, message, and after the arrow the one next action. Situations rather\nthan codes are in the [runbook](runbook.md). Written by `npx vitest run --project unit test/unit/failures-table.test.ts -u`.\n';
    const text = FAILURE_GROUPS.flatMap(({ title, meaning, codes }) => [`## ${title}\n\n${meaning}\n`, ...codes.map(entry)]);
    await expect([head, ...text].join('\n')).toMatchFileSnapshot('../../docs/failure-codes.md');
  });

  it('has each code in one group', () => {
    expect(FAILURE_GROUPS.flatMap(({ codes }) => codes).sort()).toEqual([...FAILURE_CODES].sort());
  });

  it.each(FAILURE_CODES)('%s takes every parameter of its message and of its remedy', (code) => {
    const { message, remedy } = filled(code);
    expect(`${message} ${remedy}`).not.toMatch(/[{}]/);
    const [row, given] = [FAILURES[code], parametersOf(FAILURES[code].message)];
    for (const name of given) expect(message).toContain(`<${name}>`);
    expect(given).toEqual(expect.arrayContaining(parametersOf(row.remedy)));
  });

  it.each(FAILURE_CODES)('%s has a remedy of one or two sentences and a message that is none', (code) => {
    const { message, remedy } = FAILURES[code];
    expect(remedy).toMatch(/^[A-Z`{][^\n]+\.$/);
    expect(remedy.match(/\.(?= |$)/g)?.length).toBeLessThanOrEqual(2);
    expect(message).toMatch(/^[^\n]{10,}[^.\n]$/);
  });

  it('has codes of capitals only, no two with the same message', () => {
    expect(FAILURE_CODES.filter((code) => !/^[A-Z]+(?:_[A-Z]+)*$/.test(code))).toEqual([]);
    const shared = FAILURE_CODES.filter((code) => FAILURE_CODES.some((other) => other !== code && FAILURES[other].message === FAILURES[code].message));
    expect(shared).toEqual(['HYPERVISOR_COMMAND_FAILED', 'TPM_COMMAND_FAILED', 'HOST_COMMAND_FAILED'].sort((a, b) => FAILURE_CODES.indexOf(a as FailureCode) - FAILURE_CODES.indexOf(b as FailureCode)));
  });
});

/** What an operator could lose a VM by, if it were told of the wrong thing. */
const TAKES_AWAY = /\b(?:remov|delet|eras|destroy|discard|wip(?:e|ing)|cleans?(?:ing)? up|clears?(?:ing)? (?:up|out)|purg|kill|throw|takes? away|end (?:it|that)|rm\b)/i;

describe('advice to take something away', () => {
  it('is given of what no record owns, and says by what that is seen', () => {
    expect(FAILURE_CODES.filter((code) => TAKES_AWAY.test(FAILURES[code].remedy))).toEqual(['LEFTOVER_FOUND', 'STRANGER_FOUND']);
    expect(FAILURES.LEFTOVER_FOUND.message).toContain('which no record of {host} owns');
    expect(FAILURES.LEFTOVER_FOUND.remedy).toMatch(/only while `korora vm show \{vm\}` says that another host owns the VM and \{host\} does not\.$/);
    expect(FAILURES.STRANGER_FOUND.remedy).toContain('no copy that `korora vm list` counts');
  });

  it('is given by no other text than these lines of the documents', async () => {
    const runbook = await readFile(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
    const lines = runbook.split('\n').filter((line) => TAKES_AWAY.test(line));
    expect(lines[0]).toContain('never start, continue or kill');
    expect(lines.map((line) => /^.*?`([^`]+)`|/.exec(line)?.[1])).toEqual(['ownership.json', 'traces of a VM without an ownership record', 'STRANGER_FOUND']);
  });
});

describe('a failure', () => {
  it('puts values in as they are, and does not read templates in them', () => {
    expect(failure('VM_NOT_OWNED', { host: '{vm}', vm: '$&', state: 3 }).message).toBe('{vm} does not own VM $&: its ownership record says 3');
  });

  it('gives an error its code, all messages and the cause', () => {
    const cause = new Error('deeper');
    expect(refuse('HOST_UNKNOWN', { host: 'host-x' }, cause)).toMatchObject({ name: 'KororaError', code: 'HOST_UNKNOWN', message: 'HOST_UNKNOWN: host host-x is not in the trust bundle', cause });
    const both = new KororaError([failure('VM_UNKNOWN', { vm: 'web-1' }), failure('HOST_UNREACHABLE', { host: 'host-b' })]);
    expect(both.code).toBe('VM_UNKNOWN');
    expect(both.message).toBe('VM_UNKNOWN: VM web-1 is not known on any host that answers; HOST_UNREACHABLE: the worker of host-b does not answer');
  });

  it('may be tried again only where that helps against every reason', () => {
    const again = failure('TPM_UNREACHABLE', { host: 'host-a', problem: 'gone' });
    const never = failure('VM_WITHOUT_VTPM', { vm: 'web-1' });
    expect([new KororaError([again]).isRetryable, new KororaError([again, again]).isRetryable, new KororaError([again, never]).isRetryable]).toEqual([true, true, false]);
  });

  it('code is told from other words', () => {
    expect(['VM_PAUSED', 'toString', '', undefined, null].map(isFailureCode)).toEqual([true, false, false, false, false]);
  });
});
