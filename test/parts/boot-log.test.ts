/** The boot event log of a host, from its file into the trust bundle: on a real software TPM, which has seen the events of the log and one more. */
import { writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstBundle } from '../../cli/bundles.js';
import type { HostAccess } from '../../host/port.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { admitHosts, challengeHost, readCas } from '../../workers/admit.js';
import { readEventLog } from '../../workers/boot-log.js';
import { type HostConfig, loadHostConfig } from '../../workers/config.js';
import { answerChallenge, enrolHost } from '../../workers/enrol.js';
import { POLICY_SIGNER } from '../support/documents.js';
import { bootOf, eventLog } from '../support/event-log.js';
import { type TpmTestbed, startTpmTestbed } from './tpm-testbed.js';

const boot = bootOf('\\EFI\\debian\\shimx64.efi');
const log = eventLog(boot);
let testbed: TpmTestbed;
let config: HostConfig;

/** As it stands in the file of the configuration. */
async function configured(changes: object = {}): Promise<HostConfig> {
  const file = join(testbed.folder, 'host.json');
  const document = {
    kind: 'korora/host', version: 1, hostId: 'host-a', access: 'local', hypervisor: 'qemu', stateDir: 'state', runDir: '/tmp/korora-run', trustBundle: 'trust.json',
    tcti: testbed.tcti, storage: { disks: ['/srv/korora'], boot: ['/srv/korora-boot'] }, channel: { listen: { host: '127.0.0.1', port: 7711 } }, eventLog: 'the-log', ...changes,
  };
  await writeFile(file, JSON.stringify(document));
  return loadHostConfig(file);
}

beforeAll(async () => {
  testbed = await startTpmTestbed();
  config = await configured();
  for (const { pcr, data, measured = data } of boot) await testbed.tool('tpm2_pcrextend', `${pcr}:sha256=${createHash('sha256').update(measured).digest('hex')}`);
  await testbed.tool('tpm2_pcrextend', `7:sha256=${'5a'.repeat(32)}`);
  await writeFile(join(testbed.folder, 'the-log'), log);
}, 120_000);
afterAll(() => testbed?.stop());

const enrol = (of: HostConfig) => enrolHost(of, { signers: [POLICY_SIGNER.publicKey], hostClass: 'rack', pcrs: [0, 4, 7] });

describe('a log is read', () => {
  /** Where it was looked for, never for more than a log may have. */
  const asked = async (changes: object) => {
    const asked: [string, number | undefined][] = [];
    const recording = { readFile: (...question: [string, number?]) => Promise.resolve(asked.push([question[0], question[1]])).then(() => null) } as Partial<HostAccess> as HostAccess;
    await readEventLog(recording, await configured({ eventLog: undefined, ...changes }));
    expect(asked.map(([, atMostBytes]) => atMostBytes)).toEqual(asked.map(() => 256 * 1024));
    return asked.map(([path]) => path);
  };

  it('where Linux has it, of a TPM that is a device; elsewhere only where the configuration says', async () => {
    expect(await asked({ tcti: 'device:/dev/tpmrm0' })).toEqual(['/sys/kernel/security/tpm0/binary_bios_measurements']);
    expect(await asked({ tcti: 'device:/dev/tpmrm0', eventLog: null })).toEqual([]);
    expect(await asked({ tcti: 'device:/dev/tpmrm0', eventLog: '/srv/log' })).toEqual(['/srv/log']);
    expect(await asked({})).toEqual([]);
    expect(await asked({ eventLog: 'log' })).toEqual([join(testbed.folder, 'log')]);
    await expect(configured({ eventLog: 7 })).rejects.toMatchObject({ code: 'HOST_CONFIG_INVALID' });
  });
});

describe('a host is enrolled', () => {
  it('with its log, of which the bundle keeps what adds up to the values that its TPM quoted', async () => {
    const enrolment = await enrol(config);
    expect(enrolment.eventLog).toBe(log.toString('base64'));
    const { challenge, kept } = await challengeHost(enrolment, await readCas(testbed.caFiles));
    const admitted = admitHosts([kept, await answerChallenge(config, challenge)], []);
    const expected = parseEventLog(log).events.filter(({ pcr }) => pcr !== 7);
    expect(admitted).toMatchObject([{ events: expected }]);
    expect(expected.map(({ pcr }) => pcr)).toEqual([0, 0, 4, 4, 4]);
    expect(firstBundle(admitted, [], 1).classes['rack']?.referenceSets).toEqual([{ id: 'host-a-in-bundle-1', status: 'active', pcrValues: enrolment.pcrValues, events: expected }]);
  });

  it('without one where it has none', async () => {
    for (const changes of [{ eventLog: null }, { eventLog: 'no-such-log' }]) {
      const enrolment = await enrol(await configured(changes));
      expect(enrolment.eventLog).toBeNull();
      expect(admitHosts([enrolment], ['host-a'])).toMatchObject([{ events: null }]);
    }
  });

  it.each<[string, Buffer]>([
    ['is cut', log.subarray(0, -1)],
    ['is empty', Buffer.alloc(0)],
    ['is too large', Buffer.alloc(256 * 1024 + 1)],
  ])('by neither side where its log %s', async (_, bytes) => {
    await writeFile(join(testbed.folder, 'bad-log'), bytes);
    await expect(enrol(await configured({ eventLog: 'bad-log' }))).rejects.toMatchObject({ code: 'EVENT_LOG_INVALID' });
    const enrolment = { ...(await enrol(config)), eventLog: bytes.toString('base64') };
    expect(() => admitHosts([enrolment], ['host-a'])).toThrow(/^EVENT_LOG_INVALID: the boot event log of host-a cannot be used: \w[\w ]+ at byte \d+: /);
  });

  it('not where its log may not be read', async () => {
    await expect(enrol(await configured({ eventLog: testbed.folder }))).rejects.toMatchObject({ code: 'EVENT_LOG_INVALID', message: expect.stringContaining('EISDIR') });
  });
});
