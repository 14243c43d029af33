/** A reporter of Stryker: how long the mutants of each file took, by the time between one result and the next. */
const seconds = new Map();
const kept = new Set();
let last = 0;

const reporter = {
  onMutationTestingPlanReady({ mutantPlans }) {
    last = performance.now();
    for (const { plan, mutant } of mutantPlans) if (plan === 'EarlyResult' && mutant.status !== 'NoCoverage') kept.add(mutant.fileName);
  },
  onMutantTested({ fileName }) {
    const now = performance.now();
    seconds.set(fileName, secondsOf(fileName) + (now - last) / 1000);
    last = now;
  },
};

export const strykerPlugins = [{ kind: 'Reporter', name: 'korora-clock', value: reporter }];

/** By the absolute path of the file; null where results of an earlier run were taken for some of its mutants. */
export function secondsFor(fileName) {
  return kept.has(fileName) ? null : secondsOf(fileName);
}

function secondsOf(fileName) {
  return seconds.get(fileName) ?? 0;
}
