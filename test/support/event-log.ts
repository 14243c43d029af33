/** Boot event logs made byte by byte, as firmware writes them (TCG PC Client Platform Firmware Profile §10). */
import { createHash } from 'node:crypto';

export const EVENT_TYPE = {
  EV_NO_ACTION: 3, EV_SEPARATOR: 4, EV_ACTION: 5, EV_EVENT_TAG: 6, EV_S_CRTM_VERSION: 8, EV_IPL: 0xd,
  EV_EFI_VARIABLE_DRIVER_CONFIG: 0x80000001, EV_EFI_BOOT_SERVICES_APPLICATION: 0x80000003, EV_EFI_GPT_EVENT: 0x80000006, EV_EFI_PLATFORM_FIRMWARE_BLOB2: 0x8000000a,
} as const;

export const SHA256_ALONE: readonly Algorithm[] = [[0x000b, 32, 'sha256']];
/** TPM_ALG_ID, bytes of a digest, name in node:crypto. */
type Algorithm = readonly [id: number, size: number, name: string];
const SHA1_AND_SHA256: readonly Algorithm[] = [[0x0004, 20, 'sha1'], ...SHA256_ALONE];

export interface MadeEvent {
  readonly pcr: number;
  readonly type: number;
  readonly data: Buffer;
  /** What was measured; left out, it is the data. */
  readonly measured?: Buffer;
}

export const le = (value: number | bigint, bytes: 1 | 2 | 4 | 8): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer.subarray(0, bytes);
};
const utf16 = (text: string) => Buffer.from(text, 'utf16le');

export function specIdEvent(algorithms: readonly Algorithm[] = SHA1_AND_SHA256, vendorInfo = Buffer.alloc(0)): Buffer {
  const sizes = algorithms.flatMap(([id, size]) => [le(id, 2), le(size, 2)]);
  const event = Buffer.concat([Buffer.from('Spec ID Event03\0'), le(0, 4), Buffer.from([0, 2, 105, 2]), le(algorithms.length, 4), ...sizes, le(vendorInfo.length, 1), vendorInfo]);
  return Buffer.concat([le(0, 4), le(EVENT_TYPE.EV_NO_ACTION, 4), Buffer.alloc(20), le(event.length, 4), event]);
}

export function event2({ pcr, type, data, measured = data }: MadeEvent, algorithms: readonly Algorithm[] = SHA1_AND_SHA256): Buffer {
  const digest = (name: string, size: number) => (type === EVENT_TYPE.EV_NO_ACTION ? Buffer.alloc(size) : createHash(name).update(measured).digest());
  const digests = algorithms.flatMap(([id, size, name]) => [le(id, 2), digest(name, size)]);
  return Buffer.concat([le(pcr, 4), le(type, 4), le(algorithms.length, 4), ...digests, le(data.length, 4), data]);
}

export function eventLog(events: readonly MadeEvent[], algorithms: readonly Algorithm[] = SHA1_AND_SHA256): Buffer {
  return Buffer.concat([specIdEvent(algorithms), ...events.map((event) => event2(event, algorithms))]);
}

export const startupLocality = (locality: number): MadeEvent => ({ pcr: 0, type: EVENT_TYPE.EV_NO_ACTION, data: Buffer.concat([Buffer.from('StartupLocality\0'), le(locality, 1)]) });
export const separator = (pcr: number): MadeEvent => ({ pcr, type: EVENT_TYPE.EV_SEPARATOR, data: Buffer.alloc(4) });
export const action = (pcr: number, text: string): MadeEvent => ({ pcr, type: EVENT_TYPE.EV_ACTION, data: Buffer.from(text) });

/** UEFI_VARIABLE_DATA. */
export function variable(name: string, value: Buffer): MadeEvent {
  const data = Buffer.concat([Buffer.alloc(16, 0x61), le(name.length, 8), le(value.length, 8), utf16(name), value]);
  return { pcr: 7, type: EVENT_TYPE.EV_EFI_VARIABLE_DRIVER_CONFIG, data };
}

/** UEFI_IMAGE_LOAD_EVENT of a file below a hard drive; the image itself is what was measured. */
export function image(path: string, content: string): MadeEvent {
  const name = utf16(`${path}\0`);
  const nodes = Buffer.concat([Buffer.from([0x04, 0x01]), le(42, 2), Buffer.alloc(38), Buffer.from([0x04, 0x04]), le(4 + name.length, 2), name, Buffer.from([0x7f, 0xff, 0x04, 0x00])]);
  const data = Buffer.concat([le(0x7e000000, 8), le(4096, 8), le(0, 8), le(nodes.length, 8), nodes]);
  return { pcr: 4, type: EVENT_TYPE.EV_EFI_BOOT_SERVICES_APPLICATION, data, measured: Buffer.from(content) };
}

/** Of a machine that boots `images` one after the other. */
export function bootOf(...images: readonly string[]): readonly MadeEvent[] {
  return [
    { pcr: 0, type: EVENT_TYPE.EV_S_CRTM_VERSION, data: utf16('1.0\0') },
    variable('SecureBoot', Buffer.from([1])),
    variable('db', Buffer.alloc(40, 7)),
    ...[0, 4, 7].map(separator),
    action(4, 'Calling EFI Application from Boot Option'),
    ...images.map((path) => image(path, `content of ${path}`)),
  ];
}
