/**
 * Parser of the boot event log in its crypto agile form (TCG PC Client Platform Firmware Profile §10), as Linux shows it in
 * binary_bios_measurements: a TCG_PCR_EVENT with the Spec ID event, then TCG_PCR_EVENT2s; all numbers little-endian.
 *
 * Strict, as structures.ts: what is not exactly that is a StructureError. Believes nothing: whether the events are those that the TPM has seen,
 * only a replay against values that it signed shows (domain/boot-events.ts). No I/O.
 */
import { createHash } from 'node:crypto';
import { BOOT_EVENTS_MAX, type BootEvent, type BootLog, EVENT_LOG_BYTES_MAX, STARTUP_LOCALITIES } from '../domain/boot-events.js';
import { EV_NO_ACTION, describeEvent, typeName } from './event-types.js';
import { ALGORITHM, Reader, StructureError, whole } from './structures.js';

const SPEC_ID_SIGNATURE = Buffer.from('Spec ID Event03\0');
const STARTUP_LOCALITY_SIGNATURE = Buffer.from('StartupLocality\0');
/** TPM_ALG_ID → bytes of a digest. */
type DigestSizes = ReadonlyMap<number, number>;

export function parseEventLog(bytes: Buffer): BootLog {
  if (bytes.length > EVENT_LOG_BYTES_MAX) throw new StructureError('event log', 0, `${bytes.length} bytes, at most ${EVENT_LOG_BYTES_MAX} expected`);
  const reader = new LogReader(bytes);
  const sizes = readSpecIdEvent(reader);
  const localities: number[] = [];
  const events: BootEvent[] = [];
  for (let count = 0; reader.left > 0; count += 1) {
    const start = reader.offset;
    if (count === BOOT_EVENTS_MAX) throw new StructureError('event log', start, `more than ${BOOT_EVENTS_MAX} events`);
    const { pcr, type, digest, data } = readEvent(reader, sizes);
    if (type !== EV_NO_ACTION) {
      if (pcr > 23) throw new StructureError('pcrIndex', start, `no PCR ${pcr}`);
      const isDataMeasured = createHash('sha256').update(data).digest().equals(digest);
      events.push({ pcr, type: typeName(type), digest: digest.toString('hex'), what: describeEvent(type, data), isDataMeasured });
    } else if (data.subarray(0, 16).equals(STARTUP_LOCALITY_SIGNATURE)) {
      if (localities.length > 0) throw new StructureError('StartupLocality', start, 'a second one');
      localities.push(whole(data.subarray(16), 'StartupLocality', (rest) => rest.oneOf('StartupLocality', 1, STARTUP_LOCALITIES)));
    }
  }
  return { startupLocality: localities[0] ?? 0, events };
}

class LogReader extends Reader {
  uintLE(field: string, length: 2 | 4): number {
    return this.bytes(field, length).readUIntLE(0, length);
  }
}

/** TCG_PCR_EVENT of TCG_EfiSpecIDEvent. */
function readSpecIdEvent(reader: LogReader): DigestSizes {
  const pcr = reader.uintLE('pcrIndex', 4);
  const type = reader.uintLE('eventType', 4);
  const digest = reader.bytes('digest', 20);
  if (pcr !== 0 || type !== EV_NO_ACTION || digest.some((byte) => byte !== 0)) throw new StructureError('Spec ID event', 0, 'the log does not begin with it');
  const start = reader.offset + 4;
  const event = new LogReader(reader.bytes('event', reader.uintLE('eventSize', 4)));
  if (!event.bytes('signature', 16).equals(SPEC_ID_SIGNATURE)) throw new StructureError('signature', start, 'not Spec ID Event03: no crypto agile log');
  event.bytes('platformClass and specVersion', 8);
  const count = event.uintLE('numberOfAlgorithms', 4);
  if (count === 0 || count > 16) throw new StructureError('numberOfAlgorithms', start + 24, `${count}, 1 to 16 expected`);
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i += 1) {
    const [algorithm, size] = [event.uintLE('algorithmId', 2), event.uintLE('digestSize', 2)];
    if (sizes.has(algorithm)) throw new StructureError('algorithmId', start + event.offset - 4, `0x${algorithm.toString(16)} a second time`);
    sizes.set(algorithm, size);
  }
  if (sizes.get(ALGORITHM.sha256) !== 32) throw new StructureError('digestSizes', start + 28, 'no SHA-256 of 32 bytes');
  event.bytes('vendorInfo', event.uint('vendorInfoSize', 1));
  event.end('Spec ID event');
  return sizes;
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: LogReader, sizes: DigestSizes): { readonly pcr: number; readonly type: number; readonly digest: Buffer; readonly data: Buffer } {
  const pcr = reader.uintLE('pcrIndex', 4);
  const type = reader.uintLE('eventType', 4);
  const start = reader.offset;
  const count = reader.uintLE('digests.count', 4);
  if (count > sizes.size) throw new StructureError('digests.count', start, `${count}, at most ${sizes.size} expected`);
  const digests = new Map<number, Buffer>();
  for (let i = 0; i < count; i += 1) {
    const at = reader.offset;
    const algorithm = reader.uintLE('digests.hashAlg', 2);
    const size = sizes.get(algorithm);
    if (size === undefined || digests.has(algorithm)) throw new StructureError('digests.hashAlg', at, `unexpected value 0x${algorithm.toString(16)}`);
    digests.set(algorithm, reader.bytes('digest', size));
  }
  const digest = digests.get(ALGORITHM.sha256);
  if (!digest) throw new StructureError('digests', start, 'no SHA-256 digest');
  return { pcr, type, digest, data: reader.bytes('event', reader.uintLE('eventSize', 4)) };
}
