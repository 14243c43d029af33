/** Documents tell the truth about where things are: every file of the house that they name is there. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { expect, it } from 'vitest';

const ROOMS = ['domain', 'workflows', 'activities', 'workers', 'hypervisor', 'tpm', 'channel', 'host', 'temporal', 'client', 'cli', 'infra', 'test', 'bench', 'docs'];
/** A path that begins in a room and ends in a kind of file that is kept; not the end of one with a placeholder in it ($TRY/$host/host.json). */
const NAMED = new RegExp(`(?<![\\w./$-])(?:${ROOMS.join('|')})/[\\w./-]+\\.(?:ts|mts|mjs|cjs|sh|json|md)\\b`, 'g');
const documents = ['README.md', ...readdirSync('docs', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];

it('names no file that is not there', () => {
  const named = documents.flatMap((document) => [...readFileSync(document, 'utf8').matchAll(NAMED)].map(([path]) => ({ document, path })));
  expect(named.length).toBeGreaterThan(80);
  expect(named.filter(({ path }) => !existsSync(path))).toEqual([]);
});
