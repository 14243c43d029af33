/** activities/admission.ts on hosts in memory: whose orders are admitted for what, and every reason why not. */
import { describe, expect, it } from 'vitest';
import { A, B, C, beginHosts, orderIn, refusalsOf, timedHosts } from '../support/hosts-in-memory.js';
import { admissionFailures, admit, admitToSettle, admitWord, settling } from '../../activities/admission.js';
import type { HostServices } from '../../activities/services.js';
import { digestOf } from '../../domain/canonical.js';
import { FOREVER } from '../../infra/testbed/hostile/people.js';
import { textsOf } from '../support/refusal.js';

const REASON = 'it is over';

describe('admission', () => {
  const now = new Date('2029-01-01T00:00:00.000Z');
  async function installed() {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    return { hosts, order, bundle: await hosts.drive(hosts.services('host-a').installedBundle()) };
  }

  it('has no reason against an order in its time, under the bundle that is installed, on a host that it names', async () => {
    const { order, bundle } = await installed();
    expect(admissionFailures(A, { ...order, notAfter: now.toISOString() }, { ...bundle, bundle: { ...bundle.bundle, expiresAt: now.toISOString() } }, 'source', now)).toEqual([]);
    expect(admissionFailures(B, order, bundle, 'destination', now)).toEqual([]);
  });

  it('names each reason, all at once', async () => {
    const { order, bundle } = await installed();
    const before = '2028-12-31T23:59:59.999Z';
    const digest = 'ab'.repeat(32) as typeof bundle.digest;
    const hostsOfIt = bundle.bundle.hosts.filter(({ hostId }) => hostId !== 'host-b').map((host) => ({ ...host, status: 'suspended' as const }));
    expect(textsOf(admissionFailures(C, { ...order, notAfter: before }, { digest, bundle: { ...bundle.bundle, expiresAt: before, hosts: hostsOfIt } }, 'source', now))).toEqual([
      `ORDER_EXPIRED: it was good until ${before}, and at host-c it is ${now.toISOString()}`,
      `BUNDLE_EXPIRED: the trust bundle of host-c expired at ${before}`,
      `BUNDLE_DIFFERS: host-c has trust bundle ${digest}, the order was made under ${order.bundleDigest}`,
      'ORDER_INVALID: the order is not valid: host-c is not its source',
      'HOST_NOT_ACTIVE: host host-a has status suspended in the trust bundle',
      'HOST_UNKNOWN: host host-b is not in the trust bundle',
    ]);
  });

  it('throws all of them', async () => {
    const { hosts } = await installed();
    const { signed } = await hosts.move('ordered', { notAfter: '2020-01-01T00:00:00Z', bundleDigest: 'ab'.repeat(32) as never });
    const refusals = await hosts.refused('host-b', 'openSession', { order: signed, role: 'source' });
    expect(refusals.map((text) => text.split(':')[0])).toEqual(['ORDER_EXPIRED', 'BUNDLE_DIFFERS', 'ORDER_INVALID']);
    expect(await refusalsOf(hosts.drive(admit(hosts.services('host-b'), signed, 'destination')))).toHaveLength(2);
  });

  it('says what was admitted, and under which bundle', async () => {
    const { hosts, bundle } = await installed();
    const { signed, order } = await hosts.move('ordered');
    expect(await hosts.drive(admit(hosts.services('host-a'), signed, 'source'))).toEqual({ order, signed, installed: bundle, migrationId: order.migrationId, orderDigest: digestOf(order), role: 'source' });
  });

  it('lets an order that was taken up in time go on after it, and no other', async () => {
    const { hosts, clock } = await timedHosts();
    const notAfter = new Date(clock.ms + 1000).toISOString();
    const { signed, order, offers } = await hosts.move('opened', { notAfter });
    clock.ms += 2000;
    expect(await hosts.ask('host-b', 'quoteHost', { order: signed, role: 'destination', peer: offers?.[0] as never })).toMatchObject({ hostId: 'host-b' });
    await hosts.install(({ hosts: all }) => ({ hosts: all.map((one) => ({ ...one, status: one.hostId === 'host-a' ? 'suspended' : one.status })) }));
    expect((await hosts.refused('host-b', 'quoteHost', { order: signed, role: 'destination', peer: offers?.[0] as never })).map((text) => text.split(':')[0])).toEqual(['BUNDLE_DIFFERS', 'HOST_NOT_ACTIVE']);
    const other = await hosts.move('ordered', { notAfter });
    expect((await hosts.refused('host-b', 'openSession', { order: other.signed, role: 'destination' })).map((text) => text.split(':')[0])).toEqual(['ORDER_EXPIRED', 'HOST_NOT_ACTIVE']);
    expect(order.notAfter).toBe(notAfter);
  });

  it('reads nothing of what no operator signed', async () => {
    const { hosts } = await installed();
    const { signed } = await hosts.move('ordered');
    const forged = { ...signed, signatures: [{ ...signed.signatures[0], sig: Buffer.alloc(64).toString('base64') }] } as typeof signed;
    expect(await hosts.refused('host-a', 'openSession', { order: forged, role: 'source' })).toEqual([expect.stringMatching(/^ORDER_NOT_SIGNED: by the trust bundle of host-a/)]);
  });

  it('of another document goes by its time and the bundle’s', async () => {
    const { hosts, clock } = await timedHosts();
    const order = (await hosts.move('ordered')).order;
    const fence = await hosts.people.fence(order, 'host-b');
    expect(await hosts.drive(admitWord(hosts.services('host-a'), 'korora/fence', fence, null))).toMatchObject({ host: 'host-b' });
    clock.ms = Date.parse('2101-01-01T00:00:00Z');
    expect(await refusalsOf(hosts.drive(admitWord(hosts.services('host-a'), 'korora/fence', fence, null)))).toEqual([
      `ORDER_EXPIRED: it was good until ${FOREVER}, and at host-a it is 2101-01-01T00:00:00.000Z`,
      `BUNDLE_EXPIRED: the trust bundle of host-a expired at ${FOREVER}`,
    ]);
  });
});

describe('an order that is to be settled', () => {
  it('is admitted for the role that it gives this host, in or out of its time', async () => {
    const { hosts, clock } = await timedHosts();
    const { signed, order } = await hosts.move('ordered', { notAfter: '2020-01-01T00:00:00Z' });
    const shown = { epoch: 2, notAfter: '2020-01-01T00:00:00Z', now: new Date(clock.ms).toISOString() };
    expect(await hosts.drive(admitToSettle(hosts.services('host-a'), signed))).toEqual({ order, role: 'source', shown });
    expect(await hosts.drive(admitToSettle(hosts.services('host-b'), signed))).toEqual({ order, role: 'destination', shown });
    expect(settling(hosts.services('host-a'), { order, role: 'source' })).toEqual({ order, role: 'source', shown });
    expect(await refusalsOf(hosts.drive(admitToSettle(hosts.services('host-c'), signed)))).toEqual(['ORDER_INVALID: the order is not valid: it does not name host-c']);
  });

  it('needs no signature that counts where this host has the move already: by its record, its session, or its settlement', async () => {
    const hosts = await beginHosts();
    const [unknown, opened, prepared] = [await hosts.move('ordered'), await hosts.move('opened'), await hosts.move('prepared')];
    const settled = await hosts.move('ordered');
    await hosts.ask('host-b', 'closeSession', { order: settled.signed, reason: REASON });
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, status: 'revoked' })) }));
    const asked = async (move: { readonly signed: typeof unknown.signed }, services: HostServices = hosts.services('host-b')) => hosts.drive(admitToSettle(services, move.signed).catch((error: Error) => error.message));
    expect(await asked(unknown)).toMatch(/^ORDER_NOT_SIGNED: /);
    for (const move of [opened, settled, prepared]) expect(await asked(move)).toEqual({ order: move.order, role: 'destination', shown: null });
    const withoutSessions = { ...hosts.services('host-b'), sessions: { ...hosts.services('host-b').sessions, find: () => undefined } };
    expect(await asked(opened, withoutSessions)).toMatch(/^ORDER_NOT_SIGNED: /);
    expect(await asked(prepared, withoutSessions)).toEqual({ order: prepared.order, role: 'destination', shown: null });
    const other = await hosts.people.order('web', 1, 'host-a', 'host-b', { migrationId: prepared.order.migrationId, notAfter: '2099-01-01T00:00:00Z' });
    expect(orderIn(other).migrationId).toBe(prepared.order.migrationId);
    expect(await asked({ signed: other })).toMatch(/^ORDER_NOT_SIGNED: /);
  });

  it('is not taken for unsigned where something else went wrong', async () => {
    const hosts = await beginHosts();
    const { signed } = await hosts.move('prepared');
    const broken = new Error('the disk is gone');
    await expect(hosts.drive(admitToSettle({ ...hosts.services('host-b'), installedBundle: () => Promise.reject(broken) }, signed))).rejects.toBe(broken);
  });
});
