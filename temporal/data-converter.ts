/** How a process of Kororā writes to Temporal and reads from it: the payload codec, and errors whose text is a payload too. */
import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { createPayloadCodec } from './payload-codec.js';
import { readPayloadKeys } from './payload-keys.js';

/** `keyFile`: as KORORA_PAYLOAD_KEY names it; without one nothing is encrypted, and what is cannot be read. PAYLOAD_KEY_INVALID. */
export async function readDataConverter(keyFile: string | undefined): Promise<DataConverter> {
  return {
    failureConverterPath: fileURLToPath(new URL('./failure-converter.cjs', import.meta.url)),
    payloadCodecs: [createPayloadCodec(keyFile === undefined ? [] : await readPayloadKeys(keyFile))],
  };
}
