/** Prints a move while it runs: each phase once with its time, each memory round, and what to do. */
import type { KororaClient, MigrationView } from '../client/index.js';
import { meaningOf } from '../domain/status.js';
import { visibleValues } from '../domain/visible.js';
import { renderNextAction, renderPhase, renderRound } from './render.js';
import type { Screen } from './terminal.js';

/** Resolves when the move has ended. */
export async function follow(client: KororaClient, vmId: string, runId: string | undefined, screen: Screen): Promise<void> {
  const shown = createViewPrinter(screen);
  for await (const view of client.watch(vmId, runId)) shown(view);
}

/** Prints what is new in each view. */
export function createViewPrinter(screen: Screen): (view: MigrationView) => void {
  const phases = new Set<string>();
  let lastRound = 0;
  let action: string | null = null;
  return (view) => {
    const { status, progress } = visibleValues(view);
    const printPhase = (name: string) => {
      if (phases.has(name)) return;
      phases.add(name);
      screen.line(renderPhase(name, status.phases[name] ?? 0));
    };
    const isDuringCopy = (name: string) => ['requested', 'admitted', 'attested', 'sealed', 'copying'].includes(name);
    const reached = Object.keys(status.phases).sort((a, b) => (status.phases[a] ?? 0) - (status.phases[b] ?? 0));
    reached.filter(isDuringCopy).forEach(printPhase);
    for (const round of status.rounds) {
      if (round.round > lastRound) screen.line(renderRound(round));
      lastRound = Math.max(lastRound, round.round);
    }
    if (progress && progress.round > 0) {
      if (progress.round > lastRound) screen.line(renderRound(progress));
      else screen.passing(renderRound(progress));
      lastRound = Math.max(lastRound, progress.round);
    }
    const isNewDoubt = status.phase === 'in-doubt' && !phases.has('in-doubt');
    reached.filter((name) => !isDuringCopy(name)).forEach(printPhase);
    const meaning = meaningOf(status);
    if (isNewDoubt && meaning) screen.line(`  ${meaning}`);
    const next = renderNextAction(status);
    if (next !== null && next !== action) screen.line(next);
    action = next;
  };
}
