/** What the channel makes of itself while it loads: a table that is wrong ends a test by name here, and not every test of the channel before it begins. */
import { expect, it } from 'vitest';

it('the channel loads, knows its frames by their types, and has two signs of life', async () => {
  const { FRAMES, FrameDecoder, encodeControl } = await import('../../channel/frames.js');
  const seen: string[] = [];
  const decoder = new FrameDecoder('source', { onData: () => undefined, onControl: (name) => seen.push(name) });
  for (const name of ['CONFIRM', 'MANIFEST', 'WAITING'] as const) decoder.push(encodeControl(name, Buffer.alloc(FRAMES[name].minBytes)));
  expect(seen).toEqual(['CONFIRM', 'MANIFEST', 'WAITING']);
  expect(typeof (await import('../../channel/link.js')).Link).toBe('function');
  expect(Object.keys((await import('../../channel/relay.js')).createChannels()).sort()).toEqual(['connect', 'createIdentity', 'listen']);
});
