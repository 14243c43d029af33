#!/usr/bin/env node
/**
 * The end of `npm run build`: what tsc leaves undone in dist/. Copies the plain modules that compiled code imports by a
 * relative path (tsc copies no .mjs it does not compile) and makes the command executable.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

for (const file of ['infra/temporal/start-server.mjs']) {
  const copy = path.join(project, 'dist', file);
  mkdirSync(path.dirname(copy), { recursive: true });
  copyFileSync(path.join(project, file), copy);
}

const command = path.join(project, 'dist/cli/main.js');
if (existsSync(command)) chmodSync(command, 0o755);
