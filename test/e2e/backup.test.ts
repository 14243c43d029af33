/**
 * A restored backup revives nobody: after a move yesterday's state folder of a host comes back, every process of the VM is dead and every worker is
 * started again. No second copy starts, whoever asks for one; people read what was found and what to do; and what an operator signs ends it.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mayDoAnything } from '../../cli/bundles.js';
import { makeKey, readSigner } from '../../cli/keys.js';
import type { KororaClient } from '../../client/index.js';
import type { TrustBundle } from '../../domain/trust-bundle.js';
import type { VmDocument } from '../../domain/vm.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import type { Injector } from '../../infra/testbed/faults/injector.js';
import { killAll } from '../../infra/testbed/processes.js';
import { type Testbed, pidsBelow } from '../../infra/testbed/testbed.js';
import { type HostName, consoleOn, failedMove, moveTo, openAskingTestbed, recordAt, startGuest } from './support.js';

const VM = 'revenant';
let testbed: Testbed;
let vm: VmDocument;

let injector: Injector;
beforeEach(async () => {
  ({ testbed, injector } = await openAskingTestbed());
});
afterEach(async () => {
  await testbed?.stop();
  await injector?.close();
});

const stateOf = (host: HostName) => testbed.hosts[host].config.stateDir;
const backupOf = (host: HostName) => join(testbed.root, `backup-of-${host}`);
const surveyOf = async (host: HostName) => (await testbed.client.hosts()).find((one) => one.hostId === host);
const running = async () => (await testbed.client.vms()).filter(({ status }) => status !== 'absent').map(({ hostId }) => hostId);
const failuresOf = async (host: HostName) => {
  const survey = await surveyOf(host);
  return survey?.reachable ? survey.failures : [];
};

async function backUp(host: HostName): Promise<void> {
  await cp(stateOf(host), backupOf(host), { recursive: true });
}

/** The host loses power, or its worker dies alone, and it comes up with the state folder of the backup. */
async function comesBack(host: HostName, hasLostPower = true): Promise<void> {
  await testbed.hosts[host].worker.kill();
  if (hasLostPower) killAll(await pidsBelow(testbed.hosts[host].config.runDir));
  await rm(stateOf(host), { recursive: true });
  await cp(backupOf(host), stateOf(host), { recursive: true });
  await testbed.restartWorker(host);
}

/** Under a bundle that wants two for it: neither the client nor the host itself takes the word of one. */
async function reinstatedByTwo(): Promise<KororaClient> {
  const word = { reason: 'no other VM was ever here' };
  const second = await readSigner((await makeKey(join(testbed.root, 'second.key'))).privateFile);
  const { operators, parameters } = testbed.bundle.bundle;
  const wantsTwo: TrustBundle = { ...testbed.bundle.bundle, operators: [...operators, mayDoAnything('second', second.publicKey)], parameters: { ...parameters, wordsOfTwo: ['reinstate'] } };
  const [byFirst, bySecond] = [await testbed.installBundle(wantsTwo), await testbed.installBundle(wantsTwo, second)];
  expect((await failedMove(byFirst.reinstate('host-a', word))).codes).toEqual(['SECOND_SIGNATURE_MISSING']);
  // The bundle of this client wants one, and the host goes by its own.
  expect((await failedMove(testbed.client.reinstate('host-a', word))).codes).toEqual(['SECOND_SIGNATURE_MISSING']);
  const draft = await byFirst.draftReinstatement('host-a', word);
  expect((await failedMove(byFirst.countersign(draft))).codes).toEqual(['SIGNED_ALREADY']);
  await bySecond.submit(await bySecond.countersign(draft));
  return bySecond;
}

it('of the source: it starts nothing, hears of the owner, and is believed again once two operators signed', async () => {
  const guest = await startGuest(testbed, VM, 'host-a');
  vm = guest.vm;
  await backUp('host-a');
  expect((await moveTo(testbed, VM, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  await comesBack('host-a');

  const [doubt, ...others] = await failuresOf('host-a');
  expect([doubt?.code, others]).toEqual(['RECORDS_IN_DOUBT', []]);
  expect(doubt?.remedy).toContain('`korora host reinstate host-a --reason TEXT`');
  expect((await failedMove(moveTo(testbed, VM, 'host-a'))).codes).toEqual(['RECORD_STALE']);
  const another = await testbed.guest('another');
  expect((await failedMove(testbed.client.startVm(another, 'host-a'))).codes).toEqual(['RECORD_STALE']);
  expect(await testbed.client.reconcile(VM)).toMatchObject({ owner: 'host-b', yielded: ['host-a'] });
  expect((await failedMove(testbed.client.startVm(vm, 'host-a'))).codes).toEqual(['VM_EXISTS']);
  expect((await failedMove(testbed.client.startVm(another, 'host-a'))).codes).toEqual(['RECORD_STALE']);
  expect(await running()).toEqual(['host-b']);

  const korora = await reinstatedByTwo();
  expect(await failuresOf('host-a')).toEqual([]);
  const { runId } = await korora.migrate({ vmId: VM, destination: 'host-a' });
  expect((await endOfMove(korora, VM, runId)).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-a' });
  const after = await consoleOn(testbed, VM, 'host-a');
  await after.until((c) => c.unseals().length > 0, 'unsealing after it came back', 120_000);
  expect(after.unseals().at(-1)?.ek).toBe(guest.console.unseals()[0]?.ek);
  await Promise.all([guest.console.close(), after.close()]);
});

it.each([['loses power', true], ['loses its worker, and its hypervisor holds the stopped VM', false]])('of the source, made while the VM was on offer, put back before the move was over by a host that %s: the verdict decides', async (_, hasLostPower) => {
  const guest = await startGuest(testbed, VM, 'host-a');
  let isBack = false;
  const accident = injector.follow(async ({ kind, on, name, at }) => {
    if (kind !== 'write' || on !== 'host-a') return 'pass';
    if (name === 'offer' && at === 'after') await backUp('host-a');
    if (name === 'learn-accepted' && at === 'before' && !isBack) {
      isBack = true;
      expect(recordAt(testbed, 'host-a', VM).state).toBe('relinquished');
      await comesBack('host-a', hasLostPower);
    }
    return 'pass';
  });
  const { outcome } = await Promise.race([accident, moveTo(testbed, VM, 'host-b')]);

  expect(isBack).toBe(true);
  expect(outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  const survey = await surveyOf('host-a');
  expect(survey?.reachable && survey.findings).toMatchObject([{ vmId: VM, found: 'it was on offer to host-b, and does not run' }]);
  expect([await running(), recordAt(testbed, 'host-a', VM).state]).toEqual([['host-b'], 'retired']);
  const after = await consoleOn(testbed, VM, 'host-b');
  const last = guest.console.counts().at(-1) ?? 0;
  await after.until((c) => (c.counts().at(-1) ?? 0) > last + 2, 'counting on at host-b');
  await Promise.all([guest.console.close(), after.close()]);
});

it('of the destination: it does not say that it never had the VM, and nobody starts it anew', async () => {
  const guest = await startGuest(testbed, VM, 'host-a');
  vm = guest.vm;
  await guest.console.close();
  await backUp('host-b');
  expect((await moveTo(testbed, VM, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  await comesBack('host-b');

  expect((await failuresOf('host-b')).map(({ code }) => code)).toEqual(['RECORDS_IN_DOUBT']);
  for (const host of ['host-a', 'host-b'] as const) expect((await failedMove(testbed.client.startVm(vm, host))).codes).not.toEqual([]);
  expect((await testbed.client.reconcile(VM)).owner).toBeNull();
  expect(await running()).toEqual([]);

  // The last folder is found after all: the doubt was about the backup.
  expect((await testbed.client.vms()).filter(({ mayRun }) => mayRun)).toEqual([]);
});
