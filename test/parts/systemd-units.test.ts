/**
 * The systemd units (infra/systemd/): what they name exists in the command and in docs/deployment.md, the lines that protect are there,
 * and systemd itself finds no mistake in them. Whether the workers run under them no test shows.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { addWorkerCommands } from '../../cli/commands/worker.js';
import { readTemporalPlace } from '../../temporal/place.js';
import { HostConfig } from '../../workers/config.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = join(root, 'infra/systemd');
const deployment = readFileSync(join(root, 'docs/deployment.md'), 'utf8');
const HOST = 'korora-host-worker.service';
const CONTROL = 'korora-control-worker.service';
const NETWORKS = `${HOST}.d/networks.conf`;
const EXECUTABLE = '/usr/local/bin/korora';

type Unit = Readonly<Record<string, readonly string[]>>;

/** Settings of all sections with their values, in order. Throws for a line that is none. */
function read(file: string): Unit {
  const unit: Record<string, string[]> = {};
  for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#') || /^\[[A-Z][a-z]+\]$/.test(line)) continue;
    const [, name = '', value = ''] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (name === '') throw new Error(`${file}: ${line}`);
    (unit[name] ??= []).push(value);
  }
  return unit;
}

const host = read(HOST);
const control = read(CONTROL);
const only = (unit: Unit, name: string): string => {
  const values = unit[name] ?? [];
  expect([name, values.length]).toEqual([name, 1]);
  return values[0] ?? '';
};

describe.each([[HOST, host], [CONTROL, control]] as const)('%s', (_, unit) => {
  it('starts a command that there is, with options that it has', () => {
    const [executable, ...words] = only(unit, 'ExecStart').split(' ');
    expect(executable).toBe(EXECUTABLE);
    const program = new Command('korora');
    addWorkerCommands(program);
    const command = words.slice(0, 2).reduce<Command | undefined>((parent, word) => parent?.commands.find((child) => child.name() === word), program);
    const options = words.filter((word) => word.startsWith('--'));
    expect(options.length).toBeGreaterThan(0);
    for (const option of options) expect(command?.options.map(({ long }) => long)).toContain(option);
    for (const { long, mandatory } of command?.options ?? []) if (mandatory) expect(options).toContain(long);
  });

  it.each([
    ['LimitCORE', '0'], ['UMask', '0077'], ['NoNewPrivileges', 'yes'], ['StateDirectoryMode', '0700'], ['ProtectSystem', 'strict'], ['ProtectHome', 'yes'], ['PrivateTmp', 'yes'], ['DevicePolicy', 'closed'],
    ['ProtectKernelTunables', 'yes'], ['ProtectKernelModules', 'yes'], ['ProtectKernelLogs', 'yes'], ['ProtectControlGroups', 'yes'], ['ProtectClock', 'yes'], ['RestrictNamespaces', 'yes'], ['RestrictSUIDSGID', 'yes'],
    ['CapabilityBoundingSet', ''], ['AmbientCapabilities', ''],
  ])('says %s=%s', (name, value) => {
    expect(only(unit, name)).toBe(value);
  });

  it('gives keys as credentials, each to the variable that Kororā reads', async () => {
    const credentials = (unit['LoadCredential'] ?? []).map((line) => line.split(':')[0]);
    const variables = Object.fromEntries((unit['Environment'] ?? []).map((line) => line.split('=%d/') as [string, string]));
    expect(Object.values(variables).sort()).toEqual([...credentials].sort());
    expect(Object.keys(variables)).toContain('KORORA_PAYLOAD_KEY');
    // Each is looked at: a file that is missing is named.
    for (const [name, file] of Object.entries(variables)) {
      await expect(readTemporalPlace({ TEMPORAL_ADDRESS: 'temporal.example:7233', [name]: `/nowhere/${file}` })).rejects.toThrow(/nowhere|certificate|key/);
    }
  });

  it('leaves out what V8 cannot do without, and the document says so', () => {
    expect(unit['MemoryDenyWriteExecute']).toBeUndefined();
    expect(deployment).toMatch(/`MemoryDenyWriteExecute`.*V8/);
  });

  it('has each of its lines explained', () => {
    for (const name of Object.keys(unit)) {
      if (!['Description', 'Wants', 'After', 'Type', 'WantedBy', 'ExecStart', 'Environment', 'Restart', 'RestartSec'].includes(name)) expect(deployment).toContain(`\`${name}`);
    }
  });
});

describe(HOST, () => {
  it('ends no VM with its worker', () => {
    expect([only(host, 'KillMode'), only(host, 'OOMPolicy'), only(host, 'RuntimeDirectoryPreserve'), only(host, 'TasksMax')]).toEqual(['process', 'continue', 'yes', 'infinity']);
    for (const name of ['DynamicUser', 'RemoveIPC', 'ExecStop', 'MemoryMax', 'ProtectProc', 'ProcSubset', 'PrivateUsers', 'PrivateDevices']) expect([name, host[name]]).toEqual([name, undefined]);
  });

  it('fits the configuration that the document shows', () => {
    const config = HostConfig.parse(JSON.parse(/```json\n(.*?)```/s.exec(deployment)?.[1] ?? ''));
    expect([config.stateDir, config.runDir]).toEqual([`/var/lib/${only(host, 'StateDirectory')}`, `/run/${only(host, 'RuntimeDirectory')}`]);
    expect(only(host, 'ReadWritePaths')).toBe(config.storage.disks.map((root) => `-${root}`).join(' '));
    expect(host['DeviceAllow']).toEqual(['/dev/kvm rw', `${config.tcti.replace('device:', '')} rw`]);
    expect(deployment).toContain(only(host, 'ExecStart').split(' ').at(-1));
  });

  it('has a right over networks only where that is added', () => {
    expect(read(NETWORKS)).toEqual({ CapabilityBoundingSet: ['CAP_NET_ADMIN'], AmbientCapabilities: ['CAP_NET_ADMIN'], DeviceAllow: ['/dev/net/tun rw'] });
  });
});

describe(CONTROL, () => {
  it('has no device, no user of its own and no right', () => {
    expect(['DynamicUser', 'PrivateDevices', 'PrivateUsers'].map((name) => only(control, name))).toEqual(['yes', 'yes', 'yes']);
    expect([control['DeviceAllow'], control['User'], control['ReadWritePaths']]).toEqual([undefined, undefined, undefined]);
    expect(only(control, 'ExecStart').split(' ').at(-1)).toMatch(new RegExp(`^/var/lib/${only(control, 'StateDirectory')}/`));
  });
});

describe('systemd', () => {
  const copies = mkdtempSync(join(tmpdir(), 'korora-units-'));
  afterAll(() => rmSync(copies, { recursive: true, force: true }));
  const analyze = (...args: readonly string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8', timeout: 60_000 });
  const version = Number(/^systemd (\d+)/.exec(analyze('--version').stdout ?? '')?.[1] ?? 0);

  /** The command need not be installed where the tests run. */
  cpSync(folder, copies, { recursive: true });
  const units = readdirSync(copies).filter((name) => name.endsWith('.service'));
  for (const unit of units) writeFileSync(join(copies, unit), readFileSync(join(copies, unit), 'utf8').replace(EXECUTABLE, '/bin/true'));

  it('finds no mistake, and little exposure', () => {
    expect(units.sort()).toEqual([CONTROL, HOST]);
    if (version < 250) {
      process.stdout.write(`systemd units: parsed only, there is no systemd-analyze of version 250 or later here (${version || 'none'})\n`);
      return;
    }
    // By its own measure, 0 to 100; lower is better.
    for (const [unit, atMost] of [[CONTROL, 20], [HOST, 40]] as const) {
      const { status, stdout, stderr } = analyze('verify', '--man=no', join(copies, unit));
      expect([unit, status, stdout, stderr]).toEqual([unit, 0, '', '']);
      const security = analyze('security', '--offline=true', `--threshold=${atMost}`, join(copies, unit));
      expect([unit, security.status]).toEqual([unit, 0]);
    }
  });
});
