/** The drivers by name: what runs the VMs of a host, and the vTPMs that go with it. */
import type { HostServices } from '../activities/services.js';
import type { HostAccess } from '../host/port.js';
import { createFakeHypervisor } from '../hypervisor/fake/driver.js';
import { createFakeVtpmManager } from '../hypervisor/fake/vtpm.js';
import { createQemu } from '../hypervisor/qemu/driver.js';
import { createSwtpmManager } from '../tpm/swtpm.js';
import type { HostConfig } from './config.js';

type Drivers = Pick<HostServices, 'hypervisor' | 'vtpms'>;

const DRIVERS: { readonly [K in HostConfig['hypervisor']]: (access: HostAccess, config: HostConfig) => Drivers } = {
  qemu: (access, { hostId, stateDir }) => ({
    hypervisor: createQemu({ access, hostId }),
    vtpms: createSwtpmManager({ access, hostId, caDir: `${stateDir}/vtpm-ca` }),
  }),
  fake: (access, { hostId, runDir }) => ({
    hypervisor: createFakeHypervisor({ access, hostId, runDir }),
    vtpms: createFakeVtpmManager({ access, hostId, runDir }),
  }),
};

export function createDrivers(access: HostAccess, config: HostConfig): Drivers {
  return DRIVERS[config.hypervisor](access, config);
}
