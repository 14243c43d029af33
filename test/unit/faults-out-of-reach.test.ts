/**
 * Faults cannot be switched on in production: no file that the command or a worker consists of leads to the injector, and
 * the command starts workers without a wrapper.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const parse = (file: string) => ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ES2023, true);

/** Static and dynamic imports, re-exports and `new URL('…', import.meta.url)`: every word that names a file of the house. */
function filesNamedIn(file: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) && node.text.startsWith('.')) {
      const path = relative(root, join(root, dirname(file), node.text)).replace(/\.js$/, '.ts');
      if (existsSync(join(root, path)) && path.endsWith('.ts')) found.push(path);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse(file));
  return found;
}

function reachableFrom(entries: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    filesNamedIn(file).forEach(visit);
  };
  entries.forEach(visit);
  return seen;
}

const inRoom = (room: string) => readdirSync(join(root, room)).filter((name) => name.endsWith('.ts')).map((name) => `${room}/${name}`);
const production = reachableFrom(['cli/main.ts', 'client/index.ts', ...inRoom('workers'), ...inRoom('workflows')]);

it('the walk finds what there is: rooms behind static and behind dynamic imports', () => {
  for (const file of ['workers/host.ts', 'activities/edge.ts', 'host/ownership-store.ts', 'channel/link.ts', 'workflows/secure-migration.ts']) expect(production).toContain(file);
  expect(reachableFrom(['infra/testbed/faults/host-worker.ts'])).toContain('infra/testbed/faults/wrap-services.ts');
});

it('nothing of infra/ is reachable from the command, the client or the workers', () => {
  expect([...production].filter((file) => file.startsWith('infra/') || file.startsWith('test/') || file.startsWith('bench/'))).toEqual([]);
});

it('the wrapper is a parameter, and no caller in production gives it', () => {
  const callsOf = (name: string) =>
    [...production].flatMap((file) => {
      const calls: { readonly file: string; readonly args: number }[] = [];
      const visit = (node: ts.Node): void => {
        if (ts.isCallExpression(node) && node.expression.getText().split('.').at(-1) === name) calls.push({ file, args: node.arguments.length });
        ts.forEachChild(node, visit);
      };
      visit(parse(file));
      return calls;
    });
  expect(callsOf('runHostWorker')).toEqual([{ file: 'cli/commands/worker.ts', args: 1 }]);
  expect(callsOf('runControlWorker')).toEqual([{ file: 'cli/commands/worker.ts', args: 1 }]);
});
