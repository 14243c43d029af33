/** What a worker keeps from every VM, whatever the roots of its storage say: its own folders, and the files of its credentials. */
import { credentialFiles } from '../temporal/place.js';
import type { HostConfig } from './config.js';

/** A path that is not there, or will be, is one of them too. */
export function reservedPlaces({ stateDir, runDir, trustBundle }: HostConfig, environment: Readonly<Record<string, string | undefined>> = process.env): readonly string[] {
  return [stateDir, runDir, trustBundle, ...credentialFiles(environment)];
}
