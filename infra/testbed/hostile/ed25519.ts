/** The package's own Ed25519, remembering: what hooks.ts gives to whoever asks for it in this process. */
// The hooks let this one import through.
import * as real from '@noble/curves/ed25519.js';
import { remembering } from './remembered.js';

export const ed25519 = remembering(real.ed25519);
