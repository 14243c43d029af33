/**
 * docs/state-diagrams.md out of the code: the ownership states by asking the real domain/ownership.ts for every event in every
 * record that can be reached with two moves, the phases and the saga from the tables of domain/steps.ts.
 */
import { applyOwnershipEvent } from '../../domain/ownership.js';
import { FOLLOWS, PHASES, STEPS, type Step } from '../../domain/steps.js';
import { LAST_EPOCH, Records } from '../model/records.js';

export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly event: string;
}

/** Each change of an ownership record as an edge between states; a state that only gets a tombstone is an edge to itself. */
export function ownershipEdges(): readonly Edge[] {
  const moves = [{ from: 0, to: 1 }, { from: 1, to: 0 }];
  const records = new Records(moves, applyOwnershipEvent);
  const events = eventsOf(records, moves.length);
  const reached = new Set([records.none(0)]);
  const edges = new Map<string, Edge>();
  for (const record of reached) {
    for (const { event, name } of events) {
      const next = records.after(record, event);
      if (next === null || next === record) continue;
      reached.add(next);
      const edge = { from: records.factOf(record).state, to: records.factOf(next).state, event: name };
      edges.set(JSON.stringify(edge), edge);
    }
  }
  return [...edges.values()];
}

function eventsOf(records: Records, moves: number): readonly { readonly event: number; readonly name: string }[] {
  const epochs = Array.from({ length: LAST_EPOCH }, (_, i) => i + 1);
  const named = (name: string, event: number) => ({ name, event });
  const ofMove = (m: number) => [
    named('relinquish', records.relinquish(m)),
    named('fence', records.fence(m)),
    ...epochs.flatMap((epoch) => [
      named('withdraw', records.withdraw(m, epoch)),
      named('offer', records.offer(m, epoch)),
      named('expect', records.expect(m, epoch)),
      named('accept', records.accept(m, epoch)),
      named('reject', records.reject(m, epoch)),
      named('learn-verdict accepted', records.verdict(m, epoch, 'accepted')),
      named('learn-verdict rejected', records.verdict(m, epoch, 'rejected')),
      named('learn-succession', records.succession(m, epoch)),
      ...(epoch > 1 ? [named('learn-claim', records.fenceClaim(m, epoch)), named('learn-claim', records.orderClaim(m, epoch))] : []),
    ]),
  ];
  return [named('create', records.create()), ...Array.from({ length: moves }, (_, m) => ofMove(m)).flat()];
}

export function phaseEdges(): readonly Edge[] {
  return PHASES.flatMap((from) => FOLLOWS[from].map((to) => ({ from, to, event: '' })));
}

export function stateDiagrams(): string {
  return `# State diagrams

Generated from the code by \`npx vitest run --project unit test/unit/state-diagrams.test.ts -u\`, and held against it by the same test. The states
are this project's own design; the published Kororā papers give none.

## The ownership record of one VM on one host

Every change that \`applyOwnershipEvent\` (\`domain/ownership.ts\`) allows in any record that two moves can lead to. An edge of a state to
itself is a tombstone that is added or goes. A VM may run in \`owner\` and \`offering\` only.

${mermaid(ownershipEdges())}

## The phases of a move

\`FOLLOWS\` of \`domain/steps.ts\`; every move of the fault matrix is held against it. The point of no return is the destination's durable
acceptance, of which the workflow learns as \`activated\`, or as the verdict that ends \`compensating\` in \`retired\`.

${mermaid(phaseEdges())}

## The saga

\`STEPS\` of \`domain/steps.ts\`: what is done where, in parallel within a row, and what takes it back. Undos run last in first out.

| step | phase | does | undo | because |
|---|---|---|---|---|
${Object.entries(STEPS).map(([name, step]) => sagaRow(name, step)).join('\n')}
`;
}

function sagaRow(name: string, { phase, does, undo, because }: Step): string {
  const listed = (activities: Step['does'] | Step['undo']) => activities.map(({ on, activity }) => `${on}: \`${activity}\``).join(', ') || '–';
  return `| ${name} | ${phase} | ${listed(does)} | ${listed(undo)} | ${because} |`;
}

/** Edges between the same states are one arrow. */
function mermaid(edges: readonly Edge[]): string {
  const arrows = new Map<string, Set<string>>();
  for (const { from, to, event } of edges) {
    const arrow = `${nodeOf(from)} --> ${nodeOf(to)}`;
    arrows.set(arrow, (arrows.get(arrow) ?? new Set()).add(event));
  }
  const lines = [...arrows].map(([arrow, events]) => `  ${arrow}${[...events].join('') ? `: ${[...events].sort().join(', ')}` : ''}`);
  const names = [...new Set(edges.flatMap(({ from, to }) => [from, to]))].filter((name) => name !== nodeOf(name)).map((name) => `  ${nodeOf(name)}: ${name}`);
  return ['```mermaid', 'stateDiagram-v2', ...names, ...lines, '```'].join('\n');
}

/** Mermaid takes no hyphens in the name of a state. */
function nodeOf(name: string): string {
  return name.replaceAll('-', '_');
}
