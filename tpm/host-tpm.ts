/**
 * The TPM of a host through tpm2-tools: AK, quotes, wrapping keys under PCR policy, sealing at rest.
 * Two persistent keys, made on first use with empty auth values; beside them only what nv.ts names stays in the TPM.
 *
 *   0x81010002  AK: primary of the endorsement hierarchy, restricted, ECDSA P-256 with SHA-256
 *   0x81000002  storage key: primary of the owner hierarchy, parent of wrapping keys and sealed data
 *
 * The AK is a primary rather than a child of the EK because it needs noDA, which tpm2_createak
 * cannot set: without it three unclean stops lock the AK out (0x921). Primaries also come back with
 * the same name after the handle was evicted. Credential activation asks only that the AK be loaded.
 *
 * One HostTpm at a time makes wrapping keys in a `stateDir` (the host's worker). Judges no evidence (verify.ts does that, on the other side).
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { AttestationKeyPublic, PcrValues, SignedAttestation } from '../domain/attestation.js';
import { type KororaError, problemOf, refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';
import { marshalEccPoint, nameOf, pcrDigestOf, pcrPolicyDigest, sized } from './marshal.js';
import type { HostTpm, WrappingKeyHandle } from './port.js';
import { parseAttest, parseEccPoint, parseSizedBuffers, splitAttestation } from './structures.js';
import { createNvCounter, createNvMemory } from './nv.js';
import { OPERATION_PREFIX, RESPONSE, STDOUT, type ToolOutcome, createTpmTools } from './tools.js';
import { checkAttestationKey, keyObjectOf } from './verify.js';
import { ephemeralPointOf, openWrapped } from './wrap.js';

export interface HostTpmOptions {
  readonly access: HostAccess;
  readonly hostId: string;
  /** As tpm2-tools take it: `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`. */
  readonly tcti: string;
  /** Private folder on the host for key contexts; holds no secret in the clear. */
  readonly stateDir: string;
}

export const AK = { handle: '0x81010002', hierarchy: 'e', algorithm: 'ecc256:ecdsa-sha256:null', attributes: 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda' };
const STORAGE_KEY = { handle: '0x81000002', hierarchy: 'o', algorithm: 'ecc256:null:aes128cfb', attributes: 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda' };

/** No userWithAuth: its use needs the policy. No adminWithPolicy: TPM2_Certify needs the empty auth value only. */
const WRAPPING_KEY_ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|decrypt|noda';
const SEALED_ATTRIBUTES = 'fixedtpm|fixedparent|userwithauth|noda';
/** MAX_SYM_DATA, Part 2 §11.1.14. */
const SEALED_BYTES_MAX = 128;

/** Of the folder of a move's wrapping key. */
const WRAPPING_PREFIX = 'wrapping-';

export function createHostTpm({ access, hostId, tcti, stateDir }: HostTpmOptions): HostTpm {
  const tools = createTpmTools({ access, hostId, tcti, stateDir });
  const broken = (command: string, cause: unknown) => refuse('TPM_COMMAND_FAILED', { command, host: hostId, problem: problemOf(cause) }, cause);

  /** What a tool wrote, read by `parse`; anything unexpected in it is a failure of that tool. */
  const output = async <T>(tool: string, args: readonly string[], parse: (stdout: Buffer) => T, input?: Buffer): Promise<T> => {
    const stdout = await tools.run(tool, args, input);
    try {
      return parse(stdout);
    } catch (cause) {
      throw broken(tool, cause);
    }
  };

  /** TPMT_PUBLIC of the key at a persistent handle, made there if the handle is free. */
  const ensurePersistent = async (key: typeof AK): Promise<Buffer> => {
    const read = ['-c', key.handle, '-f', 'tss', '-o', STDOUT, '-Q'];
    const found = await tools.attempt('tpm2_readpublic', read);
    if (found.ok) return publicAreaIn(found.stdout);
    if (found.responseCode !== RESPONSE.badHandle) throw found.error;
    await tools.withFolder(async (folder) => {
      const context = join(folder, 'primary.ctx');
      await tools.run('tpm2_createprimary', ['-C', key.hierarchy, '-G', key.algorithm, '-g', 'sha256', '-a', key.attributes, '-c', context, '-Q']);
      await tools.run('tpm2_evictcontrol', ['-C', 'o', '-c', context, key.handle, '-Q']);
    });
    return output('tpm2_readpublic', read, publicAreaIn);
  };

  const attestationKey = memo(async (): Promise<AttestationKeyPublic> => {
    const publicArea = await ensurePersistent(AK);
    const key = asNamed(publicArea);
    const problem = checkAttestationKey(key);
    if (problem) throw broken('tpm2_readpublic', new Error(`${AK.handle} holds another key: ${problem}`));
    return key;
  });
  const storageKey = memo(() => ensurePersistent(STORAGE_KEY));

  const readPcrs = (pcrs: readonly number[]) =>
    output('tpm2_pcrread', [selection(pcrs), '-F', 'values', '-o', STDOUT, '-Q'], (stdout) => valuesIn(pcrs, stdout));

  const quoteOnce = async (pcrs: readonly number[], qualifyingData: Buffer) => {
    const args = ['-c', AK.handle, '-l', selection(pcrs), '-q', qualifyingData.toString('hex'), '-g', 'sha256'];
    const files = ['-s', STDOUT, '-m', STDOUT, '-o', STDOUT, '-F', 'values', '-Q'];
    return output('tpm2_quote', [...args, ...files], (stdout) => {
      const { signature, attest, tail } = splitAttestation(stdout, 'signature-first', ascending(pcrs).length * 32);
      const pcrValues = valuesIn(pcrs, tail);
      const { attested } = parseAttest(attest);
      if (attested.kind !== 'quote' || attested.pcrDigest.toString('hex') !== pcrDigestOf(pcrs, pcrValues)) throw new Error('a PCR changed while it was quoted');
      return { ...asSigned(attest, signature), pcrValues };
    });
  };

  const createWrappingKey = async (pcrs: readonly number[], folder: string): Promise<WrappingKeyHandle> => {
    const context = join(folder, 'key.ctx');
    const values = await readPcrs(pcrs);
    const policy = pcrPolicyDigest(pcrs, values);
    tools.flushAfterwards('objects');
    const create = ['-C', STORAGE_KEY.handle, '-G', 'ecc256:ecdh', '-g', 'sha256', '-a', WRAPPING_KEY_ATTRIBUTES, '-L', policy, '-u', STDOUT, '-c', context, '-Q'];
    const certify = ['-c', context, '-C', AK.handle, '-g', 'sha256', '-o', STDOUT, '-s', STDOUT, '-Q'];
    const publicArea = await output('tpm2_create', create, publicAreaIn);
    const { attest, signature } = await output('tpm2_certify', certify, (stdout) => splitAttestation(stdout, 'attest-first'));
    return handleOf({ ...asNamed(publicArea), certification: asSigned(attest, signature) }, { pcrs, pcrDigest: pcrDigestOf(pcrs, values) }, folder);
  };

  const handleOf = (
    evidence: WrappingKeyHandle['evidence'],
    { pcrs, pcrDigest }: { readonly pcrs: readonly number[]; readonly pcrDigest: string },
    folder: string,
  ): WrappingKeyHandle => {
    let isForgotten = false;
    /** `-p pcr:` opens the policy session in the same run, but digests 8 PCRs at most; a given digest has no such limit. */
    const withPolicy = async (use: (policy: string) => Promise<ToolOutcome>): Promise<ToolOutcome> => {
      if (pcrs.length <= 8) return use(`pcr:${selection(pcrs)}`);
      const session = join(folder, 'session.ctx');
      await tools.run('tpm2_startauthsession', ['--policy-session', '-S', session]);
      try {
        const asserted = await tools.attempt('tpm2_policypcr', ['-S', session, '-l', selection(pcrs), pcrDigest, '-Q']);
        return asserted.ok ? await use(`session:${session}`) : asserted;
      } finally {
        await tools.attempt('tpm2_flushcontext', [session]);
      }
    };
    const keyAgreement = async (point: Buffer): Promise<Buffer> => {
      if (isForgotten) throw refuse('SESSION_LOST', { host: hostId });
      const pointFile = join(folder, 'ephemeral.point');
      await access.writeFileDurably(pointFile, point);
      tools.flushAfterwards('objects', 'sessions'); // `-p pcr:` leaves its session loaded
      const outcome = await withPolicy((policy) => tools.attempt('tpm2_ecdhzgen', ['-c', join(folder, 'key.ctx'), '-p', policy, '-u', pointFile, '-o', STDOUT]));
      if (!outcome.ok) throw isPolicyRefusal(outcome.responseCode) ? refuse('UNSEAL_REFUSED', { host: hostId }, outcome.error) : outcome.error;
      return parseEccPoint(outcome.stdout).x;
    };
    return {
      evidence,
      async unwrap(wrapped, context) {
        const point = ephemeralPointOf(wrapped);
        if (point === null) throw refuse('SECRETS_INVALID', { host: hostId, problem: 'the ephemeral key is not a point of P-256' });
        const z = await tools.exclusive(() => keyAgreement(marshalEccPoint(point)));
        const secret = openWrapped(z, { publicArea: evidence.publicArea, wrapped, context });
        z.fill(0);
        if (secret === null) throw refuse('SECRETS_INVALID', { host: hostId, problem: 'the ciphertext does not authenticate' });
        return secret;
      },
      async forget() {
        isForgotten = true;
        await tools.exclusive(() => access.remove(folder));
      },
    };
  };

  return {
    ownershipCounter: createNvCounter(tools, hostId),
    newestBundle: createNvMemory(tools, hostId),

    removeLeftovers: () =>
      tools.exclusive(async () => {
        await tools.flush('objects', 'sessions');
        const prefixes = [WRAPPING_PREFIX, OPERATION_PREFIX];
        for (const name of await access.list(stateDir)) if (prefixes.some((prefix) => name.startsWith(prefix))) await access.remove(join(stateDir, name));
      }),

    ensureAttestationKey: () => tools.exclusive(attestationKey),

    readPcrs: (pcrs) => tools.exclusive(() => readPcrs(pcrs)),
    readClock: () => tools.exclusive(() => output('tpm2_readclock', [], clockIn)),

    quote: (pcrs, qualifyingData) =>
      tools.exclusive(async () => {
        await attestationKey();
        // The tool reads the values after the quote: an extend in between fails it once, not twice.
        return quoteOnce(pcrs, qualifyingData).catch((error: KororaError) => (error.code === 'TPM_COMMAND_FAILED' ? quoteOnce(pcrs, qualifyingData) : Promise.reject(error)));
      }),

    createWrappingKey: (pcrs) =>
      tools.exclusive(async () => {
        await attestationKey();
        await storageKey();
        const folder = join(stateDir, `${WRAPPING_PREFIX}${randomUUID()}`);
        await access.ensureDirectory(folder);
        try {
          return await createWrappingKey(pcrs, folder);
        } catch (error) {
          await access.remove(folder).catch(() => undefined); // hides nothing that went before it
          throw error;
        }
      }),

    async sealAtRest(secret) {
      if (secret.length === 0 || secret.length > SEALED_BYTES_MAX) throw new RangeError(`a TPM seals 1 to ${SEALED_BYTES_MAX} bytes, not ${secret.length}`);
      return tools.exclusive(async () => {
        await storageKey();
        const args = ['-C', STORAGE_KEY.handle, '-g', 'sha256', '-a', SEALED_ATTRIBUTES, '-i', '-', '-u', STDOUT, '-r', STDOUT, '-Q'];
        return output('tpm2_create', args, (stdout) => {
          const [publicArea, privateArea] = parseSizedBuffers(stdout, 2) as [Buffer, Buffer];
          return { publicArea: sized(publicArea).toString('base64'), privateArea: sized(privateArea).toString('base64') };
        }, secret);
      });
    },

    unsealAtRest: (blob) =>
      tools.exclusive(async () => {
        await storageKey();
        return tools.withFolder(async (folder) => {
          const path = (name: string) => join(folder, name);
          await access.writeFileDurably(path('public'), Buffer.from(blob.publicArea, 'base64'));
          await access.writeFileDurably(path('private'), Buffer.from(blob.privateArea, 'base64'));
          await tools.run('tpm2_load', ['-C', STORAGE_KEY.handle, '-u', path('public'), '-r', path('private'), '-c', path('sealed.ctx'), '-Q']);
          return tools.run('tpm2_unseal', ['-c', path('sealed.ctx')]);
        });
      }),
  };
}

function selection(pcrs: readonly number[]): string {
  if (pcrs.length === 0) throw new RangeError('no PCR is asked for');
  return `sha256:${ascending(pcrs).join(',')}`;
}

/** Values as the tools write them: 32 bytes each, ascending. */
/** As `tpm2_readclock` prints it: YAML, the clock in ms. */
function clockIn(stdout: Buffer): number {
  const [, clock] = /^ {2}clock: (\d{1,16})$/m.exec(stdout.toString()) ?? [];
  if (clock === undefined) throw new Error('it printed no clock');
  return Number(clock);
}

function valuesIn(pcrs: readonly number[], bytes: Buffer): PcrValues {
  const indices = ascending(pcrs);
  if (bytes.length !== indices.length * 32) throw new Error(`${bytes.length} bytes for ${indices.length} PCRs: the TPM has no SHA-256 bank with all of them`);
  return Object.fromEntries(indices.map((pcr, i) => [String(pcr), bytes.toString('hex', i * 32, i * 32 + 32)]));
}

function ascending(pcrs: readonly number[]): number[] {
  return [...new Set(pcrs)].sort((a, b) => a - b);
}

/** TPMT_PUBLIC in a TPM2B_PUBLIC; a P-256 key. */
function publicAreaIn(bytes: Buffer): Buffer {
  const [publicArea] = parseSizedBuffers(bytes, 1) as [Buffer];
  keyObjectOf(publicArea.toString('base64'));
  return publicArea;
}

function asNamed(publicArea: Buffer): AttestationKeyPublic {
  return { publicArea: publicArea.toString('base64'), name: nameOf(publicArea) };
}

function asSigned(attest: Buffer, signature: Buffer): SignedAttestation {
  return { attest: attest.toString('base64'), signature: signature.toString('base64') };
}

function isPolicyRefusal(responseCode: number | null): boolean {
  return responseCode === RESPONSE.policyFail || responseCode === RESPONSE.pcrChanged || responseCode === RESPONSE.pcrDigestDiffers;
}

/** One successful result kept; a failure is tried again by the next caller. */
function memo<T>(make: () => Promise<T>): () => Promise<T> {
  let made: { readonly value: T } | undefined;
  return async () => (made ??= { value: await make() }).value;
}
