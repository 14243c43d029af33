/** host/local.ts on real files, processes and sockets. */
import { chmod, chown, link, mkdtemp, open, readFile, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { HostId } from '../../domain/ids.js';
import { createLocalHost } from '../../host/local.js';

const host = createLocalHost(HostId.parse('host-a'));
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kh-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

describe('commands', () => {
  it('gives exit code and both outputs, and passes arguments unread by any shell', async () => {
    const result = await host.run('sh', ['-c', 'printf %s "$1"; printf e >&2; exit 3', 'sh', '$(id); *']);
    expect(result).toEqual({ exitCode: 3, stdout: Buffer.from('$(id); *'), stderr: Buffer.from('e') });
  });

  it('feeds standard input, environment and secrets on fds 3 and 4', async () => {
    const { stdout } = await host.run('sh', ['-c', 'cat; printf "[$V]"; cat <&3; printf /; cat <&4'], {
      input: Buffer.from('in'),
      environment: { V: 'v' },
      secretInputs: [Buffer.from('three'), Buffer.from('four')],
    });
    expect(stdout.toString()).toBe('in[v]three/four');
  });

  it('gives a command nothing of its own environment but what programs need to be found and to speak', async () => {
    const secrets = { TEMPORAL_API_KEY: 'secret', TEMPORAL_TLS_CLIENT_KEY_DATA: 'secret', TEMPORAL_GRPC_META_AUTHORIZATION: 'secret', KORORA_PAYLOAD_KEY: '/secret', AWS_SECRET_ACCESS_KEY: 'secret', LD_PRELOAD: '', lc_all: 'secret' };
    for (const [name, value] of Object.entries({ ...secrets, LC_ALL: 'C', TMPDIR: '/tmp' })) vi.stubEnv(name, value);
    try {
      const given = (await host.run('cat', ['/proc/self/environ'], { environment: { V: 'v' } })).stdout.toString().split('\0').filter((entry) => entry !== '');
      const names = given.map((entry) => entry.slice(0, entry.indexOf('=')));
      expect(names).toEqual(expect.arrayContaining(['PATH', 'LC_ALL', 'TMPDIR', 'V']));
      expect(names.filter((name) => !['PATH', 'TMPDIR', 'TZ', 'V'].includes(name) && !/^(?:LANG|LC_)/.test(name))).toEqual([]);
      expect(given.join()).not.toContain('secret');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('survives a command that reads neither its input nor its secrets', async () => {
    const big = Buffer.alloc(1 << 20);
    expect((await host.run('true', [], { input: big, secretInputs: [big] })).exitCode).toBe(0);
  });

  it('ends although a background child keeps the output open', async () => {
    const { stdout } = await host.run('sh', ['-c', 'sleep 60 & echo $!']);
    await host.signal(Number(stdout.toString()), 'SIGKILL');
  });

  it('reports a signal as 128 + its number', async () => {
    expect((await host.run('sh', ['-c', 'kill -KILL $$'])).exitCode).toBe(137);
  });

  it('refuses what does not start or does not end in time', async () => {
    await expect(host.run('/nowhere/x', [])).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    await expect(host.run('sleep', ['60'], { timeoutMs: 50 })).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
  });

  it('waits a minute for a command of which nobody says how long it may take', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const run = host.run('sleep', ['600']);
      run.catch(() => undefined);
      await vi.advanceTimersByTimeAsync(60_000);
      await expect(run).rejects.toThrow('no end within 60000 ms');
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('files', () => {
  it('writes durably with mode 0600, replaces, and leaves nothing aside', async () => {
    const path = join(dir, 'record');
    await host.writeFileDurably(path, 'one');
    await host.writeFileDurably(path, Buffer.from('two'));
    expect((await host.readFile(path))?.toString()).toBe('two');
    expect(await modeOf(path)).toBe(0o600);
    await chmod(path, 0o666);
    await host.makePrivate(path);
    expect(await modeOf(path)).toBe(0o600);
    await host.makePrivate(join(dir, 'none'));
    expect((await readdir(dir)).filter((name) => name.includes('record'))).toEqual(['record']);
  });

  it('reads no more of a file than it is to, also where the file says that it is empty', async () => {
    const path = join(dir, 'of-100');
    await writeFile(path, Buffer.alloc(100, 7));
    expect(await host.readFile(path, 100)).toEqual(Buffer.alloc(100, 7));
    await expect(host.readFile(path, 99)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED', message: expect.stringContaining('more than 99 bytes') });
    await expect(host.readFile('/dev/zero', 1000)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    expect((await host.stat('/proc/version'))?.sizeBytes).toBe(0);
    expect(await host.readFile('/proc/version', 4096)).toEqual(await readFile('/proc/version'));
    await expect(host.readFile('/proc/version', 5)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    expect(await host.readFile(join(dir, 'nothing'), 5)).toBeNull();
    await expect(host.readFile(dir, 5)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
  });

  it('keeps the old content and leaves nothing aside when the write fails', async () => {
    const folder = join(dir, 'taken');
    await host.ensureDirectory(join(folder, 'record', 'inside'));
    await expect(host.writeFileDurably(join(folder, 'record'), 'x')).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    expect(await readdir(folder)).toEqual(['record']);
  });

  it('creates folders of mode 0700 with parents, twice', async () => {
    const path = join(dir, 'a/b/c');
    await host.ensureDirectory(path);
    await host.ensureDirectory(path);
    expect([await modeOf(join(dir, 'a')), await modeOf(path)]).toEqual([0o700, 0o700]);
  });

  it('answers for what is not there', async () => {
    const path = join(dir, 'none');
    expect(await host.readFile(path)).toBeNull();
    expect(await host.stat(path)).toBeNull();
    expect(await host.list(path)).toEqual([]);
    await host.remove(path);
  });

  it('knows where a path leads, how many names a file has, and who else may write', async () => {
    const folder = join(await realpath(dir), 'links');
    await host.ensureDirectory(folder);
    const path = (name: string) => join(folder, name);
    await writeFile(path('file'), 'x', { mode: 0o600 });
    await link(path('file'), path('second'));
    await symlink('second', path('to-second'));
    await symlink('to-itself', path('to-itself'));
    expect((await host.stat(path('file')))?.links).toBe(2);
    expect(await host.resolve(path('to-second'))).toBe(path('second'));
    expect(await host.resolve(`${folder}/../links/file`)).toBe(path('file'));
    for (const nowhere of ['to-itself', 'nothing', 'file/below', 'n'.repeat(300)]) expect(await host.resolve(path(nowhere))).toBeNull();
    const isOpen = async (mode: number) => {
      await chmod(folder, mode);
      return (await host.stat(folder))?.isOpenToOthers;
    };
    expect([await isOpen(0o755), await isOpen(0o757), await isOpen(0o1777), await isOpen(0o770), await isOpen(0o700)]).toEqual([false, true, true, false, false]);
  });

  it.skipIf(process.getuid?.() !== 0)('counts a folder of another user, and what another group may write, as open to others', async () => {
    const folder = join(dir, 'of-others');
    await host.ensureDirectory(folder);
    const isOpen = async (uid: number, gid: number, mode: number) => {
      await chown(folder, uid, gid);
      await chmod(folder, mode);
      return (await host.stat(folder))?.isOpenToOthers;
    };
    expect([await isOpen(0, 4242, 0o750), await isOpen(0, 4242, 0o770), await isOpen(4242, 0, 0o700)]).toEqual([false, true, true]);
  });

  it('keeps the end of a file that a process goes on to append to', async () => {
    const [path, aside] = [join(dir, 'said'), join(dir, 'said.1')];
    const limits = { atMostBytes: 100, keepBytes: 10, aside };
    await host.keepEnd(path, limits);
    expect(await host.stat(path)).toBeNull();
    const speaker = await open(path, 'a');
    await speaker.write(Buffer.alloc(100, 'a'));
    await host.keepEnd(path, limits);
    expect([(await host.stat(path))?.sizeBytes, await host.stat(aside)]).toEqual([100, null]);
    await speaker.write('bc');
    await host.keepEnd(path, limits);
    await speaker.write('d');
    await speaker.close();
    expect([await readFile(path, 'utf8'), await readFile(aside, 'utf8')]).toEqual(['d', 'aaaaaaaabc']);
    expect(await modeOf(aside)).toBe(0o600);
    expect(await host.readStart(aside, 3)).toEqual(Buffer.from('aaa'));
    expect(await host.readStart(aside, 99)).toEqual(Buffer.from('aaaaaaaabc'));
  });

  it('lists, describes and removes', async () => {
    const folder = join(dir, 'folder');
    await host.ensureDirectory(folder);
    await writeFile(join(folder, 'b'), '12345');
    await writeFile(join(folder, 'a'), '');
    expect(await host.list(folder)).toEqual(['a', 'b']);
    const real = await stat(join(folder, 'b'), { bigint: true });
    expect(await host.stat(join(folder, 'b'))).toEqual({
      kind: 'file', sizeBytes: 5, inode: String(real.ino), birthTimeNs: String(real.birthtimeNs), links: 1, isOpenToOthers: false,
    });
    expect((await host.stat(folder))?.kind).toBe('directory');
    expect((await host.stat('/dev/null'))?.kind).toBe('other');
    await host.remove(folder);
    expect(await host.stat(folder)).toBeNull();
  });
});

describe('unix sockets', () => {
  it('takes over a stale file, is private, carries bytes both ways and leaves nothing', async () => {
    const folder = join(dir, 'sockets');
    await host.ensureDirectory(folder);
    const path = join(folder, 's');
    await writeFile(path, 'stale');
    const listener = await host.listenUnixSocket(path);
    expect(await readdir(folder)).toEqual(['s']);
    expect(await modeOf(path)).toBe(0o600);
    const [there, here] = await Promise.all([listener.accept(), host.connectUnixSocket(path)]);
    here.write('ping');
    expect(String((await once(there, 'data'))[0])).toBe('ping');
    there.end('pong');
    expect(String((await once(here, 'data'))[0])).toBe('pong');
    here.end();
    const waiting = listener.accept();
    await Promise.all([expect(waiting).rejects.toThrow(/closed/), listener.close()]);
    expect(await readdir(folder)).toEqual([]);
    await expect(host.connectUnixSocket(path)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
  });

  it('keeps connections that arrive before they are asked for', async () => {
    const path = join(dir, 'early');
    const listener = await host.listenUnixSocket(path);
    const early = await host.connectUnixSocket(path);
    early.write('first');
    const accepted = await listener.accept();
    expect(String((await once(accepted, 'data'))[0])).toBe('first');
    early.destroy();
    await listener.close();
  });
});

describe('processes', () => {
  it('gives the command line while the process lives, null for a zombie and for none', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const pid = child.pid!;
    await once(child, 'spawn');
    expect(await host.commandLineOf(pid)).toEqual(['sleep', '60']);
    await host.signal(pid, 'SIGTERM');
    await once(child, 'exit');
    expect(await host.commandLineOf(pid)).toBeNull();
    await host.signal(pid, 'SIGKILL');
  });

  it('signals no group and not init', async () => {
    for (const pid of [0, 1, -5, Number.NaN]) {
      await expect(host.signal(pid, 'SIGKILL')).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    }
  });

  it('knows the memory that is free', async () => {
    const total = Number(/MemTotal:\s+(\d+)/.exec(await readFile('/proc/meminfo', 'utf8'))![1]) * 1024;
    const available = await host.availableMemoryBytes();
    expect(available).toBeGreaterThan(0);
    expect(available).toBeLessThanOrEqual(total);
  });
});
