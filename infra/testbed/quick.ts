/**
 * What tests shorten from outside, so that they need not sit out the product's limits where a host or a network falls silent:
 * the workflows' (quick-limits.ts, in a bundle of its own) and the channel's. What is done when one is over is the product's.
 */
import type { Channels } from '../../channel/port.js';
import { built } from './faults/built.js';

/** The product's is 5 s (channel/tls.ts). */
const SILENCE_LIMIT_MS = 3_000;

export const QUICK_WORKFLOWS = built('infra/testbed/quick-workflows.js');

export function quickChannels(channels: Channels): Channels {
  return {
    ...channels,
    connect: (address, terms, signal) => channels.connect(address, { ...terms, silenceLimitMs: SILENCE_LIMIT_MS }, signal),
    listen: (address, terms) => channels.listen(address, { ...terms, silenceLimitMs: SILENCE_LIMIT_MS }),
  };
}
