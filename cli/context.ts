/** What every command needs: the trust bundle, a connection, and one way to print and to fail. */
import { readFile } from 'node:fs/promises';
import { Client, Connection } from '@temporalio/client';
import { type KororaClient, createKororaClient } from '../client/index.js';
import { KororaError, problemOf, refuse } from '../domain/failures.js';
import { type InstalledBundle, installBundle } from '../domain/trust-bundle.js';
import { type TemporalPlace, connectionOptionsOf, readTemporalPlace, unreachable } from '../temporal/place.js';
import { visibleValues } from '../domain/visible.js';
import { confirmBy } from './confirm.js';
import { readSigner } from './keys.js';
import { renderFailures } from './render.js';
import { complain, say, sayJson, terminal } from './terminal.js';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly trust?: string;
  readonly key?: string;
  readonly queue?: string;
  readonly yes?: boolean;
}

/** Connects, runs, closes. TEMPORAL_CONFIG_INVALID, PAYLOAD_KEY_INVALID, TEMPORAL_UNREACHABLE, BUNDLE_MISSING, BUNDLE_INVALID, SIGNING_KEY_INVALID. */
export async function withClient<T>(options: GlobalOptions, use: (client: KororaClient) => Promise<T>): Promise<T> {
  return withClientOf(await readBundle(options), options, use);
}

/** As withClient, with another bundle than the one that is in force. */
export async function withClientOf<T>(bundle: InstalledBundle, options: GlobalOptions, use: (client: KororaClient) => Promise<T>): Promise<T> {
  const keyFile = options.key ?? process.env['KORORA_KEY'];
  const signer = keyFile ? await readSigner(keyFile) : null;
  const client = await connectClient(await readTemporalPlace());
  try {
    return await use(createKororaClient({ client, bundle, confirm: confirmBy(terminal(), options.yes ?? false), ...(signer ? { signer } : {}), ...(options.queue === undefined ? {} : { taskQueue: options.queue }) }));
  } finally {
    await client.connection.close();
  }
}

/** TEMPORAL_UNREACHABLE. */
export async function connectClient(place: TemporalPlace): Promise<Client> {
  const { namespace, dataConverter } = place;
  try {
    const connection = await Connection.connect({ ...connectionOptionsOf(place), connectTimeout: '5 s' });
    return new Client({ connection, namespace, dataConverter });
  } catch (error) {
    throw unreachable(place, error);
  }
}

/** BUNDLE_MISSING, BUNDLE_INVALID. */
export async function readBundle(options: Pick<GlobalOptions, 'trust'>): Promise<InstalledBundle> {
  return installBundle(await readJsonFile(trustPath(options), 'BUNDLE_INVALID'), 'this client', 'any signer');
}

/** Fails with `code`, where the file is missing or not JSON. */
export async function readJsonFile(file: string, code: 'BUNDLE_INVALID' | 'VM_DOCUMENT_INVALID' | 'ENROLMENT_FILE_INVALID' | 'EVIDENCE_INVALID'): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    const problem = `${file}: ${problemOf(error)}`;
    if (code === 'BUNDLE_INVALID') throw refuse(code, { host: 'this client', problem }, error);
    if (code === 'ENROLMENT_FILE_INVALID') throw refuse(code, { file, problem: problemOf(error) }, error);
    throw refuse(code, { problem }, error);
  }
}

/** One document on stdout: JSON with --json, text otherwise; `shown` is the value as it may be shown in lines of text. */
export function print<T>(options: GlobalOptions, value: T, text: (shown: T) => string): void {
  if (options.json) sayJson(value);
  else say(text(visibleValues(value)));
}

/** Wraps a command: a KororaError becomes its message and remedy on stderr (or JSON) and exit code 1. */
export function command<A extends unknown[]>(optionsOf: () => GlobalOptions, run: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await run(...args);
    } catch (error) {
      if (!(error instanceof KororaError)) throw error;
      process.exitCode = 1;
      if (optionsOf().json) sayJson({ failures: error.failures });
      else complain(renderFailures(visibleValues(error.failures)));
    }
  };
}

/** BUNDLE_MISSING. */
export function trustPath({ trust }: Pick<GlobalOptions, 'trust'>): string {
  const path = trust ?? process.env['KORORA_TRUST'];
  if (path) return path;
  throw refuse('BUNDLE_MISSING', {});
}
