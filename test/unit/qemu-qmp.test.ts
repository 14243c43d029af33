/** hypervisor/qemu/qmp.ts against a hand-written peer on a real socket pair of streams. */
import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openQmp, QmpError } from '../../hypervisor/qemu/qmp.js';

const folder = mkdtempSync('/tmp/kqmp-');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let sockets = 0;

/** A peer that greets and answers by `answer`; null: says nothing. */
async function peer(answer: (command: string, id: number, socket: Socket) => unknown, greeting = '{"QMP":{"version":{},"capabilities":[]}}\r\n') {
  const path = join(folder, `s${sockets++}`);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(greeting);
    socket.on('data', (chunk) => {
      for (const line of chunk.toString().trim().split('\n')) {
        const { execute, id } = JSON.parse(line) as { execute: string; id: number };
        const reply = execute === 'qmp_capabilities' ? { return: {} } : answer(execute, id, socket);
        if (reply !== null) socket.write(`${JSON.stringify({ ...(reply as object), id })}\r\n`);
      }
    });
  }).listen(path);
  await once(server, 'listening');
  const stream = connect(path);
  return { stream, done: () => server.close() };
}

describe('QMP', () => {
  it('pairs answers that come in any order, and gives an error its text', async () => {
    const { stream, done } = await peer((command, id, socket) => {
      if (command === 'late') {
        setImmediate(() => socket.write(`{"return":"late","id":${id}}\r\n`));
        return null;
      }
      return command === 'bad' ? { error: { class: 'GenericError', desc: 'no such thing' } } : { return: command };
    });
    const qmp = await openQmp(stream, 1000);
    expect(await Promise.all([qmp.execute('late'), qmp.execute('now')])).toEqual(['late', 'now']);
    await expect(qmp.execute('bad')).rejects.toThrow('no such thing');
    qmp.close();
    await expect(qmp.execute('now')).rejects.toBeInstanceOf(QmpError);
    done();
  });

  it('gives events their time, also in pieces; null when none comes', async () => {
    const { stream, done } = await peer((_command, _id, socket) => {
      socket.write('{"event":"STOP","timesta');
      setImmediate(() => socket.write('mp":{"seconds":10,"microseconds":2500}}\r\n{"event":"RESUME","data":{"x":1},"timestamp":{"seconds":11,"microseconds":0}}\r\n'));
      return null;
    });
    const qmp = await openQmp(stream, 1000);
    const stop = qmp.nextEvent(({ name }) => name === 'STOP', 1000);
    const resume = qmp.nextEvent(({ name }) => name === 'RESUME', 1000);
    qmp.execute('go').catch(() => undefined);
    expect(await stop).toEqual({ name: 'STOP', data: {}, atMs: 10_002.5 });
    expect(await resume).toEqual({ name: 'RESUME', data: { x: 1 }, atMs: 11_000 });
    expect(await qmp.nextEvent(() => true, 5)).toBeNull();
    qmp.close();
    done();
  });

  it('rejects all that is pending when the peer goes', async () => {
    const { stream, done } = await peer((_command, _id, socket) => {
      socket.destroy();
      return null;
    });
    const qmp = await openQmp(stream, 1000);
    const waits = [qmp.execute('a'), qmp.execute('b'), qmp.nextEvent(() => true, 10_000)];
    for (const result of await Promise.allSettled(waits)) expect(result).toMatchObject({ status: 'rejected', reason: { name: 'QmpError' } });
    await qmp.closed;
    done();
  });

  it('gives up on silence, on a peer that does not greet and on one that speaks something else', async () => {
    const silent = await peer(() => null);
    const qmp = await openQmp(silent.stream, 1000);
    await expect(qmp.execute('a', {}, 20)).rejects.toThrow('no answer to a within 20 ms');
    qmp.close();
    const mute = await peer(() => null, '');
    await expect(openQmp(mute.stream, 20)).rejects.toBeInstanceOf(QmpError);
    const http = await peer(() => null, 'HTTP/1.1 400 Bad Request\r\n');
    await expect(openQmp(http.stream, 1000)).rejects.toThrow('does not speak QMP');
    for (const { done } of [silent, mute, http]) done();
  });
});
