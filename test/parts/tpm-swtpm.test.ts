/**
 * vTPMs by real swtpm processes: identity, encryption at rest, sockets, the life of the process.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSwtpmManager } from '../../tpm/swtpm.js';
import { freePortPair } from '../../infra/testbed/ports.js';
import { until } from '../../infra/testbed/until.js';
import { access, hostId } from './tpm-testbed.js';

const folder = mkdtempSync(join(tmpdir(), 'korora-vtpm-'));
const vtpms = createSwtpmManager({ access, hostId, caDir: join(folder, 'ca') });
const stateDir = join(folder, 'vm', 'vtpm');
const runDir = join(folder, 'run');
const stateKey = randomBytes(32);
const migrationKey = randomBytes(32);
const spec = { stateDir, runDir, stateKey, migrationKey };
let identity = '';

afterAll(async () => {
  for (const name of ['run', 'run-wrong', 'run-incoming']) await vtpms.ensureStopped(join(folder, name));
  rmSync(folder, { recursive: true, force: true });
});

const pid = () => Number(readFileSync(join(runDir, 'swtpm.pid'), 'utf8'));
const initialise = (socket: string) => access.run('swtpm_ioctl', ['--unix', socket, '-i']);

describe('a vTPM', () => {
  it('has a version', async () => expect(await vtpms.version()).toMatch(/^\d+\.\d+\.\d+$/));

  it('is manufactured with an identity of its own', async () => {
    identity = (await vtpms.manufacture({ stateDir, stateKey, name: 'vm-one' })).ekCertificateSha256;
    const certificates = join(stateDir, 'ek-certificates');
    const files = readdirSync(certificates).sort();
    expect(files).toEqual(['ek-rsa2048.crt', 'ek-secp384r1.crt']);
    expect(identity).toBe(createHash('sha256').update(Buffer.concat(files.map((file) => readFileSync(join(certificates, file))))).digest('hex'));
    const text = await access.run('openssl', ['x509', '-inform', 'der', '-noout', '-subject', '-in', join(certificates, 'ek-rsa2048.crt')]);
    expect(text.stdout.toString()).toContain('vm-one');
    expect(readdirSync(join(folder, 'ca'))).toContain('issuercert.pem');

    const other = await vtpms.manufacture({ stateDir: join(folder, 'other'), stateKey, name: 'vm-two' });
    expect(other.ekCertificateSha256).not.toBe(identity);
  }, 30_000);

  it('is not manufactured twice', async () => {
    await expect(vtpms.manufacture({ stateDir, stateKey, name: 'vm-one' })).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
  }, 30_000);

  it('runs once, for its owner only, and holds its keys in no argument', async () => {
    const { controlSocketPath } = await vtpms.ensureRunning(spec);
    const first = pid();
    expect(await vtpms.isRunning(runDir)).toBe(true);
    expect(await vtpms.ensureRunning(spec)).toEqual({ controlSocketPath });
    expect(pid()).toBe(first);
    expect(statSync(controlSocketPath).mode & 0o777).toBe(0o600);
    const line = (await access.commandLineOf(first))?.join(' ') ?? '';
    for (const key of [stateKey, migrationKey]) for (const form of ['hex', 'base64'] as const) expect(line).not.toContain(key.toString(form));
    expect((await initialise(controlSocketPath)).exitCode).toBe(0);
  });

  it('outlives whoever lets go of its control socket', async () => {
    const { controlSocketPath } = await vtpms.ensureRunning(spec);
    const before = pid();
    (await access.connectUnixSocket(controlSocketPath)).destroy();
    expect((await initialise(controlSocketPath)).exitCode).toBe(0);
    expect(pid()).toBe(before);
  });

  it('ends on request, once or twice, and starts again', async () => {
    await vtpms.ensureStopped(runDir);
    await vtpms.ensureStopped(runDir);
    expect(await vtpms.isRunning(runDir)).toBe(false);
    expect((await initialise((await vtpms.ensureRunning(spec)).controlSocketPath)).exitCode).toBe(0);
  });

  it('that was killed leaves nothing that stops the next one', async () => {
    await access.signal(pid(), 'SIGKILL');
    await until('its end', () => vtpms.isRunning(runDir), (isRunning) => !isRunning, { limitMs: 20_000, everyMs: 5 });
    expect((await initialise((await vtpms.ensureRunning(spec)).controlSocketPath)).exitCode).toBe(0);
    await vtpms.ensureStopped(runDir);
  });

  it('does not take another process with its id for itself', async () => {
    const stranger = join(folder, 'run-stranger');
    mkdirSync(stranger);
    writeFileSync(join(stranger, 'swtpm.pid'), String(process.pid));
    expect(await vtpms.isRunning(stranger)).toBe(false);
    await vtpms.ensureStopped(stranger);
  });

  it('does not open under another key', async () => {
    const { controlSocketPath } = await vtpms.ensureRunning({ ...spec, runDir: join(folder, 'run-wrong'), stateKey: randomBytes(32) });
    expect((await initialise(controlSocketPath)).exitCode).not.toBe(0);
    await vtpms.ensureStopped(join(folder, 'run-wrong'));
  });

  it('can wait without state for an image to come in', async () => {
    const incoming = { ...spec, stateDir: join(folder, 'incoming'), runDir: join(folder, 'run-incoming') };
    const { controlSocketPath } = await vtpms.ensureRunning(incoming);
    expect((await initialise(controlSocketPath)).exitCode).toBe(0);
    await vtpms.ensureStopped(incoming.runDir);
  });

  it('refuses keys and paths that cannot be right', async () => {
    await expect(vtpms.ensureRunning({ ...spec, stateKey: Buffer.alloc(16) })).rejects.toThrow(/stateKey has 16 bytes/);
    await expect(vtpms.ensureRunning({ ...spec, runDir: join(folder, 'x'.repeat(100)) })).rejects.toMatchObject({ message: expect.stringMatching(/longer than 107 bytes/) });
  });
});

describe('encryption at rest', () => {
  const canary = Buffer.from('canary-0123456789-in-nv-memory');

  /** Writes the canary into NV memory of a TPM with this state, through a TCP port, and ends it. */
  async function writeCanary(dir: string, key: Buffer | null): Promise<Buffer> {
    const port = await freePortPair();
    const pidFile = join(folder, 'canary.pid');
    const started = await access.run(
      'swtpm',
      ['socket', '--tpm2', '--tpmstate', `dir=${dir}`, '--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`, '--flags', 'startup-clear,not-need-init', '--daemon', '--pid', `file=${pidFile}`, ...(key ? ['--key', 'fd=3,format=binary,mode=aes-256-cbc'] : [])],
      { secretInputs: key ? [key] : [] },
    );
    expect(started.exitCode).toBe(0);
    const tool = async (name: string, args: string[], input?: Buffer) => {
      const said = async () => (await access.run(name, ['-T', `swtpm:host=127.0.0.1,port=${port}`, ...args], input ? { input } : {})).stderr.toString();
      expect(await until(`swtpm to answer ${name}`, said, (stderr) => !stderr.includes('Could not load tcti'), { everyMs: 50 })).not.toMatch(/ERROR/);
    };
    await tool('tpm2_nvdefine', ['0x01500000', '-C', 'o', '-s', String(canary.length), '-a', 'ownerread|ownerwrite|authread|authwrite']);
    await tool('tpm2_nvwrite', ['0x01500000', '-C', 'o', '-i', '-'], canary);
    const id = Number(readFileSync(pidFile, 'utf8'));
    await access.signal(id, 'SIGTERM');
    await until(`the end of swtpm ${id}`, () => access.commandLineOf(id), (commandLine) => commandLine === null, { everyMs: 5 });
    return readFileSync(join(dir, 'tpm2-00.permall'));
  }

  it('hides what is in NV memory, and a TPM without a key shows it', async () => {
    expect((await writeCanary(stateDir, stateKey)).includes(canary)).toBe(false);
    const plain = join(folder, 'plain');
    mkdirSync(plain);
    expect((await writeCanary(plain, null)).includes(canary)).toBe(true);
  });
});
