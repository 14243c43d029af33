/**
 * Events of a boot log in words: the names of their types (TCG PC Client Platform Firmware Profile §10.4.1) and, in short, what their data say
 * (§10.2). For people: data that are not as their type has them are shown as text or bytes, and are no error.
 */
import { plainText } from '../domain/boot-events.js';

export const EV_NO_ACTION = 0x00000003;

const NAMES: Readonly<Record<number, string>> = {
  0x00000000: 'EV_PREBOOT_CERT',
  0x00000001: 'EV_POST_CODE',
  0x00000002: 'EV_UNUSED',
  [EV_NO_ACTION]: 'EV_NO_ACTION',
  0x00000004: 'EV_SEPARATOR',
  0x00000005: 'EV_ACTION',
  0x00000006: 'EV_EVENT_TAG',
  0x00000007: 'EV_S_CRTM_CONTENTS',
  0x00000008: 'EV_S_CRTM_VERSION',
  0x00000009: 'EV_CPU_MICROCODE',
  0x0000000a: 'EV_PLATFORM_CONFIG_FLAGS',
  0x0000000b: 'EV_TABLE_OF_DEVICES',
  0x0000000c: 'EV_COMPACT_HASH',
  0x0000000d: 'EV_IPL',
  0x0000000e: 'EV_IPL_PARTITION_DATA',
  0x0000000f: 'EV_NONHOST_CODE',
  0x00000010: 'EV_NONHOST_CONFIG',
  0x00000011: 'EV_NONHOST_INFO',
  0x00000012: 'EV_OMIT_BOOT_DEVICE_EVENTS',
  0x80000001: 'EV_EFI_VARIABLE_DRIVER_CONFIG',
  0x80000002: 'EV_EFI_VARIABLE_BOOT',
  0x80000003: 'EV_EFI_BOOT_SERVICES_APPLICATION',
  0x80000004: 'EV_EFI_BOOT_SERVICES_DRIVER',
  0x80000005: 'EV_EFI_RUNTIME_SERVICES_DRIVER',
  0x80000006: 'EV_EFI_GPT_EVENT',
  0x80000007: 'EV_EFI_ACTION',
  0x80000008: 'EV_EFI_PLATFORM_FIRMWARE_BLOB',
  0x80000009: 'EV_EFI_HANDOFF_TABLES',
  0x8000000a: 'EV_EFI_PLATFORM_FIRMWARE_BLOB2',
  0x8000000b: 'EV_EFI_HANDOFF_TABLES2',
  0x8000000c: 'EV_EFI_VARIABLE_BOOT2',
  0x80000010: 'EV_EFI_HCRTM_EVENT',
  0x800000e0: 'EV_EFI_VARIABLE_AUTHORITY',
  0x800000e1: 'EV_EFI_SPDM_FIRMWARE_BLOB',
  0x800000e2: 'EV_EFI_SPDM_FIRMWARE_CONFIG',
  0x800000e3: 'EV_EFI_SPDM_DEVICE_POLICY',
  0x800000e4: 'EV_EFI_SPDM_DEVICE_AUTHORITY',
};

const DESCRIPTIONS: Readonly<Record<string, (data: Buffer) => string | null>> = {
  EV_EFI_VARIABLE_DRIVER_CONFIG: variable,
  EV_EFI_VARIABLE_BOOT: variable,
  EV_EFI_VARIABLE_BOOT2: variable,
  EV_EFI_VARIABLE_AUTHORITY: variable,
  EV_EFI_BOOT_SERVICES_APPLICATION: image,
  EV_EFI_BOOT_SERVICES_DRIVER: image,
  EV_EFI_RUNTIME_SERVICES_DRIVER: image,
  EV_EFI_PLATFORM_FIRMWARE_BLOB2: (data) => described(data, 'firmware'),
  EV_EFI_HANDOFF_TABLES2: (data) => described(data, 'tables'),
  EV_EVENT_TAG: tagged,
  EV_EFI_GPT_EVENT: () => 'partition table',
};

export function typeName(type: number): string {
  return NAMES[type] ?? `0x${type.toString(16).padStart(8, '0')}`;
}

export function describeEvent(type: number, data: Buffer): string {
  return plainText(DESCRIPTIONS[typeName(type)]?.(data) ?? text(data) ?? someBytes(data));
}

/** UEFI_VARIABLE_DATA: a GUID, the lengths of name (in characters) and value, both. */
function variable(data: Buffer): string | null {
  if (data.length < 32) return null;
  const [nameBytes, valueBytes] = [data.readBigUInt64LE(16) * 2n, data.readBigUInt64LE(24)];
  if (32n + nameBytes + valueBytes !== BigInt(data.length)) return null;
  const value = data.subarray(32 + Number(nameBytes));
  return `variable ${utf16(data.subarray(32, 32 + Number(nameBytes)))}${value.length <= 4 ? ` = ${value.toString('hex') || 'nothing'}` : `, ${value.length} bytes`}`;
}

/** UEFI_IMAGE_LOAD_EVENT: where the image is in memory, its length, where it was linked to, the length of its device path, and that. */
function image(data: Buffer): string | null {
  if (data.length < 32 || data.readBigUInt64LE(24) !== BigInt(data.length - 32)) return null;
  const path = filePath(data.subarray(32));
  return path === '' ? 'image, not from a file' : `image ${path}`;
}

/** The File Path nodes (type 4, subtype 4) of an EFI device path. */
function filePath(nodes: Buffer): string {
  let path = '';
  for (let at = 0; at + 4 <= nodes.length; ) {
    const length = nodes.readUInt16LE(at + 2);
    if (length < 4) break;
    if (nodes[at] === 4 && nodes[at + 1] === 4) path += utf16(nodes.subarray(at + 4, at + length));
    at += length;
  }
  return path;
}

/** UEFI_PLATFORM_FIRMWARE_BLOB2 and UEFI_HANDOFF_TABLE_POINTERS2 begin with a text and its length. */
function described(data: Buffer, what: string): string | null {
  const length = data[0] ?? 0;
  return length === 0 || data.length < 1 + length ? null : `${what} ${text(data.subarray(1, 1 + length)) ?? ''}`;
}

/** TCG_PCClientTaggedEvent: an id, the length of what follows, and that. */
function tagged(data: Buffer): string | null {
  if (data.length < 8 || data.readUInt32LE(4) !== data.length - 8) return null;
  return `tag ${data.readUInt32LE(0).toString(16)}, ${text(data.subarray(8)) ?? someBytes(data.subarray(8))}`;
}

function text(data: Buffer): string | null {
  for (const shown of [data.toString('latin1').replace(/\0+$/, ''), utf16(data)]) if (/^[\x20-\x7e]{2,}$/.test(shown)) return shown;
  return null;
}

function utf16(data: Buffer): string {
  return data.toString('utf16le').replace(/\0+$/, '');
}

function someBytes(data: Buffer): string {
  return data.length <= 8 ? `data ${data.toString('hex') || 'none'}` : `${data.length} bytes`;
}
