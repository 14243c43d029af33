/**
 * What `npm run demo` can show: the main job, and what happens when something is wrong. Each
 * scenario checks that its outcome is the right one, on the guest itself and on both hosts.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Evidence } from '../../domain/evidence.js';
import type { VmSurvey } from '../../domain/status.js';
import type { VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import { createVmStore } from '../../host/vm-store.js';
import { tapChannel } from './channel-tap.js';
import { type GuestConsole, firstGap, openGuestConsole } from './guest-console.js';
import type { MoveEnd, Stage } from './stage.js';
import type { Testbed, TestbedHost, TestbedOptions } from './testbed.js';
import { tapTpm } from './tpm-tap.js';

export interface Scenario {
  readonly name: string;
  readonly summary: string;
  /** Attackers to put in place before the hosts start. */
  readonly taps?: (root: string) => Pick<TestbedOptions, 'tpmTap' | 'channelTap'>;
  readonly run: (testbed: Testbed, stage: Stage) => Promise<MoveEnd>;
}

export const VM = 'counter';

export const SCENARIOS: readonly Scenario[] = [
  { name: 'move', summary: 'the main job: a VM with a vTPM moves from host-a to host-b', run: moves },
  { name: 'untrusted-destination', summary: 'a PCR of host-b is not the reference value: refused before the first byte', run: untrustedDestination },
  {
    name: 'changed-after-quote',
    summary: 'a PCR of host-b changes between its quote and the unsealing: its TPM refuses',
    taps: () => ({ tpmTap: changePcrAfterQuote }),
    run: changedAfterQuote,
  },
  {
    name: 'tampered-stream',
    summary: 'one bit flips on its way once the source has stopped: host-b never runs it, host-a resumes',
    taps: (root) => ({ channelTap: flipOnceRelinquished(root) }),
    run: tamperedStream,
  },
  { name: 'destination-dies', summary: 'the QEMU of host-b is killed during the memory rounds: host-a goes on', run: destinationDies },
];

async function moves(testbed: Testbed, stage: Stage): Promise<MoveEnd> {
  const { vm, console: before } = await startGuest(testbed, stage, { dirtyMibPerSecond: 8 });
  const diskBefore = await counterOnDisk(vm);
  const end = await stage.move(testbed, { vmId: VM, destination: 'host-b' });
  stage.check('the move succeeded', end.result.outcome.kind === 'moved');

  const after = await openGuestConsole(join(testbed.hosts['host-b'].config.runDir, VM, 'console.log'));
  const [first] = before.unseals();
  const last = before.counts().at(-1) ?? 0;
  await after.until((c) => c.unseals().some((u) => u.count > last), 'an unsealing on host-b');
  await before.close();
  await after.close();
  const counts = [before.text() + after.text()].flatMap((text) => [...text.matchAll(/^count (\d+)\r?$/gm)].map((m) => Number(m[1])));
  const gap = firstGap(counts);
  stage.check(`the guest counts on at host-b without a gap: 1 … ${last} | … ${counts.at(-1)}${gap ? ` (gap: ${gap.after} → ${gap.came})` : ''}`, gap === null && counts.at(-1)! > last);
  const unsealed = after.unseals().find((u) => u.count > last);
  stage.check('it unseals the same secret at host-b', unsealed?.secretSha256 === first?.secretSha256);
  stage.check('with the same vTPM: same EK, same PCR', unsealed?.ek === first?.ek && unsealed?.pcr === first?.pcr);
  stage.check('its counter on the shared disk goes on', (await counterOnDisk(vm)) > diskBefore);
  const traces = await tracesOf(testbed.hosts['host-a']);
  stage.check(`nothing of it is left on host-a but its ownership record (retired)${traces.length > 0 ? `: ${traces.join(', ')}` : ''}`, traces.length === 0);
  stage.check('host-b owns it, host-a may not run it', (await ownershipOn(testbed, 'host-b'))?.mayRun === true && (await ownershipOn(testbed, 'host-a'))?.ownership === 'retired');
  return end;
}

async function untrustedDestination(testbed: Testbed, stage: Stage): Promise<MoveEnd> {
  const { console: guest } = await startGuest(testbed, stage);
  stage.say('host-b boots something else: its PCR 14 is extended');
  await testbed.extendPcr('host-b', 14);
  const end = await stage.move(testbed, { vmId: VM, destination: 'host-b' });
  stage.check('refused, naming the PCR', end.codes.includes('PCR_NOT_REFERENCE') && end.result.outcome.kind === 'refused');
  stage.check('before the first byte: no memory round, nothing of the VM on host-b', (await evidenceOf(end)).rounds.length === 0 && (await tracesOf(testbed.hosts['host-b'])).length === 0);
  await stillWorksOnSource(testbed, stage, guest);
  return end;
}

async function changedAfterQuote(testbed: Testbed, stage: Stage): Promise<MoveEnd> {
  const { console: guest } = await startGuest(testbed, stage);
  stage.say('an attacker waits for host-b’s quote, and changes its PCR 14 right after it');
  const end = await stage.move(testbed, { vmId: VM, destination: 'host-b' });
  const evidence = await evidenceOf(end);
  stage.check('host-b’s quote was right, and was believed', evidence.attestation.referenceSets.destination !== null);
  stage.check('its TPM refused to open the VM secrets', end.codes.includes('UNSEAL_REFUSED'));
  stage.check('nothing of the VM is on host-b', (await tracesOf(testbed.hosts['host-b'])).length === 0);
  await stillWorksOnSource(testbed, stage, guest);
  return end;
}

async function tamperedStream(testbed: Testbed, stage: Stage): Promise<MoveEnd> {
  const { console: guest } = await startGuest(testbed, stage, { dirtyMibPerSecond: 8 });
  stage.say('an attacker on the wire flips one bit after host-a has stopped the VM');
  const end = await stage.move(testbed, { vmId: VM, destination: 'host-b' });
  const evidence = await evidenceOf(end);
  stage.check('the move did not succeed', end.result.outcome.kind === 'source-resumed');
  stage.check('host-b’s TPM signed that it rejects', evidence.verdict?.verdict.verdict === 'rejected');
  stage.check('host-b never ran it and keeps nothing of it', evidence.timings.destination === null && (await tracesOf(testbed.hosts['host-b'])).length === 0);
  await stillWorksOnSource(testbed, stage, guest);
  return end;
}

async function destinationDies(testbed: Testbed, stage: Stage): Promise<MoveEnd> {
  const { console: guest } = await startGuest(testbed, stage, { dirtyMibPerSecond: 8 });
  const pidFile = join(testbed.hosts['host-b'].config.runDir, VM, 'qemu.pid');
  let killed = 0;
  const end = await stage.move(
    testbed,
    { vmId: VM, destination: 'host-b', limits: { bandwidthBytesPerSecond: 8 * 1024 * 1024 } },
    async ({ progress }) => {
      if (killed > 0 || !progress || progress.sentBytes === 0) return;
      killed = Number(await readFile(pidFile, 'utf8'));
      stage.say(`host-b’s QEMU (process ${killed}) is killed`);
      process.kill(killed, 'SIGKILL');
    },
  );
  stage.check('it was killed during the rounds', killed > 0);
  stage.check('the move did not succeed', end.result.outcome.kind === 'source-resumed');
  stage.check('nothing of it is left on host-b', (await tracesOf(testbed.hosts['host-b'])).length === 0);
  await stillWorksOnSource(testbed, stage, guest);
  return end;
}

/** A VM `counter` that runs on host-a, counts, and has unsealed once. */
export async function startGuest(testbed: Testbed, stage: Stage, options: { readonly dirtyMibPerSecond?: number } = {}) {
  const vm = await testbed.guest(VM, options);
  stage.say(`korora vm start ${VM}.json --on host-a`);
  await testbed.client.startVm(vm, 'host-a');
  const console = await openGuestConsole(join(testbed.hosts['host-a'].config.runDir, VM, 'console.log'));
  await console.until((c) => c.unseals().length > 0 && c.counts().length > 10, 'counting and its first unsealing');
  const [unsealed] = console.unseals();
  stage.say(`the guest counts (now ${console.counts().at(-1)}), has sealed a secret in its vTPM (EK ${unsealed?.ek.slice(0, 16)}…) and unseals it`);
  return { vm, console };
}

/** The guest counts on where it was, without a gap, and still unseals its secret; and another move works. */
async function stillWorksOnSource(testbed: Testbed, stage: Stage, guest: GuestConsole): Promise<void> {
  const last = guest.counts().at(-1) ?? 0;
  const [first] = guest.unseals();
  await guest.until((c) => c.unseals().some((u) => u.count > last) && (c.counts().at(-1) ?? 0) > last + 10, 'going on at host-a');
  await guest.close();
  const counts = guest.counts();
  stage.check(`the guest counts on at host-a without a gap: 1 … ${counts.at(-1)}`, firstGap(counts) === null);
  stage.check('it still unseals its secret', guest.unseals().at(-1)?.secretSha256 === first?.secretSha256);
  stage.check('host-a owns it, host-b does not', (await ownershipOn(testbed, 'host-a'))?.ownership === 'owner' && (await ownershipOn(testbed, 'host-b'))?.mayRun !== true);
}

async function changePcrAfterQuote({ hostId, tcti }: { readonly hostId: string; readonly tcti: string }): Promise<string> {
  if (hostId !== 'host-b') return tcti;
  const port = Number(/port=(\d+)/.exec(tcti)?.[1]);
  const tap = await tapTpm(port, async () => {
    const { exitCode } = await createLocalHost('host-b' as never).run('tpm2_pcrextend', ['-T', tcti, `14:sha256=${'5a'.repeat(32)}`]);
    if (exitCode !== 0) throw new Error('tpm2_pcrextend failed');
  });
  return tap.tcti;
}

function flipOnceRelinquished(root: string): NonNullable<TestbedOptions['channelTap']> {
  const record = join(root, 'host-a/state/vms', VM, 'ownership.json');
  const isRelinquished = () => readFileSync(record, 'utf8').includes('"relinquished"');
  return async ({ hostId, listen }) => (hostId === 'host-b' ? (await tapChannel(listen, isRelinquished)).address : listen);
}

async function tracesOf({ config }: TestbedHost): Promise<readonly string[]> {
  const access = createLocalHost(config.hostId);
  return createVmStore(access, { vmsDir: `${config.stateDir}/vms`, runDir: config.runDir }).traces(VM as never);
}

async function ownershipOn(testbed: Testbed, hostId: string): Promise<VmSurvey | undefined> {
  return (await testbed.client.vms()).find((vm) => vm.hostId === hostId && vm.vmId === VM);
}

async function evidenceOf({ result }: MoveEnd): Promise<Evidence> {
  return Evidence.parse(JSON.parse(await readFile(result.evidencePath, 'utf8')));
}

async function counterOnDisk(vm: VmDocument): Promise<number> {
  const [disk] = vm.disks;
  if (!disk) return 0;
  return Number((await readFile(disk.path)).subarray(13, 33).toString('latin1'));
}
