/** activities/verify.ts, compareManifest: what arrived is compared with the manifest, and the manifest with what the source wrapped, member by member, before the first instruction (P3, P4). */
import { describe, expect, it } from 'vitest';
import { compareManifest } from '../../activities/verify.js';
import { Epoch, type Sha256Hex } from '../../domain/ids.js';
import type { Manifest } from '../../domain/manifest.js';
import { digest, manifestOf, migrationId, orderOf } from '../support/documents.js';
import { textsOf } from '../support/refusal.js';

const order = orderOf();
const manifest = manifestOf();
const SECRETS = { epoch: Epoch.parse(2), vtpmIdentity: manifest.vtpmIdentity, previousVerdict: null };
const ARRIVED = { bytes: manifest.streamBytes, sha256: manifest.streamSha256 };

const found = (changes: Partial<Record<keyof Manifest, unknown>>, arrived = ARRIVED, secrets: Parameters<typeof compareManifest>[3] = SECRETS) =>
  textsOf(compareManifest(manifestOf(changes), arrived, order, secrets));

describe('a manifest', () => {
  it('of the image that arrived, of this move and with the vTPM that was wrapped for has no difference', () => {
    expect(found({})).toEqual([]);
    expect(found({ previousVerdict: digest(5) }, ARRIVED, { ...SECRETS, previousVerdict: digest(5) as Sha256Hex })).toEqual([]);
  });

  it.each<[keyof Manifest, unknown, string]>([
    ['vtpmIdentity', digest(0x72), `${digest(0x72)}, expected ${digest(0x71)}`],
    ['migrationId', migrationId(9), `${migrationId(9)}, expected ${migrationId(1)}`],
    ['vmId', 'web-2', 'web-2, expected web-1'],
    ['epoch', 3, '3, expected 2'],
    ['previousVerdict', digest(5), `${digest(5)}, expected none`],
  ])('with another %s is refused for it', (field, value, difference) => {
    expect(found({ [field]: value })).toEqual([`MANIFEST_MISMATCH: the manifest names another ${field}: ${difference}`]);
  });

  it('that does not name the verdict that was wrapped is refused for it', () => {
    expect(found({}, ARRIVED, { ...SECRETS, previousVerdict: digest(5) as Sha256Hex })).toEqual([`MANIFEST_MISMATCH: the manifest names another previousVerdict: none, expected ${digest(5)}`]);
  });

  it('is refused where one byte less or more arrived than it says, whatever the digest', () => {
    for (const bytes of [manifest.streamBytes - 1, manifest.streamBytes + 1]) {
      expect(found({}, { ...ARRIVED, bytes })).toEqual([`STREAM_LENGTH_MISMATCH: ${bytes} bytes arrived, the manifest says ${manifest.streamBytes}`]);
    }
  });

  it('is refused where other bytes arrived, whatever their number', () => {
    expect(found({}, { ...ARRIVED, sha256: digest(0x52) })).toEqual([`STREAM_DIGEST_MISMATCH: the image that arrived has digest ${digest(0x52)}, the manifest says ${digest(0x51)}`]);
  });

  it('has all its differences named at once', () => {
    expect(found({ vtpmIdentity: digest(1), epoch: 9 }, { bytes: 1, sha256: digest(2) }).map((text) => text.split(':')[0])).toEqual(['MANIFEST_MISMATCH', 'MANIFEST_MISMATCH', 'STREAM_LENGTH_MISMATCH', 'STREAM_DIGEST_MISMATCH']);
  });
});
