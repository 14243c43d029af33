/**
 * Guests that already run, for tests of drivers in which the boot is not what is tested: the first is booted, and its image kept;
 * each later one is loaded from that, as the destination of a move would be. A guest that comes back counts on from where it was
 * recorded, with the vTPM of then, into a console that begins anew.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { countsIn } from '../../infra/testbed/guest-console.js';
import { until } from '../../infra/testbed/until.js';
import type { DriverSide, DriverTestbed } from './driver-contract.js';

/** Of the testbed's guest as `bed.vm()` has it. Each runs and counts. */
export function runningGuests(bed: DriverTestbed): (side: DriverSide) => Promise<void> {
  const imageFile = join(bed.folder, 'running-guest.image');
  let isRecorded = false;

  async function record({ hypervisor, place }: DriverSide): Promise<void> {
    const { vmId } = bed.vm();
    const outgoing = await hypervisor.openOutgoing(bed.vm(), place.runDir, DEFAULT_LIMITS);
    const writing = pipeline(outgoing.image, createWriteStream(imageFile));
    await outgoing.paused;
    await Promise.all([outgoing.release(), writing]);
    await outgoing.close();
    await hypervisor.ensureRunning(vmId, place.runDir);
    isRecorded = true;
  }

  async function load({ hypervisor, place }: DriverSide): Promise<void> {
    const incoming = await hypervisor.openIncoming(bed.vm(), place);
    await Promise.all([pipeline(createReadStream(imageFile), incoming.sink), incoming.loaded()]);
    await incoming.activate();
    await incoming.close();
  }

  return async (side) => {
    await side.ensureVtpm();
    if (isRecorded) await load(side);
    else {
      await side.hypervisor.start(bed.vm(), side.place);
      await until('the counter of a guest that boots', side.consoleLog, (text) => countsIn(text).length > 2);
      await record(side);
    }
    await until('the counter of a guest that runs', side.consoleLog, (text) => countsIn(text).length > 2);
  };
}
