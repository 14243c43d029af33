/** activities/statements.ts and seal.ts: all that speaks against a statement is told, a fault of the house is none of it; secrets leave for the VM that was ordered alone. */
import { describe, expect, it } from 'vitest';
import { createStatements } from '../../activities/statements.js';
import type { HostServices } from '../../activities/services.js';
import { failure, refuse } from '../../domain/failures.js';
import { HostId } from '../../domain/ids.js';
import { beginHosts, installedPath } from '../support/hosts-in-memory.js';

const B = HostId.parse('host-b');

describe('what speaks against a statement', () => {
  const problemOf = async (appraiseStatement: () => unknown) => {
    const hosts = await beginHosts();
    const services = hosts.services('host-a');
    const statements = createStatements({ ...services, verifier: { ...services.verifier, appraiseStatement } } as HostServices);
    return hosts.drive(statements.problem(B, {}, { attest: '', signature: '' }, null));
  };
  const [one, other] = [failure('ORDER_INVALID', { problem: 'a' }), failure('ORDER_INVALID', { problem: 'b' })];

  it('is all told, apart; nothing where nothing does', async () => {
    expect(await problemOf(() => [one, other])).toBe(`ORDER_INVALID: ${one.message}; ORDER_INVALID: ${other.message}`);
    expect(await problemOf(() => [])).toBeNull();
  });

  it('is that it cannot be read, and no other failure', async () => {
    const unreadable = refuse('EVIDENCE_MALFORMED', { host: 'host-b', problem: 'cut off' });
    expect(await problemOf(() => { throw unreadable; })).toBe(unreadable.message);
    for (const fault of [refuse('POLICY_EMPTY', { class: 'rack' }), new TypeError('x')]) await expect(problemOf(() => { throw fault; })).rejects.toBe(fault);
  });
});

describe('secrets', () => {
  it('leave for the VM that was ordered, and for none that the host has in its place', async () => {
    const hosts = await beginHosts();
    const file = hosts.files('host-a').get(installedPath('host-a'))?.toString() ?? '';
    const installed = JSON.parse(file) as { vm: { memoryBytes: number } };
    hosts.files('host-a').set(installedPath('host-a'), Buffer.from(JSON.stringify({ ...installed, vm: { ...installed.vm, memoryBytes: 2 * installed.vm.memoryBytes } })));
    const move = await hosts.move('appraised');
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
  });
});
