/** The two sets of activities, by where they run. Workflows import the types only. */
import { createAttestation } from './attest.js';
import { createClaims } from './claims.js';
import { createCopying } from './copy.js';
import { atTheEdge } from './edge.js';
import { createFencing } from './fencing.js';
import { CONTROL_INPUTS, HOST_INPUTS } from './inputs.js';
import { createPreflight } from './preflight.js';
import { createPreparation } from './prepare.js';
import { createReceipts } from './receipts.js';
import { createReinstatement } from './reinstate.js';
import { createRecording } from './record.js';
import { createSealing } from './seal.js';
import type { HostServices } from './services.js';
import { createSettlement } from './settle.js';
import { createStateActivities } from './state.js';
import { createVerification } from './verify.js';
import { createVmActivities } from './vm.js';

/** Activities of one host, on task queue `host-<hostId>`. */
export function createHostActivities(services: HostServices) {
  const settlement = createSettlement(services);
  const { gatherAhead, ...sealing } = createSealing(services, settlement);
  const { settleDestination, settleSource, resolveSource } = settlement;
  return atTheEdge(services.hostId, HOST_INPUTS, {
    ...createPreflight(services),
    ...createAttestation(services, settlement, { gatherAhead }),
    ...sealing,
    ...createPreparation(services),
    ...createCopying(services, settlement),
    ...createVerification(services, settlement),
    ...createVmActivities(services),
    ...createFencing(services, settlement),
    ...createClaims(services, settlement),
    ...createReinstatement(services, settlement),
    ...createReceipts(services),
    ...createStateActivities(services),
    settleDestination,
    settleSource,
    resolveSource,
  });
}
export type HostActivities = ReturnType<typeof createHostActivities>;

/** Activities that touch no host, on the control worker's queue. */
export function createControlActivities(options: { readonly evidenceDir: string }) {
  return atTheEdge('the control worker', CONTROL_INPUTS, createRecording(options));
}
export type ControlActivities = ReturnType<typeof createControlActivities>;
