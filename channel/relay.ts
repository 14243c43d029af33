/**
 * The attested channel as others see it (port.ts). The parts: identity.ts (the key), tls.ts (the
 * one configuration), listener.ts and connect.ts (who gets in), link.ts (what both ends do alike),
 * outgoing.ts and incoming.ts (the image, the manifest, the verdict), frames.ts (bytes).
 */
import type { Channels } from './port.js';
import { connect } from './connect.js';
import { createIdentity } from './identity.js';
import { listen } from './listener.js';

export function createChannels(): Channels {
  return { createIdentity, listen, connect };
}
