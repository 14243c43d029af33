/**
 * Where the hostile control plane runs on QEMU: a testbed with two VMs, a past in which every activity was asked for by honest people, and whoever owns Temporal beside
 * it. `prize` runs and moves; `spare` is owned by host-b, and off.
 */
import { randomBytes } from 'node:crypto';
import { readSigner } from '../../../../cli/keys.js';
import { HOST_INPUTS } from '../../../../activities/inputs.js';
import { digestOf } from '../../../../domain/canonical.js';
import { type Signer, signEnvelope } from '../../../../domain/envelope.js';
import { problemOf } from '../../../../domain/failures.js';
import type { Fence } from '../../../../domain/order.js';
import { Order } from '../../../../domain/order.js';
import { DEFAULT_LIMITS } from '../../../../domain/progress.js';
import type { VmDocument } from '../../../../domain/vm.js';
import { endOfMove } from '../../end-of-move.js';
import type { GuestState } from '../../faults/checks.js';
import { consoleGuest } from '../../faults/console-guest.js';
import type { TestedGuest } from '../../faults/guest.js';
import { HOSTS, type HostName } from '../../faults/move.js';
import { type Baseline, baselineOf } from '../../faults/remains.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../../testbed.js';
import { until } from '../../until.js';
import type { Loot } from '../loot.js';
import { type Caller, openCaller } from './caller.js';
import { readAll } from './overheard.js';
import { type Witness, openWitness } from './witness.js';

export interface Stage {
  readonly testbed: Testbed;
  readonly caller: Caller;
  readonly witness: Witness;
  /** What went through Temporal for honest people. */
  readonly loot: Loot;
  readonly guest: TestedGuest;
  readonly prize: VmDocument;
  readonly spare: VmDocument;
  readonly baseline: Baseline;
  /** Of `prize`. */
  owner: HostName;
  state: GuestState;
  close(): Promise<void>;
}

/** It counts fifty times a second, so that a vCPU that ran for an instant is heard of, and changes memory while it is copied. */
const PRIZE = { memoryMib: 128, tickMs: 20, dirtyMibPerSecond: 1, dirtySetMib: 4, unsealEveryS: 1 };
const SPARE = { memoryMib: 128 };
const BOOT_LIMIT_MS = 120_000;
const AN_HOUR_MS = 3_600_000;
export const ACTIVITIES: readonly string[] = Object.keys(HOST_INPUTS);

/** Orders of honest people are good for an hour: what is asked again was not over. */
export const LIFETIME_MS = AN_HOUR_MS;

export async function openStage(options: TestbedOptions): Promise<Stage> {
  const testbed = await startTestbed(options);
  const ends: (() => unknown)[] = [() => testbed.stop()];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const caller = await openCaller(testbed);
    ends.push(() => caller.close());
    // Of this testbed alone: a VM of that name on another one of this machine could be taken for a stranger.
    const suffix = randomBytes(3).toString('hex');
    const [prize, spare] = [await testbed.guest(`prize-${suffix}`, PRIZE), await testbed.guest(`spare-${suffix}`, SPARE)];
    const guest = consoleGuest(testbed, prize);
    ends.push(() => guest.close());
    await testbed.client.startVm(prize, 'host-a');
    const { unsealings } = await until('the first unsealing of the guest', () => guest.said(['host-a']), (said) => said.unsealings.length > 0, { limitMs: BOOT_LIMIT_MS, everyMs: 100 });
    const baseline = await baselineOf(testbed.hosts);
    const loot = await liveThePast(testbed, caller, prize, spare);
    const witness = openWitness(testbed);
    ends.push(() => witness.close());
    for (const { envelope } of loot.moves) witness.knows(orderIn(envelope));
    return { testbed, caller, witness, loot, guest, prize, spare, baseline, owner: 'host-a', state: { lastCount: 0, unsealed: unsealings[0]! }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export function orderIn(envelope: unknown): Order {
  return Order.parse(JSON.parse(Buffer.from((envelope as { readonly payload: string }).payload, 'base64').toString()));
}

async function liveThePast(testbed: Testbed, caller: Caller, prize: VmDocument, spare: VmDocument): Promise<Loot> {
  const { client, temporal } = testbed;
  const { vmId } = prize;
  const operator = await readSigner(testbed.keys.operator.privateFile);
  /** As a workflow of honest people does; a refusal is an answer. */
  const ask = async (host: HostName, activity: string, argument: unknown): Promise<unknown> => {
    const [reply] = await caller.call([{ host, activity, argument }]);
    asked.push({ host, activity, argument, answer: reply && 'value' in reply ? reply.value : null });
    return reply && 'value' in reply ? reply.value : null;
  };
  const asked: { readonly host: HostName; readonly activity: string; readonly argument: unknown; readonly answer: unknown }[] = [];

  await client.startVm(spare, 'host-b');
  await testbed.endVms(spare.vmId);
  // Signed, and never run.
  await ask('host-a', 'inspectDestination', { order: await signEnvelope(neverRun(testbed, spare), operator), vm: spare });
  // Refused, and its VM is where it was since.
  const refused = { order: await signEnvelope(neverRun(testbed, spare), operator), reason: 'its operator thought better of it' };
  for (const host of HOSTS) await ask(host, 'closeSession', refused);

  const approved = await client.migrate({ vmId, destination: 'host-b', requiresApproval: true, lifetimeMs: LIFETIME_MS });
  await untilItWaits(testbed, vmId);
  await client.setLimits(vmId, { downtimeLimitMs: DEFAULT_LIMITS.downtimeLimitMs + 100 });
  await client.approve(vmId);
  await endOfMove(client, vmId, approved.runId);

  const aborted = await client.migrate({ vmId, destination: 'host-a', requiresApproval: true, lifetimeMs: LIFETIME_MS });
  await untilItWaits(testbed, vmId);
  await client.abort(vmId, 'its operator thought better of it');
  await endOfMove(client, vmId, aborted.runId).then(() => Promise.reject(new Error('a move that was aborted moved')), () => undefined);
  const fence = await fenceOf(operator, vmId, aborted.migrationId);
  await ask('host-b', 'admitFence', { fence });
  await ask('host-b', 'fenceDestination', { fence });

  const back = await client.migrate({ vmId, destination: 'host-a', lifetimeMs: LIFETIME_MS });
  await endOfMove(client, vmId, back.runId);
  const statement = await ask('host-a', 'stateClaim', { vmId, against: 'host-b' });
  await ask('host-b', 'yieldToClaim', { statement });
  await client.reinstate('host-a', { reason: 'no other host runs its VMs' });
  await client.tryBundle();

  const loot = await until('all of the past in the histories', () => readAll(temporal), (read) => never(read).every((name) => asked.some(({ activity }) => activity === name)));
  for (const { host, activity, argument, answer } of asked) {
    loot.asked(host, activity, argument);
    loot.answered(answer);
  }
  if (never(loot).length > 0) throw new Error(`no honest person asks for ${never(loot).join(', ')}: have one do so in ${import.meta.url}`);
  return loot;
}

function never(loot: Loot): readonly string[] {
  return ACTIVITIES.filter((name) => !loot.heard.some(({ activity }) => activity === name));
}

async function untilItWaits({ client }: Testbed, vmId: string): Promise<void> {
  const look = () => client.status(vmId).then(({ awaits, phase }) => ({ awaits, phase }), (error: unknown) => ({ awaits: null, phase: problemOf(error) }));
  await until('the move to wait for an approval', look, ({ awaits }) => awaits === 'approval', { everyMs: 100 });
}

function neverRun({ bundle }: Testbed, { vmId, ...vm }: VmDocument): Order {
  return Order.parse({
    kind: 'korora/order', version: 2, migrationId: crypto.randomUUID(), vmId, vmDigest: digestOf({ vmId, ...vm }), epoch: 1, source: 'host-b', destination: 'host-a', bundleDigest: bundle.digest,
    limits: DEFAULT_LIMITS, requiresApproval: false, by: 'operator', notAfter: inAnHour(),
  });
}

/** Of a move that is over. */
function fenceOf(operator: Signer, vmId: string, migrationId: string) {
  return signEnvelope({ kind: 'korora/fence', version: 1, vmId, migrationId, host: 'host-a', reason: 'its power is cut', by: 'operator', notAfter: inAnHour() } as Fence, operator);
}

function inAnHour(): string {
  return new Date(Date.now() + AN_HOUR_MS).toISOString();
}
