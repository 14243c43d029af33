/** A trace in words. */
import type { Taken } from './steps.js';

/** "  3  host-b: has it on disk that it accepted (move 1)". */
export function story(trace: readonly Taken[]): string {
  return trace
    .map(({ who, text, move }, i) => `${String(i + 1).padStart(4)}  host-${'abc'.charAt(who)}: ${text}${move === -1 ? '' : ` (move ${move + 1})`}`)
    .join('\n');
}
