/** How a report names whose key something rests on: an auditor compares the key with what is known of it elsewhere. */
import { expect, it } from 'vitest';
import { akOf, nameOf } from '../../client/verify/case.js';
import { digestOf } from '../../domain/canonical.js';
import { keyIdOf } from '../../domain/envelope.js';
import { ADA, GRACE, hostEntryOf, tpmName, trustBundleOf } from '../support/documents.js';

const installed = () => ({ bundle: trustBundleOf(), digest: digestOf(trustBundleOf()) });

it.each([['ada', ADA], ['grace', GRACE]])('%s is named with the key that the bundle has of that operator', (name, { publicKey }) => {
  expect(nameOf(installed(), name)).toBe(`${name}, key ${keyIdOf(publicKey)}`);
});

it('whom the bundle lacks is named without a key', () => {
  expect(nameOf(installed(), 'bob')).toBe('bob');
});

it('a host is named with its AK', () => {
  expect(akOf(hostEntryOf())).toBe(`host-a, AK ${tpmName(0xa0)}`);
});
