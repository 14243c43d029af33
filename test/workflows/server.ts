/** The one Temporal server of this suite, in memory; vitest starts it before the first file and ends it after the last. */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import type { TestProject } from 'vitest/node';
import { QUICK_SERVER_ARGUMENTS } from '../../infra/temporal/start-server.mjs';
import { quietRuntime } from './quiet-runtime.js';

declare module 'vitest' {
  export interface ProvidedContext {
    temporalAddress: string;
  }
}

let server: TestWorkflowEnvironment | null = null;

export async function setup(project: TestProject): Promise<void> {
  const path = process.env['KORORA_TEMPORAL_BINARY'];
  if (!path) throw new Error('KORORA_TEMPORAL_BINARY names no `temporal` binary; `npm test` sets it');
  quietRuntime();
  server = await TestWorkflowEnvironment.createLocal({ server: { executable: { type: 'existing-path', path }, extraArgs: [...QUICK_SERVER_ARGUMENTS] } });
  project.provide('temporalAddress', server.address);
}

export async function teardown(): Promise<void> {
  await server?.teardown();
}
