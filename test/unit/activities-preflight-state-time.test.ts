/** activities/preflight.ts, networks.ts, state.ts, event-log.ts and time.ts on hosts in memory: what a host says of itself to whoever asks, and what it says nothing of. */
import { describe, expect, it } from 'vitest';
import { type Hosts, B, WEB, beginHosts, installedPath, onB } from '../support/hosts-in-memory.js';
import { shownEventLog } from '../../activities/event-log.js';
import { networkFacts } from '../../activities/networks.js';
import { createStateActivities } from '../../activities/state.js';
import { timeAt } from '../../activities/time.js';
import { digestOf } from '../../domain/canonical.js';
import { refuse } from '../../domain/failures.js';
import { surveyStatementOf } from '../../domain/survey.js';
import { VmDocument } from '../../domain/vm.js';
import { GOOD_PCRS, type HostName, vmOf } from '../../infra/testbed/hostile/people.js';
import { parseAttest } from '../../tpm/structures.js';
import { refusalOf } from '../support/refusal.js';

const vm = vmOf('web');
const FACTS = { kind: 'fake', version: '1.0.0', accelerator: 'none', machineTypes: ['pc-q35-7.2'], cpuModels: ['max'] };
const codes = (failures: readonly { readonly code: string }[]) => failures.map(({ code }) => code);
const source = (hosts: Hosts, order: unknown, document = vm) => hosts.ask('host-a', 'inspectSource', { order, vm: document } as never);
const destination = (hosts: Hosts, order: unknown, document = vm) => hosts.ask('host-b', 'inspectDestination', { order, vm: document } as never);

describe('what a source says before a move', () => {
  it('is what it owns, what is installed, whether it runs, and its parts', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('ordered');
    const common = { hostId: 'host-a', failures: [], hypervisor: FACTS, swtpmVersion: '1.0.0', strangers: [], disks: [], networks: [] };
    expect(await source(hosts, signed)).toEqual({ ...common, ownership: { state: 'owner', epoch: 1 }, vmDigest: digestOf(vm), vmStatus: 'running' });
    hosts.machine('host-a').turnOff();
    hosts.files('host-a').delete(installedPath('host-a'));
    expect(await source(hosts, signed)).toMatchObject({ vmDigest: null, vmStatus: 'absent' });
  });

  it('is nothing for an order that nobody signed, or of another document', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('ordered');
    const forged = { ...signed, signatures: [{ ...signed.signatures[0], sig: Buffer.alloc(64).toString('base64') }] };
    expect(await hosts.refused('host-a', 'inspectSource', { order: forged, vm } as never)).toEqual([expect.stringMatching(/^ORDER_NOT_SIGNED: /)]);
    expect(await hosts.refused('host-a', 'inspectSource', { order: signed, vm: { ...vm, memoryBytes: 128 * 1024 * 1024 } })).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
    const ofOther = await hosts.people.order('db', 1, 'host-a', 'host-b', { vmDigest: digestOf(vm) });
    expect(await hosts.refused('host-a', 'inspectSource', { order: ofOther, vm })).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
  });

  it('lists what admission, resources and TPM have against it, all at once', async () => {
    const tpmFails = refuse('TPM_COMMAND_FAILED', { command: 'create', host: 'host-b', problem: 'a test' });
    const hosts = await beginHosts(onB((services) => ({ tpm: { ...services.tpm, ensureAttestationKey: () => Promise.reject(tpmFails) } })));
    const late = await hosts.people.order('web', 1, 'host-a', 'host-b', { notAfter: '2020-01-01T00:00:00Z', bundleDigest: 'ab'.repeat(32) as never });
    expect(codes((await destination(hosts, late)).failures)).toEqual(['ORDER_EXPIRED', 'BUNDLE_DIFFERS', 'TPM_COMMAND_FAILED']);
    const document = VmDocument.parse({ ...vm, boot: { ...vm.boot, kernel: '/etc/host-b/bundle.json' } });
    const outside = await hosts.people.order('web', 1, 'host-a', 'host-b', { vmDigest: digestOf(document) });
    expect(codes((await destination(hosts, outside, document)).failures)).toEqual(['PATH_OUTSIDE_ROOTS', 'TPM_COMMAND_FAILED']);
  });

  it('goes on without a hypervisor that answers, and fails by a defect', async () => {
    let error: Error = refuse('HYPERVISOR_COMMAND_FAILED', { command: 'facts', host: 'host-b', problem: 'none' });
    const hosts = await beginHosts(onB((services) => ({ hypervisor: { ...services.hypervisor, facts: () => Promise.reject(error) } })));
    const { signed } = await hosts.move('ordered');
    expect(await destination(hosts, signed)).toMatchObject({ hypervisor: null, failures: [] });
    error = new Error('a defect');
    expect(await hosts.refused('host-b', 'inspectDestination', { order: signed, vm })).toEqual([expect.stringContaining('a defect')]);
  });

  it('fails by a defect of its TPM', async () => {
    const hosts = await beginHosts(onB((services) => ({ tpm: { ...services.tpm, ensureAttestationKey: () => Promise.reject(new Error('a defect')) } })));
    const { signed } = await hosts.move('ordered');
    expect(await hosts.refused('host-b', 'inspectDestination', { order: signed, vm })).toEqual([expect.stringContaining('a defect')]);
  });
});

describe('what a destination says before a move', () => {
  it('is its memory, which boot files it lacks, and what stands there of the VM', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('ordered');
    const common = { hostId: 'host-b', failures: [], hypervisor: FACTS, swtpmVersion: '1.0.0', strangers: [], disks: [], networks: [] };
    expect(await destination(hosts, signed)).toEqual({ ...common, availableMemoryBytes: 64 * 1024 ** 3, missingBootFiles: [], leftovers: [] });
    hosts.files('host-b').delete('/srv/initrd.img');
    hosts.files('host-b').set('/var/host-b/vms/web/vtpm/vtpm.state', Buffer.from('x'));
    expect(await destination(hosts, signed)).toMatchObject({ missingBootFiles: ['/srv/initrd.img'], leftovers: ['/var/host-b/vms/web/vtpm'] });
    await hosts.quiet();
  });

  it('names a record that has the VM already', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('prepared');
    const said = await destination(hosts, signed);
    expect(said.failures).toMatchObject([{ code: 'VM_HELD', message: expect.stringContaining('host-b, where VM web is to go, has it already: its ownership record says incoming') as string }]);
    expect(said.leftovers).toEqual([]);
  });

  it('is of its bridges, by the folder that Linux gives to them alone', async () => {
    const document = VmDocument.parse({ ...vm, networks: [{ id: 'lan', bridge: 'br-lan', mac: '52:54:00:00:00:01' }, { id: 'wan', bridge: 'br-wan', mac: '52:54:00:00:00:02' }] });
    const asked: string[] = [];
    const stat = (path: string) => (asked.push(path), Promise.resolve(path.includes('br-lan') ? { kind: 'directory' } : { kind: 'file' }));
    expect(await networkFacts({ stat } as never, document)).toEqual([{ id: 'lan', isVisible: true }, { id: 'wan', isVisible: false }]);
    expect(asked).toEqual(['/sys/class/net/br-lan/bridge', '/sys/class/net/br-wan/bridge']);
    expect(await networkFacts({ stat: () => Promise.resolve(null) } as never, document)).toEqual([{ id: 'lan', isVisible: false }, { id: 'wan', isVisible: false }]);
  });
});

describe('how a host is', () => {
  const question = { nonce: '5a'.repeat(32), pcrs: [0, 4, 7] };
  const signedOver = (quote: { readonly attest: string }) => parseAttest(Buffer.from(quote.attest, 'base64')).extraData.toString('hex');

  it('is quoted over the nonce of whoever asks', async () => {
    const hosts = await beginHosts({ services: (services) => ({ ...services, eventLog: () => Promise.resolve(Buffer.from('booted')) }) });
    const said = await hosts.ask('host-a', 'showState', question);
    const statement = { protocol: 'korora/1', purpose: 'state', hostId: 'host-a', nonce: question.nonce };
    expect(said).toEqual({ statement, quote: { attest: expect.any(String) as string, signature: expect.any(String) as string }, pcrValues: GOOD_PCRS, eventLog: Buffer.from('booted').toString('base64') });
    expect(signedOver(said.quote)).toBe(digestOf(statement));
    expect((await hosts.ask('host-a', 'showState', { ...question, pcrs: [4] })).pcrValues).toEqual({ '4': GOOD_PCRS['4'] });
  });

  it('is shown for one VM, or for the ledger with all records', async () => {
    const hosts = await beginHosts();
    const one = await hosts.ask('host-a', 'showSurvey', { ...question, vmId: WEB });
    expect(one.survey).toEqual({ hostId: 'host-a', vm: { record: hosts.record('host-a'), problem: null, vm }, ledger: null });
    expect(signedOver(one.quote)).toBe(digestOf(surveyStatementOf(one.survey, question.nonce)));
    expect((await hosts.ask('host-b', 'showSurvey', { ...question, vmId: WEB })).survey).toMatchObject({ hostId: 'host-b', vm: { vm: null, record: { state: 'none' } } });
    const all = await hosts.ask('host-a', 'showSurvey', { ...question, vmId: null });
    expect(all.survey).toMatchObject({ hostId: 'host-a', vm: null, ledger: { doubt: null, unreadable: [], records: [hosts.record('host-a')] } });
  });

  it('is not shown where it does not fit one payload', async () => {
    const hosts = await beginHosts();
    const services = hosts.services('host-b');
    // Two quotation marks are characters, too.
    const shown = (length: number) => createStateActivities({ ...services, ownership: { ...services.ownership, showLedger: () => Promise.resolve('x'.repeat(length - 2) as never) } }).showSurvey({ ...question, vmId: null } as never);
    expect(await hosts.drive(shown(1024 * 1024))).toMatchObject({ survey: { hostId: B } });
    expect(await hosts.drive(refusalOf(shown(1024 * 1024 + 1)))).toMatch(/^LEDGER_TOO_LARGE: .*host-b.*1048577/);
  });

  it('is without an event log where that cannot be read', async () => {
    expect(await shownEventLog({ eventLog: () => Promise.reject(new Error('x')) } as never)).toBeNull();
    expect(await shownEventLog({ eventLog: () => Promise.resolve(null) } as never)).toBeNull();
    expect(await shownEventLog({ eventLog: () => Promise.resolve(Buffer.from('x')) } as never)).toBe('eA==');
  });
});

describe('what time it is', () => {
  it('is the latest that the host and Temporal tell, and the end of time where that is none', async () => {
    const hosts = await beginHosts();
    const clock = { now: () => Date.parse('2029-01-01T00:00:00Z') };
    expect(timeAt({ clock }).toISOString()).toBe('2029-01-01T00:00:00.000Z');
    const { signed } = await hosts.move('ordered', { notAfter: new Date(Date.now() + 3_600_000).toISOString() });
    const asked = async (host: HostName, scheduledAtMs: number) => {
      const call = hosts.world.call(host, 'openSession', [{ order: signed, role: 'destination' }], scheduledAtMs);
      return hosts.drive(call.answer).then(() => 'opened', (error: { readonly details: readonly [readonly { readonly message: string }[]] }) => error.details[0][0]?.message);
    };
    expect(await asked('host-b', Date.parse('2030-01-01T00:00:00Z'))).toMatch(/at host-b it is 2030-01-01T00:00:00.000Z$/);
    for (const none of [8.64e15 + 1, Number.NaN, 8.64e15]) expect(await asked('host-b', none)).toMatch(/at host-b it is \+275760-09-13T00:00:00.000Z$/);
    expect(await asked('host-b', 0)).toBe('opened');
  });
});
