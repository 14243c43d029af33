/** What a real software TPM says after the events of a log were extended into it is what the log adds up to, wherever the TPM was started. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventsBehind, replay } from '../../domain/boot-events.js';
import { freePortPair } from '../../infra/testbed/ports.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { ensureSwtpmStopped, startSwtpm } from '../../tpm/swtpm-process.js';
import { type MadeEvent, EVENT_TYPE, bootOf, eventLog, separator, startupLocality } from '../support/event-log.js';
import { type TpmTestbed, access, hostId, startTpmTestbed } from './tpm-testbed.js';

let testbed: TpmTestbed;
beforeAll(async () => {
  testbed = await startTpmTestbed();
}, 60_000);
afterAll(() => testbed?.stop());

/** The values of all PCRs, by tpm2-tools. */
async function pcrsBy(tool: (name: string, ...args: string[]) => Promise<Buffer>): Promise<Record<string, string>> {
  const text = (await tool('tpm2_pcrread', 'sha256')).toString();
  return Object.fromEntries([...text.matchAll(/(\d+) *: 0x([0-9A-F]{64})/g)].map(([, pcr, value]) => [pcr, value?.toLowerCase()])) as Record<string, string>;
}

async function extend(tool: TpmTestbed['tool'], events: readonly MadeEvent[]): Promise<void> {
  const words = events.filter(({ type }) => type !== EVENT_TYPE.EV_NO_ACTION).map(({ pcr, data, measured = data }) => `${pcr}:sha256=${createHash('sha256').update(measured).digest('hex')}`);
  for (const word of words) await tool('tpm2_pcrextend', word);
}

it('after a start at locality 0', async () => {
  const events = [...bootOf('\\EFI\\debian\\shimx64.efi', '\\EFI\\debian\\grubx64.efi'), separator(23)];
  await extend(testbed.tool, events);
  const [values, log] = [await pcrsBy(testbed.tool), parseEventLog(eventLog(events))];
  expect(Object.keys(values)).toHaveLength(24);
  expect(Object.keys(values).map((pcr) => replay(log, Number(pcr)))).toEqual(Object.values(values));

  await testbed.tool('tpm2_pcrextend', `4:sha256=${'5a'.repeat(32)}`);
  const now = await pcrsBy(testbed.tool);
  expect(replay(log, 4)).not.toBe(now['4']);
  expect(eventsBehind(log, now)).toEqual(log.events.filter(({ pcr }) => pcr !== 4));
});

it('after a start at locality 3', async () => {
  const folder = join(testbed.folder, 'at-locality-3');
  await mkdir(folder);
  const port = await freePortPair();
  const pidFile = join(folder, 'pid');
  const tool = async (name: string, ...args: string[]) => {
    const { exitCode, stdout, stderr } = await access.run(name, args, { environment: { TPM2TOOLS_TCTI: `swtpm:host=127.0.0.1,port=${port}` } });
    if (exitCode !== 0) throw new Error(`${name}: ${stderr.toString()}`);
    return stdout;
  };
  await startSwtpm({ access, hostId }, {
    args: ['--tpmstate', `dir=${folder}`, '--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`, '--flags', 'not-need-init'],
    pidFile,
    isReady: async () => (await access.run('swtpm_ioctl', ['--tcp', `127.0.0.1:${port + 1}`, '-l', '3'])).exitCode === 0,
  });
  try {
    // tpm2_startup would go back to locality 0: TPM2_Startup(TPM_SU_CLEAR), by hand.
    const socket = connect({ host: '127.0.0.1', port });
    socket.end(Buffer.from('80010000000c000001440000', 'hex'));
    expect((await once(socket, 'data'))[0]).toEqual(Buffer.from('80010000000a00000000', 'hex'));
    const events = [startupLocality(3), ...bootOf('\\EFI\\debian\\shimx64.efi')];
    const log = parseEventLog(eventLog(events));
    expect((await pcrsBy(tool))['0']).toBe(replay({ ...log, events: [] }, 0));
    await extend(tool, events);
    const values = await pcrsBy(tool);
    expect(Object.keys(values).map((pcr) => replay(log, Number(pcr)))).toEqual(Object.values(values));
  } finally {
    await ensureSwtpmStopped({ access, hostId }, pidFile);
  }
});
