/**
 * cli/render.ts and cli/follow.ts: the text that people and their scripts read, character by
 * character; and that following a move prints each phase, round and next action once.
 */
import { describe, expect, it } from 'vitest';
import { createViewPrinter } from '../../cli/follow.js';
import { bytes, renderChanges, renderFailures, renderFindings, renderHosts, renderNextAction, renderPhase, renderResult, renderRound, renderTrials, renderVm, renderVms } from '../../cli/render.js';
import type { Screen } from '../../cli/terminal.js';
import type { MigrationView } from '../../client/index.js';
import { failure } from '../../domain/failures.js';
import { HostId } from '../../domain/ids.js';
import { type CopyProgress, DEFAULT_LIMITS } from '../../domain/progress.js';
import type { HostSurvey, MigrationResult, MigrationStatus, VmSurvey } from '../../domain/status.js';
import { DESTINATION, SOURCE, VM, digest, evidenceOf, migrationId, samples, vmDocument } from '../support/documents.js';

const GIB = 1024 ** 3;
const vm: VmSurvey = { vmId: VM, hostId: SOURCE, ownership: 'owner', epoch: 1, status: 'running', mayRun: true, recordProblem: null, move: null, vm: { vmId: 'web-1' }, consolePath: '/run/web-1/console.log' };
const gone: VmSurvey = { ...vm, hostId: DESTINATION, ownership: 'retired', status: 'absent', mayRun: false, move: { migrationId: migrationId(1), peer: SOURCE, order: null }, vm: null, consolePath: null, epoch: 12 };
const host: Extract<HostSurvey, { reachable: true }> = {
  hostId: SOURCE, reachable: true, bundleDigest: digest(1), hypervisor: 'qemu 7.2.22 kvm', swtpm: '0.7.1', pcrValues: {}, pcrProblem: null, availableMemoryBytes: 5.5 * GIB, vms: [vm, gone], failures: [], findings: [],
};
const round: CopyProgress = { round: 2, sentBytes: 1536, remainingBytes: 4 * 1024 ** 2, totalBytes: GIB, dirtyBytesPerSecond: 2048, elapsedMs: 900, throttlePercent: null };

describe('text for people', () => {
  it('counts bytes in units that stay below 1024', () => {
    expect([0, 1, 1023, 1024, 1536, 1024 ** 2, 5.5 * GIB, 1024 ** 4, 3000 * 1024 ** 4].map(bytes)).toEqual(['0 B', '1 B', '1023 B', '1.0 KiB', '1.5 KiB', '1.0 MiB', '5.5 GiB', '1.0 TiB', '3000.0 TiB']);
  });

  it('shows failures with code, message and what to do', () => {
    expect(renderFailures([failure('VM_WITHOUT_VTPM', { vm: 'web-1' }), failure('VM_PAUSED', { vm: 'web-1', host: 'host-a' })])).toBe(
      [
        'VM_WITHOUT_VTPM: VM web-1 has no vTPM',
        '  → Give the VM a vTPM: a secure move rests on one.',
        'VM_PAUSED: VM web-1 is paused on host-a',
        '  → Resume the VM first: a move does not start a paused VM.',
      ].join('\n'),
    );
  });

  it('shows hosts as a table, with what is wrong below', () => {
    const sick: HostSurvey = { ...host, hostId: DESTINATION, hypervisor: 'none', swtpm: 'none', pcrProblem: 'no active reference set matches', vms: [gone], availableMemoryBytes: 512, failures: [failure('TPM_UNREACHABLE', { host: 'host-b', problem: 'no device' })] };
    expect(renderHosts([host, sick, { hostId: HostId.parse('host-c'), reachable: false }])).toBe(
      [
        'HOST    STATE            HYPERVISOR       VTPM         REFERENCE                        MEMORY FREE  VMS',
        'host-a  ready            qemu 7.2.22 kvm  swtpm 0.7.1  PCRs match                       5.5 GiB      1',
        'host-b  needs attention  none             swtpm none   no active reference set matches  512 B        0',
        'host-c  unreachable      –                –            –                                –            –',
        'host-b:',
        'TPM_UNREACHABLE: the TPM of host-b does not answer: no device',
        '  → Look at the TPM of host-b (`tpm2_getcap properties-fixed`).',
      ].join('\n'),
    );
  });

  it('shows VMs as a table, and says where there are none', () => {
    expect(renderVms([vm, gone])).toBe(['VM     HOST    OWNERSHIP  EPOCH  STATUS', 'web-1  host-a  owner      1      running', 'web-1  host-b  retired    12     absent'].join('\n'));
    expect(renderVms([])).toBe('no VMs');
  });

  it('shows one VM with its console and its document, where it has them', () => {
    expect(renderVm([vm])).toBe(['VM     HOST    OWNERSHIP  EPOCH  STATUS', 'web-1  host-a  owner      1      running', 'console  /run/web-1/console.log', '{', '  "vmId": "web-1"', '}'].join('\n'));
    expect(renderVm([gone])).toBe(['VM     HOST    OWNERSHIP  EPOCH  STATUS', 'web-1  host-b  retired    12     absent', `move     ${migrationId(1)}, the other host is host-a`].join('\n'));
  });

  it('shows phases and rounds in columns', () => {
    expect([renderPhase('requested', 0), renderPhase('source-resumed', 12_345)]).toEqual(['requested             0 ms', 'source-resumed    12345 ms']);
    expect(renderRound(round)).toBe('  round  2  sent   1.5 KiB  remaining   4.0 MiB  dirty 2.0 KiB/s');
    expect(renderRound({ ...round, round: 10, dirtyBytesPerSecond: null })).toBe('  round 10  sent   1.5 KiB  remaining   4.0 MiB');
    expect(renderRound({ ...round, throttlePercent: 40 })).toBe('  round  2  sent   1.5 KiB  remaining   4.0 MiB  dirty 2.0 KiB/s  guest slowed 40 %');
  });

  it('shows what lint finds, with the errors counted', () => {
    expect(renderFindings('draft.json', [{ severity: 'error', at: 'hosts', problem: 'no host is active: nothing can move' }, { severity: 'warning', at: 'expiresAt', problem: 'it expires in 3 days' }])).toBe(
      ['draft.json: 1 error, 1 warning', '  error    hosts: no host is active: nothing can move', '  warning  expiresAt: it expires in 3 days'].join('\n'),
    );
    expect(renderFindings('draft.json', [])).toBe('draft.json: 0 errors, 0 warnings');
  });

  it('shows changes of a bundle, long values in short, and why hosts would not take it', () => {
    const changes = [{ at: 'serial', before: 7, after: 7.5 }, { at: 'hosts.a', after: { hostId: 'a' } }, { at: 'classes.rack.referenceSets.x.events', before: 'e'.repeat(400) }];
    expect(renderChanges(changes, 'its serial is 7')).toBe(
      ['~ serial  7 → 7.5', '+ hosts.a  {"hostId":"a"}', `- classes.rack.referenceSets.x.events  "${'e'.repeat(299)}… (402 characters)`, 'REFUSED  its serial is 7'].join('\n'),
    );
    expect(renderChanges([], null)).toBe('no change');
  });

  it('shows which hosts would pass, and why the others would not', () => {
    const trials = [{ hostId: 'host-a', by: 'live', referenceSet: 'kernel-6.1', failures: [] }, { hostId: 'host-b', by: migrationId(1), referenceSet: null, failures: [failure('HOST_UNREACHABLE', { host: 'host-b' })] }];
    expect(renderTrials('draft.json', trials)).toBe(
      [
        'draft.json: 1 of 2 would pass',
        '  passes   host-a: reference set kernel-6.1',
        `  REFUSED  host-b, in move ${migrationId(1)}:`,
        '             HOST_UNREACHABLE: the worker of host-b does not answer',
        '               → Start `korora worker host` on host-b, then order the move again.',
      ].join('\n'),
    );
  });

  it('shows a next action only where there is one', () => {
    expect([renderNextAction({ nextAction: 'Wait.' }), renderNextAction({ nextAction: null })]).toEqual(['next action: Wait.', null]);
  });
});

describe('the result of a move', () => {
  const { timings } = evidenceOf();
  const result: MigrationResult = { migrationId: migrationId(1), vmId: VM, outcome: { kind: 'moved', runsOn: DESTINATION, failures: [] }, evidencePath: '/e/web-1.json', evidenceDigest: digest(1), notes: [], timings };

  it('says where the VM runs and how long it stood still, from the pause to the destination\'s resume', () => {
    expect(renderResult(result)).toBe('VM web-1 moved and runs on host-b\ndowntime 80 ms (source\'s clock to the verdict: 90 ms), total 3000 ms\nevidence /e/web-1.json');
  });

  it('says that the VM did not move, without a downtime that nobody measured', () => {
    const back: MigrationResult = { ...result, outcome: { kind: 'source-resumed', runsOn: SOURCE, failures: [] }, timings: { ...timings, destination: null } };
    expect(renderResult(back)).toBe('VM web-1 did not move; it runs on host-a\ntotal 3000 ms\nevidence /e/web-1.json');
    const refused: MigrationResult = { ...back, outcome: { ...back.outcome, kind: 'refused' }, timings: { ...timings, source: null, destination: null } };
    const lost: MigrationResult = { ...result, outcome: { ...result.outcome, runsOn: null }, timings: { ...timings, source: null, destination: null } };
    expect(renderResult(lost)).toBe('VM web-1 was handed over, and runs nowhere\ntotal 3000 ms\nevidence /e/web-1.json');
    const dead: MigrationResult = { ...back, outcome: { ...back.outcome, runsOn: null } };
    expect(renderResult(dead)).toBe('VM web-1 did not move; it runs nowhere\ntotal 3000 ms\nevidence /e/web-1.json');
    expect(renderResult(refused)).toBe('refused before anything changed; VM web-1 is on host-a\ntotal 3000 ms\nevidence /e/web-1.json');
    const unknown: MigrationResult = { ...refused, outcome: { ...refused.outcome, runsOn: null } };
    expect(renderResult(unknown)).toBe('refused before anything changed; no host said where VM web-1 is\ntotal 3000 ms\nevidence /e/web-1.json');
  });

  it('says which other evidence there is of the same move', () => {
    const note = failure('EVIDENCE_DIFFERS', { vm: VM, path: '/e/web-1.json', others: '/e/other.json' });
    expect(renderResult({ ...result, notes: [note] })).toMatch(/evidence \/e\/web-1\.json\nEVIDENCE_DIFFERS: .*: \/e\/other\.json; that of this run is \/e\/web-1\.json\n  → Keep them all/);
  });
});

describe('following a move', () => {
  const status = (phases: Record<string, number>, changes: Partial<MigrationStatus> = {}): MigrationStatus => ({
    migrationId: migrationId(1), order: samples.evidence.order, vm: vmDocument(), limitsChange: null, vmId: VM, source: SOURCE, destination: DESTINATION, phase: 'copying', isAbortable: true, limits: DEFAULT_LIMITS, phases, rounds: [], failures: [], awaits: null, isHeld: false, nextAction: null, ...changes,
  });
  const view = (s: MigrationStatus, progress: CopyProgress | null = null): MigrationView => ({ status: s, progress, hasEnded: false });

  function printed(...views: MigrationView[]): string[] {
    const lines: string[] = [];
    const screen: Screen = { line: (text) => void lines.push(text), passing: (text) => void lines.push(`~${text}`) };
    views.forEach(createViewPrinter(screen));
    return lines;
  }

  it('prints each phase once, in the order in which they were reached', () => {
    const early = status({ requested: 0, attested: 400, admitted: 120 });
    expect(printed(view(early), view(early), view(status({ ...early.phases, sealed: 500 })))).toEqual(
      [['requested', 0], ['admitted', 120], ['attested', 400], ['sealed', 500]].map(([name, at]) => renderPhase(String(name), Number(at))),
    );
  });

  it('keeps one line a round, and lets the numbers of a running round pass', () => {
    const copying = status({ copying: 10 });
    const at = (n: number, sentBytes: number) => ({ ...round, round: n, sentBytes });
    expect(printed(view(copying, at(1, 1)), view(copying, at(1, 2)), view(copying, at(2, 3)))).toEqual([renderPhase('copying', 10), renderRound(at(1, 1)), `~${renderRound(at(1, 2))}`, renderRound(at(2, 3))]);
  });

  it('prints rounds that it did not see running, after `copying` and before `stopped`', () => {
    const rounds = [{ ...round, round: 1 }, { ...round, round: 2 }];
    expect(printed(view(status({ stopped: 90, copying: 10 }, { rounds })))).toEqual([renderPhase('copying', 10), ...rounds.map(renderRound), renderPhase('stopped', 90)]);
  });

  it('says what being in doubt means, once, and only while it is so', () => {
    const doubt = view(status({ 'in-doubt': 50 }, { phase: 'in-doubt' }));
    const said = '  host-a stopped web-1 and gave it away; whether host-b took it is not known. It runs there or nowhere, and no clock decides.';
    expect(printed(doubt, doubt)).toEqual([renderPhase('in-doubt', 50), said]);
    expect(printed(view(status({ 'in-doubt': 50, moved: 60 }, { phase: 'compensating' })))).not.toContain(said);
  });

  it('says a next action once, and again only after it had changed', () => {
    const doubt = (nextAction: string | null) => view(status({}, { nextAction }));
    expect(printed(doubt('Wait.'), doubt('Wait.'), doubt('Fence.'), doubt(null), doubt('Fence.'))).toEqual(['next action: Wait.', 'next action: Fence.', 'next action: Fence.']);
  });
});
