/**
 * The vTPMs inside a fake machine, one a run directory, as swtpm processes are one: a VM connects to one by its
 * control socket's path (a name only: nothing listens there). Holds the keys while the vTPM runs.
 *
 * As with swtpm, a vTPM that finds no state makes itself anew when a VM boots on it, and a wrong key
 * shows at that moment, not when it is started.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { type FakeTpm, loadTpm, manufactureTpm } from './tpm-state.js';

export interface VtpmSpec {
  readonly stateDir: string;
  readonly stateKey: Buffer;
  readonly migrationKey: Buffer;
}

/** What a VM sees of the vTPM it is connected to. */
export interface VtpmConnection {
  /** Throws where the vTPM does not run any more. */
  tpm(): FakeTpm;
  /** The state for a move, encrypted under the migration key. */
  departing(): Buffer;
  /** Takes such a state and writes it to the disk under this host's state key. */
  arriving(state: Buffer): Promise<void>;
}

export interface VtpmServer {
  start(controlSocketPath: string, spec: VtpmSpec): void;
  isRunning(controlSocketPath: string): boolean;
  stop(controlSocketPath: string): void;
  /** For a VM that boots: with the state of the disk. */
  boot(controlSocketPath: string): Promise<VtpmConnection>;
  /** For a VM that waits for an image: the state comes with it. */
  await(controlSocketPath: string): VtpmConnection;
}

interface Vtpm {
  readonly spec: VtpmSpec;
  tpm: FakeTpm | null;
}

export function stateFileIn(stateDir: string): string {
  return `${stateDir}/fake-vtpm.state`;
}

export function createVtpmServer(): VtpmServer {
  const running = new Map<string, Vtpm>();

  function find(path: string): Vtpm {
    const vtpm = running.get(path);
    if (!vtpm) throw new Error(`Failed to connect to '${path}': No such file or directory`);
    return vtpm;
  }

  function connectionOf(path: string): VtpmConnection {
    const mine = find(path);
    const tpm = () => {
      const current = find(path) === mine ? mine.tpm : null;
      if (!current) throw new Error('the vTPM has no state');
      return current;
    };
    return {
      tpm,
      departing: () => tpm().save(mine.spec.migrationKey, 'all'),
      async arriving(state) {
        mine.tpm = loadTpm(state, mine.spec.migrationKey);
        await write(mine.spec, mine.tpm);
      },
    };
  }

  return {
    start(path, spec) {
      if (!running.has(path)) running.set(path, { spec, tpm: null });
    },
    isRunning: (path) => running.has(path),
    stop: (path) => void running.delete(path),
    async boot(path) {
      const connection = connectionOf(path);
      const { spec } = find(path);
      const saved = await readFile(stateFileIn(spec.stateDir)).catch(() => null);
      const tpm = saved ? loadTpm(saved, spec.stateKey) : manufactureTpm();
      if (!saved) await write(spec, tpm);
      find(path).tpm = tpm;
      return connection;
    },
    await: connectionOf,
  };
}

async function write({ stateDir, stateKey }: VtpmSpec, tpm: FakeTpm): Promise<void> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const path = stateFileIn(stateDir);
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(tpm.save(stateKey, 'permanent'));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
