/**
 * What Kororā keeps in the NV memory of a host's TPM, where no backup of a disk brings an old value back: a counter, and a small
 * memory. Read and written with the owner's authorization, which is empty; the indices are of the owner's range (Part 2 §13.2, TCG
 * registry of reserved handles).
 *
 *   0x01806B01  counter of the ownership records (host/ledger.ts): TPM_NT_COUNTER, 8 bytes
 *   0x01806B02  serial and digest of the newest trust bundle that was seen (workers/trust.ts): ordinary, 40 bytes
 */
import { refuse } from '../domain/failures.js';
import type { MonotonicCounter, NvMemory } from './port.js';
import { RESPONSE, STDOUT, type ToolOutcome, type TpmTools } from './tools.js';

const COUNTER = { index: '0x1806b01', bytes: 8, attributes: 'nt=counter|ownerread|ownerwrite|no_da' } as const;
const NEWEST_BUNDLE = { index: '0x1806b02', bytes: 40, attributes: 'ownerread|ownerwrite|no_da' } as const;
type NvIndex = Readonly<Record<'index' | 'attributes', string>> & { readonly bytes: number };
const OWNER = ['-C', 'o'] as const;

/** TPM2_NV_Increment and TPM2_NV_Read (Part 3 §31.8, §31.13). Deleted and made again it goes on above every value that a counter of this TPM ever had. */
export function createNvCounter(tools: TpmTools, hostId: string): MonotonicCounter {
  const read = async (): Promise<number | null> => {
    const content = await readIndex(tools, COUNTER.index);
    if (content === null) return null;
    const value = content.length === COUNTER.bytes ? Number(content.readBigUInt64BE()) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw refuse('TPM_COMMAND_FAILED', { command: 'tpm2_nvread', host: hostId, problem: `${COUNTER.index} holds no counter: ${content.toString('hex')}` });
    return value;
  };
  return {
    read: () => tools.exclusive(read),
    raise: () =>
      tools.exclusive(async () => {
        await orDefined(tools, COUNTER, () => tools.attempt('tpm2_nvincrement', [...OWNER, COUNTER.index, '-Q']));
        const value = await read();
        if (value === null) throw refuse('TPM_COMMAND_FAILED', { command: 'tpm2_nvincrement', host: hostId, problem: `${COUNTER.index} is gone` });
        return value;
      }),
  };
}

/** TPM2_NV_Write (Part 3 §31.7). */
export function createNvMemory(tools: TpmTools, hostId: string): NvMemory {
  const { index, bytes } = NEWEST_BUNDLE;
  const read = async (): Promise<Buffer | null> => {
    const content = await readIndex(tools, index);
    if (content === null || content.length === bytes) return content;
    throw refuse('TPM_COMMAND_FAILED', { command: 'tpm2_nvread', host: hostId, problem: `${index} holds ${content.length} bytes instead of ${bytes}: something else made it` });
  };
  return {
    read: () => tools.exclusive(read),
    write: (content) =>
      tools.exclusive(async () => {
        if (content.length !== bytes) throw new RangeError(`${content.length} bytes instead of ${bytes}`);
        await orDefined(tools, NEWEST_BUNDLE, () => tools.attempt('tpm2_nvwrite', [...OWNER, index, '-i', '-', '-Q'], content));
      }),
  };
}

/** TPM2_NV_DefineSpace (Part 3 §31.3) where the index is not there, and the same again. */
async function orDefined(tools: TpmTools, { index, bytes, attributes }: NvIndex, use: () => Promise<ToolOutcome>): Promise<void> {
  let used = await use();
  if (!used.ok && used.responseCode === RESPONSE.badHandle) {
    const defined = await tools.attempt('tpm2_nvdefine', [index, ...OWNER, '-s', String(bytes), '-g', 'sha256', '-a', attributes, '-Q']);
    if (!defined.ok && defined.responseCode !== RESPONSE.nvDefined) throw defined.error;
    used = await use();
  }
  if (!used.ok) throw used.error;
}

/** Null where there is none, or nothing was written to it yet. */
async function readIndex(tools: TpmTools, index: string): Promise<Buffer | null> {
  const found = await tools.attempt('tpm2_nvread', [...OWNER, index, '-o', STDOUT]);
  if (found.ok) return found.stdout;
  if (found.responseCode === RESPONSE.badHandle || found.responseCode === RESPONSE.nvUninitialized) return null;
  throw found.error;
}
