/**
 * Where a process finds Temporal, and how it speaks to it. The standard environment configuration says where
 * (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS_*, temporal.toml), KORORA_PAYLOAD_KEY names the file of the payload keys.
 */
import type { DataConverter } from '@temporalio/common';
import { type ClientConnectConfig, loadClientConfigProfile, loadClientConnectConfig } from '@temporalio/envconfig';
import { type KororaError, problemOf, refuse } from '../domain/failures.js';
import { readDataConverter } from './data-converter.js';

type Environment = Readonly<Record<string, string | undefined>>;

export interface TemporalPlace {
  /** Host and port. */
  readonly address: string;
  readonly namespace: string;
  /** Undefined or false: no TLS. With a client certificate where one is configured. */
  readonly tls: ClientConnectConfig['connectionOptions']['tls'];
  readonly apiKey: string | undefined;
  /** Headers of every call. */
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly dataConverter: DataConverter;
}

/** What both kinds of connection of the SDK take of it. */
export function connectionOptionsOf({ address, tls, apiKey, metadata }: TemporalPlace) {
  return { address, ...(tls ? { tls } : {}), ...(apiKey === undefined ? {} : { apiKey }), ...(metadata === undefined ? {} : { metadata }) };
}

/** TEMPORAL_UNREACHABLE, whatever it was that kept a connection from coming about: TLS too. */
export function unreachable({ address }: TemporalPlace, error: unknown): KororaError {
  return refuse('TEMPORAL_UNREACHABLE', { address, problem: problemOf(error) }, error);
}

/** TEMPORAL_CONFIG_INVALID, PAYLOAD_KEY_INVALID. */
export async function readTemporalPlace(environment: Environment = process.env): Promise<TemporalPlace> {
  const { connectionOptions, namespace } = readConfiguration(environment);
  const { address, tls, apiKey, metadata } = connectionOptions;
  return {
    address: address ?? 'localhost:7233',
    namespace: namespace ?? 'default',
    tls,
    apiKey: typeof apiKey === 'string' ? apiKey : undefined,
    metadata: metadata as Record<string, string> | undefined,
    dataConverter: await readDataConverter(environment['KORORA_PAYLOAD_KEY'] || undefined),
  };
}

/** The files that say how Temporal is reached, and the keys for it, wherever they are named. TEMPORAL_CONFIG_INVALID. */
export function credentialFiles(environment: Environment): readonly string[] {
  const { tls } = configured(() => loadClientConfigProfile({ overrideEnvVars: environment as Record<string, string> }));
  const named = [tls?.clientCert, tls?.clientKey, tls?.serverCACert].map((source) => (source && 'path' in source ? source.path : undefined));
  const home = environment['XDG_CONFIG_HOME'] ?? `${environment['HOME'] ?? ''}/.config`;
  const files = [...named, environment['TEMPORAL_CONFIG_FILE'] ?? `${home}/temporalio/temporal.toml`, environment['KORORA_PAYLOAD_KEY'], environment['CREDENTIALS_DIRECTORY']];
  return files.flatMap((file) => (file ? [file] : []));
}

function readConfiguration(environment: Environment): ClientConnectConfig {
  return configured(() => loadClientConnectConfig({ overrideEnvVars: environment as Record<string, string> }));
}

function configured<T>(load: () => T): T {
  try {
    return load();
  } catch (error) {
    throw refuse('TEMPORAL_CONFIG_INVALID', { problem: problemOf(error) }, error);
  }
}
