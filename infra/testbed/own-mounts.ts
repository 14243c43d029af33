/** Lets a process of the testbed have mounts of its own: what a host sees is made different by them, not by switches in the product. */

/**
 * Runs $0 with the other words as its own, in a mount namespace from which nothing gets out. In a chroot the root cannot be
 * made private; that is as good where nothing is shared.
 */
const OWN_MOUNTS = `
if unshare --mount true 2> /dev/null; then propagation=private
elif ! grep -q ' shared:' /proc/self/mountinfo; then propagation=unchanged
else echo 'this machine lets no process have mounts of its own' >&2; exit 1
fi
exec unshare --mount --propagation "$propagation" bash -ec "$0" bash "$@"`;

/** The words that run `command` after the `mount` lines. */
export function withOwnMounts(mounts: readonly string[], command: readonly string[]): readonly string[] {
  return ['bash', '-ec', OWN_MOUNTS, [...mounts, 'exec "$@"'].join('\n'), ...command];
}

/** The words that run `command` in a network namespace, with the /sys that shows its interfaces: a mount of it shows those of whoever mounted it. */
export function inNetwork(namespace: string, mounts: readonly string[], command: readonly string[]): readonly string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, ...withOwnMounts(['mount -t sysfs sysfs /sys', ...mounts], command)];
}
