/**
 * The packages: one exact version of everything that must agree with itself. Two versions of the
 * SDK's parts, or two protobufjs behind them, fail only at run time and far from their cause.
 */
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const json = <T>(path: string) => JSON.parse(readFileSync(path, 'utf8')) as T;

interface Manifest {
  readonly version: string;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
}
interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
}

const manifest = json<Manifest>(join(root, 'package.json'));
const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8');
const lock = JSON.parse(lockText) as { readonly lockfileVersion: number; readonly packages: Record<string, Locked & Partial<Manifest>> };
const direct = { ...manifest.dependencies, ...manifest.devDependencies };

/** The file that `from` gets when it asks for protobufjs. */
function protobufOf(from: string): string {
  return realpathSync(createRequire(createRequire(join(root, 'package.json')).resolve(`${from}/package.json`)).resolve('protobufjs/package.json'));
}

describe('package.json', () => {
  it('asks for exact versions only', () => {
    expect(Object.entries(direct).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it('asks for one version of everything of Temporal', () => {
    const versions = Object.entries(direct).filter(([name]) => name.startsWith('@temporalio/')).map(([, version]) => version);
    expect(versions.length).toBeGreaterThan(3);
    expect(new Set(versions).size).toBe(1);
  });
});

describe('what is installed', () => {
  const folder = join(root, 'node_modules/@temporalio');

  it('is one version of everything of Temporal, once', () => {
    const versions = Object.fromEntries(readdirSync(folder).map((name) => [name, json<Manifest>(join(folder, name, 'package.json')).version]));
    expect(Object.keys(versions)).toEqual(expect.arrayContaining(['client', 'common', 'core-bridge', 'proto', 'worker', 'workflow']));
    expect(new Set(Object.values(versions))).toEqual(new Set([manifest.dependencies['@temporalio/worker']]));
    expect(Object.keys(lock.packages).filter((path) => /node_modules\/.+node_modules\/@temporalio\//.test(path))).toEqual([]);
  });

  it('is one protobufjs for the SDK and for us', () => {
    const ours = realpathSync(createRequire(join(root, 'package.json')).resolve('protobufjs/package.json'));
    expect(json<Manifest>(ours).version).toBe(manifest.dependencies['protobufjs']);
    for (const part of ['@temporalio/proto', '@temporalio/common', '@temporalio/client', '@temporalio/worker']) expect([part, protobufOf(part)]).toEqual([part, ours]);
    expect(dirname(ours)).toBe(realpathSync(join(root, 'node_modules/protobufjs')));
  });

  it('is what the lock file says, for every package that we name', () => {
    for (const [name, version] of Object.entries(direct)) {
      expect([name, json<Manifest>(join(root, 'node_modules', name, 'package.json')).version, lock.packages[`node_modules/${name}`]?.version]).toEqual([name, version, version]);
    }
  });
});

describe('the lock file', () => {
  it('was made from this package.json', () => {
    expect(lock.lockfileVersion).toBe(3);
    expect(lock.packages['']?.dependencies).toEqual(manifest.dependencies);
    expect(lock.packages['']?.devDependencies).toEqual(manifest.devDependencies);
  });

  it('names no registry, and the content of every package', () => {
    const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
    expect(packages.length).toBeGreaterThan(100);
    expect(packages.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(packages.filter(([, { integrity }]) => !/^sha512-/.test(integrity ?? '')).map(([path]) => path)).toEqual([]);
    expect(lockText).not.toMatch(/https?:\/\/[^"]*(?:\.tgz|registry)/);
  });
});
