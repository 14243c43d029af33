/** A testbed for one test file: real Temporal server, workers, TPMs; ended with everything in it. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { getCurrentTest } from 'vitest/suite';
import { type FailureCode, KororaError } from '../../domain/failures.js';
import { VmId } from '../../domain/ids.js';
import { OwnershipRecord, noRecord } from '../../domain/ownership.js';
import type { HostSurvey, MigrationResult, MigrationStatus } from '../../domain/status.js';
import { MigrationFailedError } from '../../client/index.js';
import { Evidence } from '../../domain/evidence.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import { type GuestConsole, openGuestConsole } from '../../infra/testbed/guest-console.js';
import { type Injector, startInjector, workersThatAsk } from '../../infra/testbed/faults/injector.js';
import { QUICK_WORKERS, type Testbed, type TestbedOptions, startTestbed } from '../../infra/testbed/testbed.js';
import { untilView } from '../../infra/testbed/until-view.js';

export type HostName = 'host-a' | 'host-b';

export function partsFromEnvironment(): Pick<TestbedOptions, 'guestDir' | 'temporalBinary'> {
  const [guestDir, temporalBinary] = [process.env['KORORA_GUEST_DIR'], process.env['KORORA_TEMPORAL_BINARY']];
  if (!guestDir || !temporalBinary) throw new Error('run the end-to-end tests through `npm test`: it sets KORORA_GUEST_DIR and KORORA_TEMPORAL_BINARY');
  return { guestDir, temporalBinary };
}

export async function newRoot(): Promise<string> {
  return mkdtemp('/tmp/kr-');
}

/** Looked at when a test fails. */
export const openTestbeds = new Set<Testbed>();

export async function openTestbed(options: (root: string) => Partial<TestbedOptions> | Promise<Partial<TestbedOptions>> = () => ({})): Promise<Testbed> {
  const root = await newRoot();
  const testbed = await startTestbed({ root, ...partsFromEnvironment(), workerCommands: QUICK_WORKERS, ...(await options(root)) });
  openTestbeds.add(testbed);
  const stop = testbed.stop.bind(testbed);
  return Object.assign(testbed, {
    async stop() {
      openTestbeds.delete(testbed);
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  });
}

/** Its workers ask the injector at every point; which ends after the testbed. */
export async function openAskingTestbed(options: Partial<TestbedOptions> = {}): Promise<{ readonly testbed: Testbed; readonly injector: Injector }> {
  let injector!: Injector;
  const testbed = await openTestbed(async (root) => {
    injector = await startInjector(`${root}.sock`);
    return { workerCommands: workersThatAsk(`${root}.sock`, 'quick'), ...options };
  });
  return { testbed, injector };
}

/** The guest runs on `host`, counts, and has unsealed once. */
export async function startGuest(testbed: Testbed, vmId: string, host: HostName, options: Parameters<Testbed['guest']>[1] = {}) {
  const vm = await testbed.guest(vmId, options);
  await testbed.client.startVm(vm, host);
  // A VM of one test would keep a processor busy beside all that come after it; one that is started before the tests stays.
  if (getCurrentTest()) onTestFinished(() => testbed.endVms(vmId));
  const console = await consoleOn(testbed, vmId, host);
  await console.until((c) => (options.hasVtpm === false ? c.counts().length > 3 : c.unseals().length > 0), 'counting and its first unsealing', 120_000);
  return { vm, console };
}

export function consoleOn(testbed: Testbed, vmId: string, host: HostName): Promise<GuestConsole> {
  return openGuestConsole(join(testbed.hosts[host].config.runDir, vmId, 'console.log'));
}

/** Codes and result of a move that must not succeed. */
export async function failedMove(move: Promise<unknown>): Promise<{ readonly codes: readonly FailureCode[]; readonly result: MigrationResult | null; readonly error: KororaError }> {
  const error = await move.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof KororaError)) throw error ?? new Error('the move succeeded');
  return { codes: error.failures.map((f) => f.code), result: error instanceof MigrationFailedError ? error.result : null, error };
}

/** Orders the move and waits for its end. */
export async function moveTo(testbed: Testbed, vmId: string, destination: string, limits = {}): Promise<MigrationResult> {
  const started = await testbed.client.migrate({ vmId, destination, limits });
  return endOfMove(testbed.client, vmId, started.runId);
}

export async function evidenceOf(result: MigrationResult): Promise<Evidence> {
  return Evidence.parse(JSON.parse(await readFile(result.evidencePath, 'utf8')));
}

/** Synchronous, so that what is done about it is done in the same instant; `none` where there is no record. */
export function recordAt(testbed: Testbed, host: HostName, vmId: string): OwnershipRecord {
  const { hostId, stateDir } = testbed.hosts[host].config;
  const path = join(stateDir, 'vms', vmId, 'ownership.json');
  return existsSync(path) ? OwnershipRecord.parse(JSON.parse(readFileSync(path, 'utf8'))) : noRecord(VmId.parse(vmId), hostId);
}

/** The first status of the move in which an operator is to do something, which `isIt`. */
export async function untilNextAction(testbed: Testbed, vmId: string, runId: string, isIt: (action: string) => boolean = () => true): Promise<MigrationStatus> {
  return (await untilView(testbed, vmId, runId, 'a next action', ({ status: { nextAction } }) => nextAction !== null && isIt(nextAction))).status;
}

/** Resolves with the first view of a running copy that has sent something. */
export async function untilCopying(testbed: Testbed, vmId: string): Promise<void> {
  await untilView(testbed, vmId, undefined, 'its rounds', ({ progress, hasEnded }) => !hasEnded && (progress?.sentBytes ?? 0) > 0);
}

export function vmsOf(survey: HostSurvey | undefined) {
  return survey?.reachable ? survey.vms : [];
}
