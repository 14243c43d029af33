/**
 * Manifest and verdict as frame payloads: canonical JSON, so that a document has exactly one byte
 * form and its digest is the digest of what travelled.
 */
import type { z } from 'zod';
import { canonicalJson } from '../domain/canonical.js';
import { describeIssues } from '../domain/documents.js';
import { problemOf } from '../domain/failures.js';
import { invalid } from './frames.js';

export function encodeDocument(document: object): Buffer {
  return Buffer.from(canonicalJson(document));
}

/** CHANNEL_FRAME_INVALID for anything but the canonical form of a valid document. */
export function decodeDocument<S extends z.ZodType>(schema: S, payload: Buffer): z.infer<S> {
  const text = payload.toString('utf8');
  const document = schema.safeParse(parse(text));
  if (!document.success) throw invalid(describeIssues(document.error));
  if (canonicalJson(document.data) !== text) throw invalid('document: not in canonical form');
  return document.data;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`document: ${problemOf(error)}`);
  }
}
