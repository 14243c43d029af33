/** The workflows beside the move: each to a good end, refused, and with a host that falls silent. */
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { type Failure, KororaError, failure } from '../../domain/failures.js';
import { type HostId, MigrationId, VmId } from '../../domain/ids.js';
import { ADA, SIGNED_ORDER, fenceOf, reinstatementOf, samples, startOrderOf, vmDocument } from '../support/documents.js';
import { asking, silence, surveyOf, vmOn } from './other-hosts.js';
import { openStage } from './stage.js';

const stage = openStage('others');
const { source: here, destination: there } = stage;
const run = asking(stage);

const vmId = VmId.parse('web-1');
const vm = vmDocument();
const refusal = failure('FOLDER_NOT_PRIVATE', { folder: 'a folder', host: 'a host', problem: 'it is made up' });
const refuses = (told: Failure = refusal) => {
  throw new KororaError([told]);
};
const unreachable = (host: string) => failure('HOST_UNREACHABLE', { host });
const empty = { surveyHost: (host: HostId) => surveyOf(host, []) };

it('a move that is ordered by no order is refused in the words of the table', async () => {
  expect(await run('secureMigration', { order: await signEnvelope(fenceOf(), ADA), vm }, {})).toMatchObject({ failures: [{ code: 'ORDER_INVALID' }], asked: [] });
});

describe.concurrent('surveyHosts', () => {
  const args = { hostIds: [here, there] };

  it('says what every host says', async () => {
    expect(await run('surveyHosts', args, empty)).toEqual({ said: [surveyOf(here, []), surveyOf(there, [])], asked: [`${here}: surveyHost`, `${there}: surveyHost`] });
  });

  it('fails where a host refuses', async () => {
    expect(await run('surveyHosts', args, { surveyHost: (host) => (host === there ? refuses() : surveyOf(host, [])) })).toMatchObject({ failures: [refusal] });
  });

  it('says of a silent host that it is unreachable', async () => {
    const survey = { surveyHost: (host: HostId) => (host === there ? silence : surveyOf(host, [])) };
    expect(await run('surveyHosts', args, survey)).toMatchObject({ said: [surveyOf(here, []), { hostId: there, reachable: false }] });
  });
});

describe.concurrent('showSurvey', () => {
  const question = { nonce: samples.sessionOffer.nonce, pcrs: [0, 4], vmId };
  const args = { hostId: here, ...question };

  it('says what the host shows', async () => {
    expect(await run('showSurvey', args, { showSurvey: (host, asked) => ({ host, asked }) })).toEqual({ said: { host: here, asked: question }, asked: [`${here}: showSurvey`] });
  });

  it('fails where the host refuses', async () => {
    expect(await run('showSurvey', args, { showSurvey: () => refuses() })).toMatchObject({ failures: [refusal] });
  });

  it('says that a silent host is unreachable', async () => {
    expect(await run('showSurvey', args, { showSurvey: () => silence })).toMatchObject({ failures: [unreachable(here)] });
  });
});

describe.concurrent('quoteHost', () => {
  const question = { nonce: samples.sessionOffer.nonce, pcrs: [0, 4] };
  const args = { hostId: here, ...question };

  it('says what the host shows', async () => {
    expect(await run('quoteHost', args, { showState: (host, asked) => ({ host, asked }) })).toEqual({ said: { host: here, asked: question }, asked: [`${here}: showState`] });
  });

  it('says why the host shows nothing', async () => {
    expect(await run('quoteHost', args, { showState: () => refuses() })).toMatchObject({ said: { failures: [refusal] } });
  });

  it('says that a silent host is unreachable', async () => {
    expect(await run('quoteHost', args, { showState: () => silence })).toMatchObject({ said: { failures: [unreachable(here)] } });
  });

  it('fails where the worker has a defect', async () => {
    const broken = failure('INTERNAL', { problem: 'it is made up' });
    expect(await run('quoteHost', args, { showState: () => refuses(broken) })).toMatchObject({ failures: [broken] });
  });
});

describe.concurrent('reinstateHost', () => {
  const args = async (host = here) => ({ reinstatement: await signEnvelope(reinstatementOf({ host }), ADA) });

  it('says what the host found', async () => {
    const findings = [{ vmId, found: 'a leftover', done: 'it is gone' }];
    expect(await run('reinstateHost', await args(), { reinstateRecords: () => findings })).toEqual({ said: findings, asked: [`${here}: reinstateRecords`] });
  });

  it('fails as the host refuses', async () => {
    expect(await run('reinstateHost', await args(), { reinstateRecords: () => refuses() })).toEqual({ failures: [refusal], asked: [`${here}: reinstateRecords`] });
  });

  it('asks nobody where it is no reinstatement', async () => {
    expect(await run('reinstateHost', { reinstatement: await signEnvelope(fenceOf(), ADA) }, {})).toMatchObject({ failures: [{ code: 'ORDER_INVALID' }], asked: [] });
  });

  it('fails where the host is silent, after three tries', async () => {
    const tried = `${here}: reinstateRecords`;
    expect(await run('reinstateHost', await args(), { reinstateRecords: () => silence })).toEqual({ failures: [unreachable(here)], asked: [tried, tried, tried] });
  });
});

describe.concurrent('startVm', () => {
  const args = async () => ({ start: await signEnvelope(startOrderOf({ vmId, vmDigest: digestOf(vm), host: here }), ADA), vm, others: [there] });
  const started = vmOn(here, { ownership: 'owner', epoch: 1, mayRun: true });
  const surveys = [`${here}: surveyHost`, `${there}: surveyHost`];

  it('asks every host first, then starts it', async () => {
    expect(await run('startVm', await args(), { ...empty, startVm: () => started })).toEqual({ said: started, asked: [...surveys, `${here}: startVm`] });
  });

  it.each(['owner', 'offering', 'relinquished', 'incoming'])('refuses where another host has it as %s', async (ownership) => {
    const claim = vmOn(there, { ownership, epoch: 1, mayRun: ownership === 'owner' });
    const ended = await run('startVm', await args(), { surveyHost: (host) => surveyOf(host, host === there ? [claim] : []), startVm: () => started });
    expect(ended).toEqual({ failures: [failure('VM_EXISTS', { host: there, vm: vmId, state: ownership })], asked: surveys });
  });

  it('fails as the host refuses', async () => {
    expect(await run('startVm', await args(), { ...empty, startVm: () => refuses() })).toMatchObject({ failures: [refusal] });
  });

  it('starts nothing where another host has a record of the VM that cannot be read', async () => {
    const odd = vmOn(there, { ownership: 'unreadable', epoch: 0, mayRun: false });
    const ended = await run('startVm', await args(), { surveyHost: (host) => surveyOf(host, host === there ? [odd] : []), startVm: () => started });
    expect(ended).toMatchObject({ failures: [{ code: 'VM_EXISTS' }], asked: surveys });
  });

  it('starts nothing where another host is silent, which could be the one that runs it', async () => {
    const ended = await run('startVm', await args(), { surveyHost: (host) => (host === there ? silence : surveyOf(host, [])), startVm: () => started });
    expect(ended).toEqual({ failures: [unreachable(there)], asked: surveys });
  });
});

describe.concurrent('reconcileVm', () => {
  const args = { vmId, hostIds: [here, there], isTended: true, fence: null };
  const surveys = [`${here}: surveyHost`, `${there}: surveyHost`];
  const migrationId = MigrationId.parse(samples.order.migrationId);
  const older = vmOn(here, { ownership: 'owner', epoch: 1, mayRun: true });
  const newer = vmOn(there, { ownership: 'owner', epoch: 2, mayRun: true });
  const stuck = vmOn(here, { ownership: 'relinquished', epoch: 1, mayRun: false, move: { migrationId, peer: there, order: SIGNED_ORDER } });
  const records = (ofHere: typeof older, ofThere: typeof older | null) => ({ surveyHost: (host: HostId) => surveyOf(host, host === here ? [ofHere] : ofThere ? [ofThere] : []) });
  const statement = { claim: 'made up' };
  const fenceThere = () => signEnvelope(fenceOf({ vmId, migrationId, host: there }), ADA);

  it('has the older record give way to the claim of the newer', async () => {
    const heard: unknown[] = [];
    const ended = await run('reconcileVm', args, { ...records(older, newer), stateClaim: () => statement, yieldToClaim: (_, claim) => void heard.push(claim) });
    expect(ended).toEqual({ said: { yielded: [here], owner: there, silent: [] }, asked: [...surveys, `${there}: stateClaim`, `${here}: yieldToClaim`] });
    expect(heard).toEqual([{ statement }]);
  });

  it('refuses two owners of one epoch, and asks neither to give way', async () => {
    const ended = await run('reconcileVm', args, records(older, { ...newer, epoch: 1 }));
    expect(ended).toMatchObject({ failures: [{ code: 'TWO_OWNERS' }], asked: surveys });
  });

  it('fails as a host refuses', async () => {
    expect(await run('reconcileVm', args, { ...records(older, newer), stateClaim: () => statement, yieldToClaim: () => refuses() })).toMatchObject({ failures: [refusal] });
  });

  it('leaves the record of a silent host as it is, and says so', async () => {
    const ended = await run('reconcileVm', args, { surveyHost: (host) => (host === here ? silence : surveyOf(there, [newer])) });
    expect(ended).toEqual({ said: { yielded: [], owner: there, silent: [here] }, asked: surveys });
  });

  it('ends a move that no workflow tends by the verdict of its destination', async () => {
    const heard: unknown[] = [];
    const verdict = { verdict: samples.verdict, quote: samples.verdictStatement.quote };
    const script = { ...records(stuck, null), settleDestination: (_: HostId, asked: unknown) => (heard.push(asked), { ...verdict, isAbsent: false }), resolveSource: (_: HostId, told: unknown) => (heard.push(told), { state: 'runs', epoch: 2 }) };
    const ended = await run('reconcileVm', { ...args, isTended: false }, script);
    expect(ended.asked).toEqual([...surveys, `${there}: settleDestination`, `${here}: resolveSource`, ...surveys]);
    expect(heard).toMatchObject([{ order: SIGNED_ORDER }, { statement: verdict }]);
  });

  it('ends it as well by the word of a destination that owned a later epoch since', async () => {
    const succession = { succession: { made: 'up' }, quote: samples.verdictStatement.quote };
    const told: unknown[] = [];
    const script = { ...records(stuck, null), settleDestination: () => succession, resolveSource: (_: HostId, heard: unknown) => (told.push(heard), { state: 'retired', epoch: 2 }) };
    await run('reconcileVm', { ...args, isTended: false }, script);
    expect(told).toEqual([{ statement: succession }]);
  });

  it('leaves the older record as it is where the host of the later epoch cannot show how it came to it, or refuses to say', async () => {
    for (const stateClaim of [() => null, () => refuses()]) {
      const ended = await run('reconcileVm', args, { ...records(older, newer), stateClaim });
      expect(ended).toEqual({ said: { yielded: [], owner: there, silent: [] }, asked: [...surveys, `${there}: stateClaim`] });
    }
  });

  it('leaves a move to the workflow that tends it', async () => {
    expect(await run('reconcileVm', args, records(stuck, null))).toEqual({ said: { yielded: [], owner: null, silent: [] }, asked: surveys });
  });

  it('ends such a move by a fence only where its destination is silent', async () => {
    const fence = await fenceThere();
    const told: unknown[] = [];
    const isOff = { surveyHost: (host: HostId) => (host === there ? silence : surveyOf(here, [stuck])), fenceDestination: (_: HostId, heard: unknown) => (told.push(heard), { state: 'rebooted', epoch: 2 }) };
    const [off, on] = await Promise.all([run('reconcileVm', { ...args, isTended: false, fence }, isOff), run('reconcileVm', { ...args, isTended: false, fence }, records(stuck, null))]);
    expect(off.asked).toEqual([...surveys, `${here}: fenceDestination`, ...surveys]);
    expect(told).toEqual([{ fence }]);
    expect(on).toMatchObject({ failures: [{ code: 'FENCE_REFUSED' }], asked: surveys });
  });

  it('refuses a fence of a host that no move waits for', async () => {
    const ended = await run('reconcileVm', { ...args, isTended: false, fence: await fenceThere() }, records(older, null));
    expect(ended).toMatchObject({ failures: [{ code: 'NOTHING_TO_FENCE' }], asked: surveys });
  });
});
