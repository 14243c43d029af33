/**
 * Which build recorded which folder of histories, test/replay/builds.json: a row a folder. It says of no history whether it
 * replays; test/replay/replay.test.ts tries that, and docs/decisions/0017-histories-and-builds.md says how a row is chosen.
 */
import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Build {
  /** Of package.json. */
  readonly version: string;
  /**
   * SHA-256 of the sources that are in the workflows' bundle, comments included: those of workflows/ and domain/, and the failure
   * converter. Not of the bundle, in which the paths of a machine are. Another digest is another text, and need not be other behaviour.
   */
  readonly workflowCode: string;
}

/** `pinned`: today's code does not replay them, and moves of that build end on workers of that build. */
export interface BuildRow extends Build {
  readonly standing: 'replays' | 'pinned';
}

export type Builds = Readonly<Record<string, BuildRow>>;

export const folderOf = ({ version }: Build): string => `v${version}`;

export async function buildOfToday(project: string): Promise<Build> {
  const { version } = JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { readonly version: string };
  const rooms = await Promise.all(['domain', 'workflows'].map(async (room) => (await readdir(join(project, room), { recursive: true })).map((file) => `${room}/${file}`)));
  const files = [...rooms.flat().filter((file) => file.endsWith('.ts')), 'temporal/failure-converter.cjs'].sort();
  const hash = createHash('sha256');
  // Names and lengths with the texts: no two sets of files are one stream of bytes.
  for (const file of files) {
    const text = await readFile(join(project, file));
    hash.update(`${file} ${text.length}\n`).update(text);
  }
  return { version, workflowCode: `sha256:${hash.digest('hex')}` };
}

/** `place`: the folder of builds.json. */
export async function readBuilds(place: string): Promise<Builds> {
  return JSON.parse(await readFile(join(place, 'builds.json'), 'utf8')) as Builds;
}

export async function writeBuilds(place: string, builds: Builds): Promise<void> {
  await writeFile(join(place, 'builds.json'), `${JSON.stringify(builds, null, 2)}\n`);
}
