/**
 * Single bits flip anywhere on the wire and inside the TLS connection: the real channel and the real verification, a sink in
 * the hypervisor's place. `npm run attack` does it with the image of a real VM, and with QEMU.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { installBundle } from '../../domain/trust-bundle.js';
import { signEnvelope } from '../../domain/envelope.js';
import { INSIDE_PARTS, WIRE_PARTS, drawFlips } from '../../infra/testbed/attacks/flips.js';
import { type FlipTrials, openFlipTrials } from '../../infra/testbed/attacks/flip-trials.js';
import { openSinkHost } from '../../infra/testbed/attacks/sink-host.js';
import { randomFrom } from '../../infra/testbed/random.js';
import { ADA, POLICY_SIGNER, trustBundleOf } from '../support/documents.js';

const SEED = 20_251;
const image = randomBytes(1_000_001);
let trials: FlipTrials;

beforeAll(async () => {
  const installed = installBundle(await signEnvelope(trustBundleOf(), POLICY_SIGNER), 'this test', [POLICY_SIGNER.publicKey]);
  const host = await openSinkHost({ installed, operator: { name: 'ada', signer: ADA }, folder: await mkdtemp('/tmp/kf-'), image });
  trials = await openFlipTrials(host, createHash('sha256').update(image).digest('hex'), image.length);
});
afterAll(() => trials?.close());

it.each([...WIRE_PARTS, ...INSIDE_PARTS])('%s: refused, each by a code that says why', async (part) => {
  for (const flip of drawFlips(6, randomFrom(SEED), [part])) {
    const { problems, codes } = await trials.one(flip);
    expect({ seed: SEED, flip, codes, problems }).toMatchObject({ problems: [] });
  }
});

it('a manifest that arrives as a piece of the image: the source waits, and says so', async () => {
  const { problems, codes } = await trials.one({ part: 'manifest header', place: 0, bit: 0 });
  expect({ problems, codes }).toEqual({ problems: [], codes: ['CHANNEL_FRAME_INVALID'] });
});

it('the version field of records that are not encrypted is the one thing that nobody looks at; the image is whole all the same', async () => {
  const results = await trials.ignoredBits();
  expect(results.filter(({ problems }) => problems.length > 0)).toEqual([]);
  expect(results.some(({ codes }) => codes.length === 0)).toBe(true);
});
