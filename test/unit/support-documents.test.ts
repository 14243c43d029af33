/**
 * The documents that tests begin with (test/support/documents.ts) are valid by the product's own schemas. They are made when that file is loaded: here inside of a test, so
 * that a schema which refuses one of them, and with it every file of tests that loads them, fails a test by name.
 */
import { expect, it } from 'vitest';

it('the documents that tests begin with are valid', async () => {
  const { samples, SIGNED_ORDER } = await import('../support/documents.js');
  expect([samples.order.kind, SIGNED_ORDER.payloadType]).toEqual(['korora/order', 'application/vnd.korora.order+json']);
});
