/** The README's step-by-step move, run as it stands: only its ports and its folder are replaced by free ones. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePortPair } from '../../infra/testbed/ports.js';
import { type TestbedProcess, endWrittenDown, startProcess, writeDown } from '../../infra/testbed/processes.js';
import { pidsBelow } from '../../infra/testbed/testbed.js';
import { newRoot } from './support.js';

const project = fileURLToPath(new URL('../..', import.meta.url));
const sh = promisify(execFile);
let root: string;
let preamble = '';
let blocks: string[] = [];
const workers: TestbedProcess[] = [];

beforeAll(async () => {
  root = await newRoot();
  const readme = await readFile(`${project}/README.md`, 'utf8');
  const section = /## A move, step by step\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
  const ports = new Map<string, number>();
  for (const port of ['7233', '8233', '2321', '2331']) ports.set(port, await freePortPair());
  const text = section.replaceAll('/tmp/korora-try', root).replaceAll(new RegExp([...ports.keys()].join('|'), 'g'), (port) => String(ports.get(port)));
  [preamble = '', ...blocks] = [...text.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1] ?? '');
  await mkdir(`${root}/logs`, { recursive: true });
});
afterAll(async () => {
  for (const worker of workers) await worker.stop();
  await writeDown(`${root}/left.json`, await pidsBelow(root));
  await endWrittenDown(`${root}/left.json`);
  await rm(root, { recursive: true, force: true });
});

it('leads a reader from nothing to a VM that moved', async () => {
  expect(blocks.length).toBe(8);
  let said = '';
  for (const block of blocks) {
    if (block.includes('# terminal')) await startWorkers(block);
    else said += (await sh('bash', ['-ec', preamble + block], { cwd: project, maxBuffer: 1e7 })).stdout;
  }
  expect(said).toMatch(/host-a +ready +qemu/);
  expect(said).toMatch(/counter +host-a +owner +1 +running/);
  expect(said).toContain('VM counter moved and runs on host-b');
  expect(said).toMatch(/counter +host-b +owner +2 +running/);
  expect(said).toMatch(/counter +host-a +retired +1 +absent/);
  expect(said).toMatch(/evidence\/counter-.*\.json: holds\n {2}proven {6}trust bundle: /);
  expect(said).not.toContain('WRONG');
});

async function startWorkers(block: string): Promise<void> {
  for (const [i, line] of block.trim().split('\n').entries()) {
    workers.push(
      await startProcess({ name: line, command: 'bash', args: ['-ec', `${preamble}exec ${line}`], environment: {}, logFile: `${root}/logs/${i}.log`, readyText: ' ready' }),
    );
  }
}
