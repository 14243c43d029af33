/** The words between a faulty worker and the harness, over a real socket and with a real process at the other end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { built } from '../../infra/testbed/faults/built.js';
import { type Injector, startInjector } from '../../infra/testbed/faults/injector.js';

let dir: string;
let injector: Injector;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ki-'));
  injector = await startInjector(join(dir, 's'));
});
afterEach(async () => {
  await injector.close();
  await rm(dir, { recursive: true, force: true });
});

/** A worker that has nothing else to wait for than the answer. Its exit code, and what it was answered. */
async function asks(): Promise<readonly [number, string]> {
  const program = `
    import { connectToHarness } from ${JSON.stringify(built('infra/testbed/faults/ask.js'))};
    const ask = await connectToHarness(${JSON.stringify(join(dir, 's'))});
    process.stdout.write(await ask({ kind: 'write', on: 'host-a', name: 'reject', at: 'before', attempt: 1 }));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return [code, said];
}

describe('the injector', () => {
  it('is waited for, however long the answer takes; afterwards it keeps no worker', async () => {
    void injector.follow(async () => {
      await delay(200);
      return 'mute';
    });
    expect(await asks()).toEqual([0, 'mute']);
  });

  it('lets everything pass where it follows nothing', async () => {
    void injector.follow(null);
    expect(await asks()).toEqual([0, 'pass']);
  });

  it('tells what a script throws to whoever follows that script, and lets the point pass', async () => {
    const accident = injector.follow(async () => {
      throw new Error('no such plug');
    });
    const heard = expect(accident).rejects.toThrow('no such plug');
    expect(await asks()).toEqual([0, 'pass']);
    await heard;
  });
});
