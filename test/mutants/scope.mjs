/** What is mutated: the rooms and files that the promises rest on and that Node alone can run. */
import { readdirSync, statSync } from 'node:fs';

const SCOPE = [
  'domain',
  'channel',
  'activities',
  'client/verify',
  ...['ek-certificate', 'event-log', 'evidence-verifier', 'marshal', 'structures', 'verify', 'wrap'].map((name) => `tpm/${name}.ts`),
];

/** What is tried in one run of Stryker, each with the tests that vitest.config.mjs gives to it. */
export const ROOMS = ['rest', 'channel', 'activities'];

export function roomOf(file) {
  return ROOMS.find((room) => file.startsWith(`${room}/`)) ?? 'rest';
}

/** Of all mutants in the record, in percent. */
export const SCORE_WANTED = 90;

/** From the root of the project, where this has to run. */
export function mutatedFiles() {
  const within = (path) => readdirSync(path, { recursive: true }).filter((name) => name.endsWith('.ts')).map((name) => `${path}/${name}`);
  return SCOPE.flatMap((path) => (statSync(path).isDirectory() ? within(path).sort() : [path]));
}
