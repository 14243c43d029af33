/**
 * domain/steps.ts, the saga as a table: it names activities that exist, where they run, what takes
 * each step back or why nothing does, and phases that a move can be in.
 */
import { describe, expect, it } from 'vitest';
import { createControlActivities, createHostActivities } from '../../activities/index.js';
import type { HostServices } from '../../activities/services.js';
import { CONTROL_QUEUE, PHASES, STEPS, type Step, hostQueue } from '../../domain/steps.js';

/** Activities are only listed here: none is called, so the parts of a host are not needed. */
const onHosts = Object.keys(createHostActivities({} as HostServices));
const onControl = Object.keys(createControlActivities({ evidenceDir: '/nowhere' }));
const steps: [string, Step][] = Object.entries(STEPS);

describe('every step', () => {
  it.each(steps)('%s does and undoes what activities of its place do', (_, { does, undo }) => {
    expect(does.length).toBeGreaterThan(0);
    for (const { on, activity } of [...does, ...undo]) expect(on === 'control' ? onControl : onHosts).toContain(activity);
  });

  it.each(steps)('%s says why there is no undo, or what it rests on', (_, { because }) => {
    expect(because).toMatch(/^[A-Z].{8,}\.$/);
  });

  it.each(steps)('%s belongs to a phase', (_, { phase }) => {
    expect(PHASES).toContain(phase);
  });

  it('comes in the order of phases', () => {
    const order = steps.map(([, { phase }]) => PHASES.indexOf(phase));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });
});

describe('the table of steps', () => {
  it('has the undos in this order', () => {
    expect(Object.fromEntries(steps.flatMap(([name, { undo }]) => (undo.length > 0 ? [[name, undo.map((u) => `${u.on}: ${u.activity}`)]] : [])))).toEqual({
      openSessions: ['source: closeSession', 'destination: closeSession'],
      prepare: ['destination: settleDestination'],
      move: ['source: settleSource', 'destination: settleDestination', 'source: resolveSource', 'source: fenceDestination'],
    });
  });

  it('leaves out only activities that no move schedules by itself', () => {
    const used = new Set(steps.flatMap(([, { does, undo }]) => [...does, ...undo].map((a) => a.activity)));
    expect([...onHosts, ...onControl].filter((name) => !used.has(name)).sort()).toEqual(['admitFence', 'holdCopy', 'reinstateRecords', 'showState', 'showSurvey', 'startVm', 'stateClaim', 'surveyHost', 'tuneCopy', 'yieldToClaim']);
  });

  it('has no undo behind the point of no return', () => {
    expect(steps.filter(([, { phase, undo }]) => PHASES.indexOf(phase) > PHASES.indexOf('copying') && undo.length > 0)).toEqual([]);
  });

  it('names each phase once', () => {
    expect(new Set(PHASES).size).toBe(PHASES.length);
  });
});

describe('task queues', () => {
  it('are one a host, and one for control workers that no host can have', () => {
    expect([hostQueue('a'), hostQueue('b'), CONTROL_QUEUE]).toEqual(['host-a', 'host-b', 'korora-control']);
  });
});
