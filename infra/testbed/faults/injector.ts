/** The harness's end of the socket: every point that a worker reaches goes to the script of the cell that runs. */
import { type Server, type Socket, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { TestbedOptions } from '../testbed.js';
import { built } from './built.js';
import type { Answer, Point, Question, Reply } from './points.js';

export type Script = (point: Point) => Promise<Answer>;

export interface Injector {
  /**
   * Takes effect for every point that is reached from now on; null lets everything pass. Rejects with what the script
   * throws, an accident of the harness and not of the product; never resolves.
   */
  follow(script: Script | null): Promise<never>;
  /** Activities that workers have begun and not ended, by name; a worker that died has none. */
  inHand(): readonly string[];
  close(): Promise<void>;
}

export async function startInjector(socketPath: string): Promise<Injector> {
  let script: Script | null = null;
  let fail: (thrown: unknown) => void = () => undefined;
  const workers = new Map<Socket, string[]>();
  const server = createServer((socket) => {
    const begun: string[] = [];
    workers.set(socket, begun);
    socket.on('error', () => undefined).on('close', () => workers.delete(socket));
    // A reader of lines tells its socket's errors again, as its own.
    createInterface({ input: socket }).on('error', () => undefined).on('line', (line) => {
      const { id, point } = JSON.parse(line) as Question;
      const activity = point.kind === 'activity' ? point.name : null;
      if (activity !== null && point.at === 'before') begun.push(activity);
      answerTo(point).then((answer) => {
        const isOver = activity !== null && (point.at !== 'before' || answer.startsWith('fail'));
        if (isOver) begun.splice(begun.indexOf(activity), 1);
        const reply: Reply = { id, answer };
        if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`);
      }, () => undefined);
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socketPath, resolve));

  async function answerTo(point: Point): Promise<Answer> {
    const failNow = fail;
    try {
      return (await script?.(point)) ?? 'pass';
    } catch (thrown) {
      failNow(thrown);
      return 'pass';
    }
  }

  return {
    follow(next) {
      script = next;
      const accident = new Promise<never>((_, reject) => (fail = reject));
      accident.catch(() => undefined); // whoever follows may have ended before it happens
      return accident;
    },
    inHand: () => [...workers.values()].flat(),
    async close() {
      for (const socket of workers.keys()) socket.destroy();
      await closed(server);
    },
  };
}

/** `product`: its own limits; `quick`: those of infra/testbed/quick.ts. */
export type Pace = 'product' | 'quick';

/** For a testbed whose workers ask the injector on that socket. */
export function workersThatAsk(socketPath: string, pace: Pace): NonNullable<TestbedOptions['workerCommands']> {
  const worker = (name: string, argument: string) => [process.execPath, '--single-threaded-gc', built(`infra/testbed/faults/${name}.js`), argument, socketPath, pace];
  return { host: (configFile) => worker('host-worker', configFile), control: (evidenceDir) => worker('control-worker', evidenceDir) };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
