#!/usr/bin/env node
/**
 * The end of `npm run build`: what tsc leaves undone in dist/. Copies the plain modules that compiled code names by a
 * relative path (tsc copies no .mjs or .cjs that it does not compile), bundles the workflows as Temporal's sandbox takes them (a worker
 * would do it at every start, for seconds), and puts the command into dist/bin for a PATH.
 */
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';

const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

for (const file of ['infra/temporal/start-server.mjs', 'temporal/failure-converter.cjs']) {
  const copy = path.join(project, 'dist', file);
  mkdirSync(path.dirname(copy), { recursive: true });
  copyFileSync(path.join(project, file), copy);
}

const dist = path.join(project, 'dist');
const bundles = [
  { file: 'workflows/bundle.js', alias: {} },
  // For testbeds alone: with shorter waits.
  { file: 'infra/testbed/quick-workflows.js', alias: { [path.join(dist, 'workflows/limits.js')]: path.join(dist, 'infra/testbed/quick-limits.js') } },
];
for (const { file, alias } of bundles) {
  const { code } = await bundleWorkflowCode({
    workflowsPath: path.join(dist, 'workflows/index.js'),
    workflowInterceptorModules: [path.join(dist, 'workflows/refusals.js')],
    failureConverterPath: path.join(dist, 'temporal/failure-converter.cjs'),
    webpackConfigHook: (config) => ({ ...config, resolve: { ...config.resolve, alias: { ...config.resolve?.alias, ...alias } } }),
    logger: new DefaultLogger('ERROR'),
  });
  writeFileSync(path.join(dist, file), code);
}

chmodSync(path.join(project, 'dist/cli/main.js'), 0o755);
const link = path.join(project, 'dist/bin/korora');
mkdirSync(path.dirname(link), { recursive: true });
rmSync(link, { force: true });
symlinkSync('../cli/main.js', link);
