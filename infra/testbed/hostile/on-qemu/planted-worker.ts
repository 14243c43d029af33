/**
 * A host worker with a defect of planted.ts. A program of its own, which only the stage starts.
 *
 *   node planted-worker.js CONFIG FILE      FILE: has the name of the defect; none where there is no such file
 */
import { existsSync, readFileSync } from 'node:fs';
import { loadHostConfig } from '../../../../workers/config.js';
import { runHostWorker } from '../../../../workers/host.js';
import { DEFECTS_ON_QEMU, wrapperOf } from './planted.js';

const [, , configFile = '', file = ''] = process.argv;
const wanted = existsSync(file) ? readFileSync(file, 'utf8') : null;
const defect = DEFECTS_ON_QEMU.find(({ name }) => name === wanted) ?? null;
if (wanted !== null && !defect) throw new Error(`there is no defect ${wanted}`);
defect?.planted.plant?.();
const config = await loadHostConfig(configFile);
await runHostWorker(config, wrapperOf(config, defect?.planted ?? null));
