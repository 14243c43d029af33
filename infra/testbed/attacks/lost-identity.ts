/** Where a worker of the attacks (host-worker.ts) leaves the channel key of its newest session, which no worker of Kororā does. */
export function lostIdentityFile(insideFile: string, host: string): string {
  return `${insideFile}.${host}`;
}
