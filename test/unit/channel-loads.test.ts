/** Loads the channel inside a test, so that a table that is wrong fails one test by its name, and not every file before it begins. */
import { expect, it } from 'vitest';

it('the channel loads, and knows its frames by their types', async () => {
  const { FRAMES, FrameDecoder, encodeControl } = await import('../../channel/frames.js');
  const seen: string[] = [];
  const decoder = new FrameDecoder('source', { onData: () => undefined, onControl: (name) => seen.push(name) });
  for (const name of ['CONFIRM', 'MANIFEST', 'WAITING'] as const) decoder.push(encodeControl(name, Buffer.alloc(FRAMES[name].minBytes)));
  expect(seen).toEqual(['CONFIRM', 'MANIFEST', 'WAITING']);
  expect(typeof (await import('../../channel/link.js')).Link).toBe('function');
  expect(Object.keys((await import('../../channel/relay.js')).createChannels()).sort()).toEqual(['connect', 'createIdentity', 'listen']);
});
