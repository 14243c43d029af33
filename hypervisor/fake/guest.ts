/**
 * The computation inside a fake VM. One tick after the other, each either wholly done or not begun: the counter
 * goes to the disk and is then said, pages change, now and then the memory is checked and the secret
 * unsealed. It says so on the console in the words of the project's guest (infra/guest/README.md), and one more:
 *
 *   memory-wrong page=N holds=N expected=N      a page does not hold what was written to it last
 *
 * Knows nothing of hosts and moves.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { problemOf } from '../../domain/failures.js';
import { MIB } from '../../domain/vm.js';
import { Base64 } from '../../domain/ids.js';
import type { FakeDisks } from './disk.js';
import { type Memory, createMemory } from './memory.js';
import { type GuestSettings, PAGE_BYTES } from './settings.js';
import type { VtpmConnection } from './vtpm-server.js';

/** All that a guest is beside its memory. */
export const GuestState = z.strictObject({
  count: z.int().min(0),
  writes: z.int().min(0),
  ticksToUnseal: z.int().min(0),
  /** Of the vTPM; null before the guest sealed, and without a vTPM. */
  sealed: Base64.nullable(),
});
export type GuestState = Readonly<z.infer<typeof GuestState>>;

export interface Guest {
  readonly memory: Memory;
  readonly isRunning: boolean;
  state(): GuestState;
  /** Only of a guest that stands still. */
  restore(state: GuestState): void;
  run(): void;
  /** Resolves when no tick is under way. */
  halt(): Promise<void>;
  /** The console's file is let go; what was said stays in it. */
  close(): Promise<void>;
}

export interface GuestParts {
  readonly settings: GuestSettings;
  readonly disks: FakeDisks;
  readonly consolePath: string;
  /** Null for a VM without one. */
  readonly vtpm: VtpmConnection | null;
}

export async function createGuest({ settings, disks, consolePath, vtpm }: GuestParts): Promise<Guest> {
  const console: FileHandle = await open(consolePath, 'a', 0o600);
  const setPages = (settings.dirtySetMib * MIB) / PAGE_BYTES;
  const memory = createMemory(settings.pages, setPages);
  const pagesPerTick = (settings.dirtyMibPerSecond * MIB * settings.tickMs) / 1000 / PAGE_BYTES;
  const unsealTicks = Math.max(1, Math.ceil((settings.unsealEveryS * 1000) / settings.tickMs));
  let state: GuestState = { count: 0, writes: 0, ticksToUnseal: 0, sealed: null };
  let stop = new AbortController();
  let running: Promise<void> | null = null;

  const say = (line: string) => console.appendFile(`${line}\n`);

  async function tick(): Promise<void> {
    const count = state.count + 1;
    if (count === 1) await say(greeting(settings));
    await disks.record(count);
    await say(`count ${count}`);
    const writes = Math.floor(count * pagesPerTick) - state.writes;
    memory.rewrite(state.writes, writes);
    state = { ...state, count, writes: state.writes + writes };
    if (vtpm && state.sealed === null) await seal(vtpm);
    else if (vtpm && state.ticksToUnseal === 0) await unseal(vtpm);
    state = { ...state, ticksToUnseal: state.ticksToUnseal === 0 ? unsealTicks - 1 : state.ticksToUnseal - 1 };
  }

  async function seal({ tpm }: VtpmConnection): Promise<void> {
    try {
      tpm().extend(settings.pcr, sha256('korora guest'));
      const secret = randomBytes(32);
      state = { ...state, sealed: tpm().seal(secret, settings.pcr).toString('base64') };
      await say(`sealed sha256=${sha256(secret)}`);
    } catch (error) {
      await say(`seal-failed ${reason(error)}`);
    }
  }

  async function unseal({ tpm }: VtpmConnection): Promise<void> {
    const wrong = memory.problem(state.writes);
    if (wrong) await say(`memory-wrong ${wrong}`);
    try {
      const secret = tpm().unseal(Buffer.from(state.sealed ?? '', 'base64'), settings.pcr);
      const [ek, pcr] = [sha256(tpm().endorsementKey), tpm().pcr(settings.pcr)];
      await say(`unsealed sha256=${sha256(secret)} ek=${ek} pcr${settings.pcr}=${pcr} count=${state.count}`);
    } catch (error) {
      await say(`unseal-failed ${reason(error)}`);
    }
  }

  async function ticks(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      await tick();
      await wait(settings.tickMs, undefined, { signal: stopped }).catch(() => undefined);
    }
  }

  /** A run that was asked for meanwhile is not undone. */
  async function halt(): Promise<void> {
    const halted = running;
    stop.abort();
    await halted;
    if (running === halted) running = null;
  }

  return {
    memory,
    get isRunning() {
      return running !== null && !stop.signal.aborted;
    },
    state: () => state,
    restore: (next) => void (state = next),
    run() {
      if (running && !stop.signal.aborted) return;
      const { signal } = (stop = new AbortController());
      // A guest whose disk or console fails is a guest that hangs: its counter stands still.
      running = (running ?? Promise.resolve()).then(() => ticks(signal)).catch((error: unknown) => void process.stderr.write(`${consolePath}: ${problemOf(error)}\n`));
    },
    halt,
    async close() {
      await halt();
      await console.close();
    },
  };
}

function greeting({ tickMs, dirtyMibPerSecond, dirtySetMib, unsealEveryS, pcr }: GuestSettings): string {
  return `korora-guest tick_ms=${tickMs} dirty_mib_per_s=${dirtyMibPerSecond} dirty_set_mib=${dirtySetMib} unseal_every_s=${unsealEveryS} pcr=${pcr} up=0.00`;
}

function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

function reason(error: unknown): string {
  return problemOf(error).replace(/\s+/g, ' ').slice(0, 200);
}
