/** domain/boot-events.ts: in which words a PCR's difference is told, by digests and their order alone; and that a log that does not add up tells nothing. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type BootEvent, type BootLog, type ShownLog, eventsBehind, explainDifference, replay } from '../../domain/boot-events.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { type MadeEvent, action, bootOf, eventLog, image, separator, startupLocality } from '../support/event-log.js';

const [SHIM, GRUB, EVIL] = ['\\EFI\\debian\\shimx64.efi', '\\EFI\\debian\\grubx64.efi', '\\EFI\\evil.efi'];
const logOf = (events: readonly MadeEvent[]) => parseEventLog(eventLog(events));
const reference = logOf(bootOf(SHIM, GRUB));
const digestOf = (log: BootLog, what: string) => (log.events.find((event) => event.what === what)?.digest ?? '').slice(0, 16);

interface Changes {
  readonly value?: string;
  readonly shown?: ShownLog;
  readonly kept?: readonly BootEvent[] | null;
}

/** Of a host that booted so, and shows that, unless it shows something else. */
function told(booted: BootLog, { value = replay(booted, 4), shown = booted, kept = reference.events }: Changes = {}, pcr = 4): string {
  return explainDifference({ pcr, value, log: shown, reference: { value: replay(reference, pcr), events: kept } });
}

const booted = (events: readonly MadeEvent[]) => logOf([...bootOf().filter(({ pcr }) => pcr !== 4), separator(4), ...events]);
const calling = action(4, 'Calling EFI Application from Boot Option');
const [shim, grub, evil] = [SHIM, GRUB, EVIL].map((path) => image(path, `content of ${path}`)) as [MadeEvent, MadeEvent, MadeEvent];
const TYPE = 'EV_EFI_BOOT_SERVICES_APPLICATION';

describe('a difference is told', () => {
  it('as an event that is new', () => {
    const log = booted([calling, shim, evil, grub]);
    expect(told(log)).toBe(`event 4 of PCR 4 is new: ${TYPE}, image ${EVIL} (by the log’s word; SHA-256 ${digestOf(log, `image ${EVIL}`)}…)`);
  });

  it('as an event that is missing', () => {
    expect(told(booted([calling, shim]))).toBe(`event 4 of the reference is missing: ${TYPE}, image ${GRUB} (by the log’s word; SHA-256 ${digestOf(reference, `image ${GRUB}`)}…)`);
  });

  it('as one in the place of another', () => {
    expect(told(booted([calling, evil, grub]))).toMatch(/^event 3 of PCR 4 is new: [^;]*evil\.efi [^;]*; SHA-256 \w{16}…\); event 3 of the reference is missing: [^;]*shimx64\.efi [^;]*; SHA-256 \w{16}…\)$/);
  });

  it('as an event more of those that were there', () => {
    expect(told(booted([calling, shim, shim, grub]))).toMatch(/^event 4 of PCR 4 is new: .*shimx64\.efi/);
  });

  it('as another order', () => {
    expect(told(booted([calling, grub, shim]))).toBe('the events of PCR 4 are those of the reference, from event 3 on in another order');
  });

  it('as another locality of the start', () => {
    const log = logOf([startupLocality(3), ...bootOf(SHIM, GRUB)]);
    expect(told(log, { value: replay(log, 0) }, 0)).toBe('the events of PCR 0 are those of the reference; the host’s TPM was started at another locality');
  });

  it('in full for four events, and by the number of the others', () => {
    const text = told(booted([calling, shim, grub, ...['a', 'b', 'c', 'd', 'e', 'f'].map((name) => image(name, name))]));
    expect(text.match(/is new/g)).toHaveLength(4);
    expect(text).toMatch(/; and 2 more$/);
  });

  it('with what is measured said to be so', () => {
    const log = booted([calling, action(4, 'Entering ROM Based Setup'), shim, grub]);
    expect(told(log)).toBe(`event 3 of PCR 4 is new: EV_ACTION, Entering ROM Based Setup (measured; SHA-256 ${digestOf(log, 'Entering ROM Based Setup')}…)`);
  });

  it('between two real boots, without and with Secure Boot', () => {
    const [off, on] = ['ovmf', 'ovmf-secure-boot'].map((name) => {
      const { log, pcrValues } = JSON.parse(readFileSync(new URL(`../support/event-logs/${name}.json`, import.meta.url), 'utf8')) as { log: string; pcrValues: Record<string, string> };
      return { log: parseEventLog(Buffer.from(log, 'base64')), pcrValues };
    }) as [{ log: BootLog; pcrValues: Record<string, string> }, { log: BootLog; pcrValues: Record<string, string> }];
    const between = (pcr: number) => explainDifference({ pcr, value: off.pcrValues[pcr], log: off.log, reference: { value: on.pcrValues[pcr], events: eventsBehind(on.log, on.pcrValues) } });
    expect(between(7)).toMatch(/^event 1 of PCR 7 is new: EV_EFI_VARIABLE_DRIVER_CONFIG, variable SecureBoot = 00 \(measured; .*; event 1 of the reference is missing: EV_EFI_VARIABLE_DRIVER_CONFIG, variable SecureBoot = 01 \(measured; .*; and 6 more$/);
    expect(between(4)).toMatch(/^event 1 of PCR 4 is new: EV_EFI_BOOT_SERVICES_APPLICATION, image kernel \(by the log’s word; SHA-256 \w{16}…\)$/);
    expect(between(10)).toBe('the host’s event log does not add up to its value');
  });
});

describe('nothing is told', () => {
  const log = booted([calling, shim, evil, grub]);

  it('where no log is shown, or none that can be read', () => {
    expect(told(log, { shown: null })).toBe('the host showed no event log');
    expect(told(log, { shown: { problem: 'signature at byte 32: no' } })).toBe('the host’s event log cannot be read: signature at byte 32: no');
  });

  it('by a log that does not add up: one event less, one more, another order, another digest, that of another boot', () => {
    const { events } = log;
    const forged = events.map((event) => (event.what.includes('evil') ? { ...event, digest: 'ab'.repeat(32) } : event));
    for (const shown of [events.slice(0, -1), [...events, ...events.slice(-1)], [...events].reverse(), forged, reference.events]) {
      expect(told(log, { shown: { startupLocality: 0, events: shown } })).toBe('the host’s event log does not add up to its value');
    }
    expect(explainDifference({ pcr: 4, value: undefined, log, reference: { value: replay(reference, 4), events: reference.events } })).toBe('the host’s event log does not add up to its value');
  });

  it('where no log is kept that adds up to the reference', () => {
    for (const kept of [null, [], reference.events.slice(0, -1)]) expect(told(log, { kept })).toBe('no event log is kept for the reference');
  });
});

describe('the type of an event', () => {
  it('and its description make no event new: digests do', () => {
    const renamed = { ...reference, events: reference.events.map((event) => ({ ...event, type: 'EV_ACTION', what: 'something else', isDataMeasured: !event.isDataMeasured })) };
    const log = booted([calling, shim, evil, grub]);
    expect(told(log, { kept: renamed.events })).toBe(told(log));
    expect(told(log, { shown: { ...log, events: log.events.map((event) => ({ ...event, type: 'EV_ACTION' })) } })).toMatch(/^event 4 of PCR 4 is new: EV_ACTION, image [^;]*evil\.efi [^;]*; SHA-256 \w{16}…\)$/);
  });

  it('hides no event: one of the same type and words, with another digest, is new', () => {
    const log = booted([calling, image(SHIM, 'another content'), grub]);
    expect(told(log)).toMatch(/^event 3 of PCR 4 is new: [^;]*shimx64\.efi [^;]*; [^;]*; event 3 of the reference is missing: [^;]*shimx64\.efi/);
  });
});

it('the events behind values are those of the PCRs that the log adds up to', () => {
  const values = { '0': replay(reference, 0), '4': 'ab'.repeat(32), '14': '0'.repeat(64) };
  expect(eventsBehind(reference, values)).toEqual(reference.events.filter(({ pcr }) => pcr === 0));
});
