/** activities/vm.ts and boot.ts on hosts in memory: by whose word a VM is made and boots, once; and what a host says of what it has. */
import { describe, expect, it } from 'vitest';
import { type Hosts, A, B, WEB, beginHosts, installedPath, onB, recordPath, runDirOf, startOf, timedHosts } from '../support/hosts-in-memory.js';
import { digestOf } from '../../domain/canonical.js';
import { refuse } from '../../domain/failures.js';
import type { OwnershipRecord } from '../../domain/ownership.js';
import { VmDocument } from '../../domain/vm.js';
import type { InstalledVm } from '../../host/vm-store.js';
import { FOREVER, GOOD_PCRS, type HostName, OPERATOR, vmOf } from '../../infra/testbed/hostile/people.js';
import { textsOf } from '../support/refusal.js';

const vm = vmOf('web');
const installedOn = (hosts: Hosts, host: HostName = 'host-a') => JSON.parse(hosts.files(host).get(installedPath(host))?.toString() ?? '') as InstalledVm;
const codes = (refusals: readonly string[]) => refusals.map((text) => text.split(':')[0]);
const surveyOf = async (hosts: Hosts, host: HostName = 'host-a') => {
  const survey = await hosts.ask(host, 'surveyHost');
  if (!survey.reachable) throw new Error('not reachable');
  return survey;
};

describe('starting a VM', () => {
  it('creates it with a vTPM of its own, boots it, and keeps by which order', async () => {
    const places: object[] = [];
    const hosts = await beginHosts({ vm: null, ...onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, start: (document, place) => (places.push({ vmId: document.vmId, ...place }), hypervisor.start(document, place)) } })) });
    const start = await startOf(vm, 'host-b', null);
    const said = await hosts.ask('host-b', 'startVm', { start, vm });
    expect(said).toEqual({ vmId: 'web', hostId: 'host-b', ownership: 'owner', epoch: 1, status: 'running', mayRun: true, recordProblem: null, move: null, vm, consolePath: '/run/host-b/web/console.log' });
    expect(places).toEqual([{ vmId: 'web', runDir: '/run/host-b/web', vtpmControlSocketPath: '/run/host-b/web/control.sock' }]);
    const vtpm = hosts.machine('host-b').vtpms.get(runDirOf('host-b'));
    const orderDigest = digestOf({ kind: 'korora/start', version: 1, vmId: 'web', vmDigest: digestOf(vm), host: 'host-b', epoch: null, by: OPERATOR, notAfter: FOREVER });
    const installed = installedOn(hosts, 'host-b');
    expect(installed).toEqual({ version: 1, vm, vtpm: { identity: vtpm?.content?.identity, keys: installed.vtpm?.keys }, bootedAfter: null, started: [{ orderDigest, notAfter: FOREVER }] });
    expect(vtpm?.stateKey).not.toBe(vtpm?.migrationKey);
    expect(hosts.world.hosts['host-b'].tpm.opens(installed.vtpm?.keys.privateArea ?? '')?.toString('hex')).toBe(`${vtpm?.stateKey ?? ''}${vtpm?.migrationKey ?? ''}`);
    expect(await hosts.ask('host-b', 'startVm', { start, vm })).toEqual(said);
    expect(places).toHaveLength(1);
    expect(installedOn(hosts, 'host-b')).toEqual(installed);
  });

  it('boots it once by one order, and again by another of its epoch', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').turnOff();
    expect(await hosts.refused('host-a', 'startVm', { start: await startOf(vm, 'host-a', null), vm })).toEqual(['START_USED: host-a has carried out this order to start VM web']);
    expect(hosts.status('host-a')).toBe('absent');
    const before = installedOn(hosts);
    expect(await hosts.start(vm, 'host-a', 1)).toMatchObject({ status: 'running', epoch: 1 });
    expect(installedOn(hosts)).toMatchObject({ vtpm: before.vtpm, started: [{}, {}] });
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', epoch: 1 });
  });

  it('forgets orders that would be good no more', async () => {
    const hosts = await beginHosts();
    const [first] = installedOn(hosts).started;
    const ended = { orderDigest: 'ab'.repeat(32), notAfter: '2020-01-01T00:00:00Z' };
    hosts.files('host-a').set(installedPath('host-a'), Buffer.from(JSON.stringify({ ...installedOn(hosts), started: [ended, first] })));
    await hosts.start(vm, 'host-a', 1);
    expect(installedOn(hosts).started).toEqual([first, { orderDigest: expect.any(String) as string, notAfter: FOREVER }]);
  });

  it('keeps an order to its last millisecond', async () => {
    const { hosts, clock } = await timedHosts();
    const last = { orderDigest: 'ab'.repeat(32), notAfter: '2040-01-01T00:00:00Z' };
    hosts.files('host-a').set(installedPath('host-a'), Buffer.from(JSON.stringify({ ...installedOn(hosts), started: [last] })));
    clock.ms = Date.parse(last.notAfter);
    await hosts.start(vm, 'host-a', 1);
    expect(installedOn(hosts).started).toEqual([last, { orderDigest: expect.any(String) as string, notAfter: FOREVER }]);
  });

  it('takes no other document than was signed, also where the VM is here already', async () => {
    const hosts = await beginHosts();
    expect(await hosts.refused('host-a', 'startVm', { start: await startOf(vm, 'host-a', 1), vm: { ...vm, memoryBytes: 128 * 1024 * 1024 } })).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
  });

  it('is of this VM on this host, as its document was signed', async () => {
    const hosts = await beginHosts({ vm: null });
    const start = await startOf(vm, 'host-a', null);
    expect(await hosts.refused('host-b', 'startVm', { start, vm })).toEqual(['ORDER_INVALID: the order is not valid: it starts web on host-a']);
    expect(await hosts.refused('host-a', 'startVm', { start, vm: { ...vm, vmId: 'db' as never } })).toEqual(['ORDER_INVALID: the order is not valid: it starts web on host-a']);
    expect(await hosts.refused('host-a', 'startVm', { start, vm: { ...vm, memoryBytes: 128 * 1024 * 1024 } })).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
    expect(hosts.record('host-a')).toBeNull();
  });

  it.each([[null, 'none'], [2, 2]] as const)('is refused in another epoch than the record’s: %s', async (epoch, ordered) => {
    const hosts = await beginHosts();
    const host = epoch === null ? 'host-b' : 'host-a';
    if (epoch === null) {
      const moved = await hosts.move('copied');
      await hosts.ask('host-a', 'resolveSource', { statement: moved.answers?.[2].statement as never });
    }
    expect(await hosts.refused(host, 'startVm', { start: await startOf(vm, host, epoch), vm })).toEqual([`ORDER_STALE: this is for epoch ${ordered} of VM web; ${host} has epoch ${epoch === null ? 2 : 1}`]);
  });

  it('is refused for an epoch that is not there yet', async () => {
    const hosts = await beginHosts({ vm: null });
    expect(await hosts.refused('host-a', 'startVm', { start: await startOf(vm, 'host-a', 1), vm })).toEqual(['ORDER_STALE: this is for epoch 1 of VM web; host-a has epoch 0']);
  });

  it('never starts what is not owned here', async () => {
    const hosts = await beginHosts();
    await hosts.move('prepared');
    expect(await hosts.refused('host-b', 'startVm', { start: await startOf(vm, 'host-b', null), vm })).toEqual(['VM_EXISTS: host-b already has a record of VM web: incoming']);
  });

  it('is refused where another document is installed', async () => {
    const hosts = await beginHosts();
    const other = VmDocument.parse({ ...vm, memoryBytes: 128 * 1024 * 1024 });
    expect(await hosts.refused('host-a', 'startVm', { start: await startOf(other, 'host-a', 1), vm: other })).toEqual(['VM_EXISTS: host-a already has a record of VM web: installed with another document']);
  });

  it('comes to the same after an attempt that came as far as the record', async () => {
    const problem = refuse('HYPERVISOR_COMMAND_FAILED', { command: 'start', host: 'host-b', problem: 'no memory' });
    let fails = true;
    const hosts = await beginHosts({ vm: null, ...onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, start: (...args) => (fails ? Promise.reject(problem) : hypervisor.start(...args)) } })) });
    const start = await startOf(vm, 'host-b', null);
    expect(codes(await hosts.refused('host-b', 'startVm', { start, vm }))).toEqual(['HYPERVISOR_COMMAND_FAILED']);
    expect([hosts.state('host-b'), installedOn(hosts, 'host-b').started]).toEqual(['owner', []]);
    const { vtpm } = installedOn(hosts, 'host-b');
    fails = false;
    expect(await hosts.ask('host-b', 'startVm', { start, vm })).toMatchObject({ status: 'running', epoch: 1 });
    expect(installedOn(hosts, 'host-b').vtpm).toEqual(vtpm);
  });

  it('names all reasons at once why the host cannot run it, and leaves nothing', async () => {
    const unfit = VmDocument.parse({ ...vm, machine: 'pc-q35-9.9', boot: { ...vm.boot, kernel: '/srv/none' }, disks: [{ id: 'one', path: '/srv/one.raw', format: 'raw' }], networks: [{ id: 'lan', bridge: 'br-lan', mac: '52:54:00:00:00:01' }] });
    const hosts = await beginHosts({ vm: null, ...onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, strangers: () => Promise.resolve(['process 7']) } })) });
    const refusals = await hosts.refused('host-b', 'startVm', { start: await startOf(unfit, 'host-b', null), vm: unfit });
    expect(refusals.slice(1)).toEqual([
      'STRANGER_FOUND: host-b runs a process that looks like VM web and that Kororā did not start: process 7',
      'DISK_NOT_VISIBLE: host-b does not see disk one at /srv/one.raw',
      'NETWORK_NOT_VISIBLE: host-b has no bridge br-lan for network lan',
      'BOOT_FILE_NOT_VISIBLE: host-b does not see the boot file /srv/none',
    ]);
    expect([hosts.record('host-b'), hosts.files('host-b').has(installedPath('host-b'))]).toEqual([null, false]);
  });

  it('clears away the state of a vTPM that no record explains, for the new one', async () => {
    const hosts = await beginHosts({ vm: null });
    hosts.files('host-a').set('/var/host-a/vms/web/vtpm/vtpm.state', Buffer.from('{"lock":"x","content":null}'));
    expect(await hosts.start(vm, 'host-a')).toMatchObject({ status: 'running' });
  });
});

describe('what a host says of itself', () => {
  it('is its bundle, its parts, its PCRs and its VMs', async () => {
    const hosts = await beginHosts();
    const { digest } = await hosts.drive(hosts.services('host-a').installedBundle());
    expect(await surveyOf(hosts)).toEqual({
      hostId: 'host-a', reachable: true, bundleDigest: digest, hypervisor: 'fake 1.0.0 none', swtpm: '1.0.0', pcrValues: GOOD_PCRS, pcrProblem: null, availableMemoryBytes: 64 * 1024 ** 3,
      vms: [{ vmId: 'web', hostId: 'host-a', ownership: 'owner', epoch: 1, status: 'running', mayRun: true, recordProblem: null, move: null, vm, consolePath: '/run/host-a/web/console.log' }],
      failures: [], findings: [],
    });
    hosts.machine('host-a').turnOff();
    expect((await surveyOf(hosts)).vms).toMatchObject([{ status: 'absent', consolePath: null }]);
  });

  it('names the move that a record is about, and its order until it has ended', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    await hosts.ask('host-a', 'resolveSource', { statement: move.answers?.[2].statement as never });
    expect((await surveyOf(hosts)).vms).toMatchObject([{ ownership: 'retired', mayRun: false, vm: null, move: { migrationId: move.order.migrationId, peer: 'host-b', order: null } }]);
    const back = await hosts.move('prepared', { source: B, destination: A });
    expect((await surveyOf(hosts)).vms).toMatchObject([{ ownership: 'incoming', status: 'incoming', move: { migrationId: back.order.migrationId, peer: 'host-b', order: back.signed } }]);
  });

  it('leaves out a VM of which only refused orders are remembered, and no other', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('ordered');
    await hosts.ask('host-b', 'closeSession', { order: signed, reason: 'x' });
    expect((await surveyOf(hosts, 'host-b')).vms).toEqual([]);
    hosts.files('host-b').set(installedPath('host-b'), hosts.files('host-a').get(installedPath('host-a')) as Buffer);
    expect((await surveyOf(hosts, 'host-b')).vms).toMatchObject([{ ownership: 'none', status: 'absent', vm }]);
    hosts.files('host-b').delete(installedPath('host-b'));
    await hosts.drive(hosts.services('host-b').hypervisor.openIncoming(vm, { runDir: runDirOf('host-b'), vtpmControlSocketPath: null }));
    expect((await surveyOf(hosts, 'host-b')).vms).toMatchObject([{ ownership: 'none', status: 'incoming', vm: null }]);
  });

  it('goes on where a record cannot be read, and says so', async () => {
    const hosts = await beginHosts();
    hosts.files('host-a').set(recordPath('host-a', 'aaa'), Buffer.from('{'));
    await hosts.startWorker('host-a');
    const { vms, failures, findings } = await surveyOf(hosts);
    expect(vms[0]).toEqual({ vmId: 'aaa', hostId: 'host-a', ownership: 'unreadable', epoch: 0, status: 'unknown', mayRun: false, recordProblem: 'it cannot be read', move: null, vm: null, consolePath: null });
    expect([vms.length, vms[1]?.vmId, failures.map(({ code }) => code), findings.map(({ vmId }) => vmId)]).toEqual([2, 'web', ['RECORD_UNREADABLE'], ['aaa']]);
  });

  it('says that a record may not be its last, of the record or of all', async () => {
    const hosts = await beginHosts();
    const old = JSON.parse(hosts.files('host-a').get(recordPath('host-a'))?.toString() ?? '') as OwnershipRecord;
    await hosts.drive(hosts.services('host-a').ownership.renew(WEB));
    hosts.files('host-a').set(recordPath('host-a'), Buffer.from(JSON.stringify(old)));
    await hosts.startWorker('host-a');
    const one = await surveyOf(hosts);
    const problem = 'it is of generation 2, the last one is of 3';
    expect([textsOf(one.failures), one.vms[0]?.mayRun, one.vms[0]?.recordProblem]).toEqual([[`RECORD_STALE: the ownership record of VM web on host-a may not be its last: ${problem}`], false, problem]);
    hosts.world.hosts['host-a'].tpm.state.counter = 99;
    await hosts.startWorker('host-a');
    const all = await surveyOf(hosts);
    expect([textsOf(all.failures), all.vms[0]?.mayRun]).toEqual([['RECORDS_IN_DOUBT: the ownership records of host-a may not be its last: the counter of the TPM is at 99, and their ledger is of 3'], false]);
  });

  it('names the PCRs that no reference set has', async () => {
    const hosts = await beginHosts();
    hosts.world.hosts['host-a'].tpm.state.pcrs = { ...GOOD_PCRS, '4': 'ee'.repeat(32) };
    const survey = await surveyOf(hosts);
    expect([survey.pcrProblem, survey.pcrValues['4'], survey.failures.length > 0, survey.failures.every(({ code }) => code.startsWith('PCR'))]).toEqual(['no active reference set matches', 'ee'.repeat(32), true, true]);
  });

  it('says that its PCRs cannot be read, and not that they are others', async () => {
    const hosts = await beginHosts(onB(({ tpm }) => ({ tpm: { ...tpm, readPcrs: () => Promise.reject(refuse('TPM_UNREACHABLE', { host: 'host-b', problem: 'no device' })) } })));
    const survey = await surveyOf(hosts, 'host-b');
    expect([survey.pcrProblem, survey.pcrValues, survey.failures.map(({ code }) => code)]).toEqual(['PCRs not readable', {}, ['TPM_UNREACHABLE']]);
  });

  it('never fails for a part that is missing', async () => {
    let isBroken = false;
    const hosts = await beginHosts(onB((services) => ({
      vtpms: { ...services.vtpms, version: () => Promise.resolve(null) },
      hypervisor: { ...services.hypervisor, facts: () => Promise.reject(refuse('HYPERVISOR_COMMAND_FAILED', { command: 'facts', host: 'host-b', problem: 'none' })) },
      installedBundle: () => (isBroken ? Promise.reject(refuse('BUNDLE_INVALID', { host: 'host-b', problem: 'a test' } as never)) : services.installedBundle()),
    })));
    isBroken = true;
    const survey = await surveyOf(hosts, 'host-b');
    expect(survey).toMatchObject({ bundleDigest: null, hypervisor: 'none', swtpm: 'none', pcrValues: {}, pcrProblem: 'no policy', vms: [] });
    expect(survey.failures.map(({ code }) => code)).toEqual(['BUNDLE_INVALID', 'HYPERVISOR_COMMAND_FAILED']);
  });

  it('fails by a defect', async () => {
    const hosts = await beginHosts(onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, facts: () => Promise.reject(new Error('a defect')) } })));
    expect(await hosts.refused('host-b', 'surveyHost')).toEqual([expect.stringContaining('a defect')]);
  });
});
