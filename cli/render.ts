/** Text for people. Pure: values in, text out. */
import type { Failure } from '../domain/failures.js';
import type { CopyProgress } from '../domain/progress.js';
import type { HostSurvey, MigrationResult, MigrationStatus, VmSurvey } from '../domain/status.js';
import type { ChainReport, EvidenceReport } from '../client/verify/index.js';
import type { HostTrial } from '../client/verify/state.js';
import type { BundleChange } from '../domain/bundle-diff.js';
import type { LintFinding } from '../domain/bundle-lint.js';
import type { RoundRecord } from '../domain/evidence.js';

/** Of a value in a line: a boot event log has thousands of characters. */
const VALUE_MAX = 300;

export function renderFailures(failures: readonly Failure[]): string {
  return failures.map(({ code, message, remedy }) => `${code}: ${message}\n  → ${remedy}`).join('\n');
}

export function renderHosts(hosts: readonly HostSurvey[]): string {
  const rows = hosts.map((h) =>
    h.reachable
      ? [h.hostId, h.failures.length > 0 ? 'needs attention' : 'ready', h.hypervisor, `swtpm ${h.swtpm}`, h.pcrProblem ?? 'PCRs match', bytes(h.availableMemoryBytes), String(h.vms.filter((vm) => vm.mayRun).length)]
      : [h.hostId, 'unreachable', '–', '–', '–', '–', '–'],
  );
  const notes = hosts.flatMap((h) => (h.reachable && h.failures.length > 0 ? [`\n${h.hostId}:\n${renderFailures(h.failures)}`] : []));
  const findings = hosts.flatMap((h) => (h.reachable ? h.findings.map(({ vmId, found, done }) => `\n${h.hostId}, when its worker started: VM ${vmId}: ${found}; ${done}`) : []));
  return table(['HOST', 'STATE', 'HYPERVISOR', 'VTPM', 'REFERENCE', 'MEMORY FREE', 'VMS'], rows) + [...notes, ...findings].join('');
}

export function renderVms(vms: readonly VmSurvey[]): string {
  if (vms.length === 0) return 'no VMs';
  return table(
    ['VM', 'HOST', 'OWNERSHIP', 'EPOCH', 'STATUS'],
    vms.map((vm) => [vm.vmId, vm.hostId, vm.recordProblem ? `${vm.ownership} (in doubt)` : vm.ownership, String(vm.epoch), vm.status]),
  );
}

export function renderVm(vms: readonly VmSurvey[]): string {
  return vms
    .map((vm) => `${renderVms([vm])}\n${vm.move ? `move     ${vm.move.migrationId}, the other host is ${vm.move.peer}\n` : ''}${vm.consolePath ? `console  ${vm.consolePath}\n` : ''}${vm.vm ? JSON.stringify(vm.vm, null, 2) : ''}`)
    .join('\n')
    .trimEnd();
}

export function renderPhase(phase: string, atMs: number): string {
  return `${phase.padEnd(16)} ${`${atMs} ms`.padStart(9)}`;
}

export function renderRound(p: CopyProgress | RoundRecord): string {
  const dirty = p.dirtyBytesPerSecond === null ? '' : `  dirty ${bytes(p.dirtyBytesPerSecond)}/s`;
  const throttle = p.throttlePercent ? `  guest slowed ${p.throttlePercent} %` : '';
  return `  round ${String(p.round).padStart(2)}  sent ${bytes(p.sentBytes).padStart(9)}  remaining ${bytes(p.remainingBytes).padStart(9)}${dirty}${throttle}`;
}

export function renderNextAction({ nextAction }: Pick<MigrationStatus, 'nextAction'>): string | null {
  return nextAction === null ? null : `next action: ${nextAction}`;
}

export function renderResult({ outcome, timings, evidencePath, notes, vmId }: MigrationResult): string {
  const total = timings.endedAtMs - timings.startedAtMs;
  const { source, destination } = timings;
  const downtime = source && destination ? `downtime ${Math.round(destination.runningAtMs - source.pausedAtMs)} ms (source's clock to the verdict: ${Math.round(source.pauseMs)} ms), ` : '';
  const what = { moved: outcome.runsOn === null ? `VM ${vmId} was handed over, and runs nowhere` : `VM ${vmId} moved and runs on ${outcome.runsOn}`, 'source-resumed': `VM ${vmId} did not move; it runs ${outcome.runsOn === null ? 'nowhere' : `on ${outcome.runsOn}`}`, refused: `refused before anything changed; ${outcome.runsOn === null ? `no host said where VM ${vmId} is` : `VM ${vmId} is on ${outcome.runsOn}`}` }[outcome.kind];
  return `${what}\n${downtime}total ${total} ms\nevidence ${evidencePath}${notes.length > 0 ? `\n${renderFailures(notes)}` : ''}`;
}

export function renderReport(file: string, { summary, proven, problems, missing, unproven, told }: EvidenceReport): string {
  return [
    `${file}: ${summary}`,
    ...proven.map(({ field, what, by }) => `  proven      ${field}: ${what}\n              by ${by}`),
    ...unproven.map(({ field, why }) => `  unproven    ${field}: ${why}`),
    ...(told.length > 0 ? ['  told by the control plane, and signed by nobody:'] : []),
    ...told.map(({ field, what }) => `    ${field}: ${shortened(what)}`),
    ...missing.map(({ field, why }) => `  MISSING     ${field}: ${why}`),
    ...problems.map(({ field, problem }) => `  WRONG       ${field}: ${problem}`),
  ].join('\n');
}

export function renderChain({ problems, gaps }: ChainReport): readonly string[] {
  return [...problems.map((problem) => `NOT A CHAIN  ${problem}`), ...gaps.map((gap) => `NOT KNOWN TO BE WHOLE  ${gap}`)];
}

export function renderFindings(file: string, findings: readonly LintFinding[]): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const rows = findings.map(({ severity, at, problem }) => `  ${severity.padEnd(8)} ${at}: ${problem}`);
  return [`${file}: ${counted(errors, 'error')}, ${counted(findings.length - errors, 'warning')}`, ...rows].join('\n');
}

export function renderChanges(changes: readonly BundleChange[], problem: string | null): string {
  const rows = changes.map(({ at, before, after }) => {
    if (before === undefined) return `+ ${at}  ${short(after)}`;
    if (after === undefined) return `- ${at}  ${short(before)}`;
    return `~ ${at}  ${short(before)} → ${short(after)}`;
  });
  return [...(changes.length === 0 ? ['no change'] : rows), ...(problem === null ? [] : [`REFUSED  ${problem}`])].join('\n');
}

export function renderTrials(file: string, trials: readonly HostTrial[]): string {
  const passing = trials.filter(({ failures }) => failures.length === 0).length;
  const rows = trials.map(({ hostId, by, referenceSet, failures }) => {
    const whose = by === 'live' ? hostId : `${hostId}, in move ${by}`;
    return failures.length === 0 ? `  passes   ${whose}: reference set ${referenceSet ?? 'none'}` : [`  REFUSED  ${whose}:`, ...renderFailures(failures).split('\n')].join('\n             ');
  });
  return [`${file}: ${passing} of ${trials.length} would pass`, ...rows].join('\n');
}

/** All of it is in --json. */
function short(value: unknown): string {
  return shortened(JSON.stringify(value));
}

function shortened(text: string): string {
  return text.length <= VALUE_MAX ? text : `${text.slice(0, VALUE_MAX)}… (${text.length} characters)`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [head, ...rows].map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd()).join('\n');
}
