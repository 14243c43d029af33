/**
 * A host worker whose channel may be in the hands of one who is inside it (inside.ts): where FILE holds a flip when a move
 * connects, that bit flips among the frames of this move; and the channel key of each session is left beside FILE, as if the worker had
 * lost it. A program of its own, which only the testbed starts.
 *
 *   node host-worker.js CONFIG FILE
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Channels } from '../../../channel/port.js';
import { loadHostConfig } from '../../../workers/config.js';
import { runHostWorker } from '../../../workers/host.js';
import { connectInside } from './inside.js';
import { type PlannedFlip, flipInside } from './flips.js';
import { lostIdentityFile } from './lost-identity.js';

const [, , configFile = '', file = ''] = process.argv;
const config = await loadHostConfig(configFile);

/** Once the bit has flipped, FILE is gone. */
function wrapped(channels: Channels): Channels {
  return {
    ...channels,
    async createIdentity() {
      const identity = await channels.createIdentity();
      writeFileSync(lostIdentityFile(file, config.hostId), JSON.stringify(identity));
      return identity;
    },
    async connect(address, terms, signal) {
      if (!existsSync(file)) return channels.connect(address, terms, signal);
      const { flip, imageBytes } = JSON.parse(readFileSync(file, 'utf8')) as PlannedFlip;
      const { change, hasFlipped } = flipInside(flip, { imageBytes });
      return connectInside(address, terms, (frame) => {
        const changed = change(frame);
        if (hasFlipped() && existsSync(file)) rmSync(file);
        return changed;
      });
    },
  };
}

await runHostWorker(config, { services: (built) => ({ ...built, channels: wrapped(built.channels) }), activities: (built) => built });
