/** Which of a VM's networks a host has. Reads only; domain/preflight.ts judges. */
import type { NetworkFacts } from '../domain/preflight.js';
import type { VmDocument } from '../domain/vm.js';
import type { HostAccess } from '../host/port.js';

/** Linux gives every bridge, and nothing else, a folder of this name (Documentation/ABI/testing/sysfs-class-net). */
export async function networkFacts(access: HostAccess, { networks }: VmDocument): Promise<NetworkFacts[]> {
  return Promise.all(networks.map(async ({ id, bridge }) => ({ id, isVisible: (await access.stat(`/sys/class/net/${bridge}/bridge`))?.kind === 'directory' })));
}
