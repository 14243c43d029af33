/** Lets a process of the testbed have mounts of its own: what a host sees is made different by them, not by switches in the product. */

/**
 * Runs $0 with the other words as its own, in a mount namespace from which nothing gets out. In a chroot the root cannot be
 * made private (it is no mount); there every mount is that is shared, as `ip netns` makes /run/netns.
 */
const OWN_MOUNTS = `
if unshare --mount true 2> /dev/null; then exec unshare --mount bash -ec "$0" bash "$@"; fi
exec unshare --mount --propagation unchanged bash -ec '
  for at in $(grep " shared:" /proc/self/mountinfo | cut -d " " -f 5); do mount --make-private "$at"; done
  eval "$0"' "$0" "$@"`;

/** The words that run `command` after the `mount` lines. */
export function withOwnMounts(mounts: readonly string[], command: readonly string[]): readonly string[] {
  return ['bash', '-ec', OWN_MOUNTS, [...mounts, 'exec "$@"'].join('\n'), ...command];
}

/** The words that run `command` in a network namespace, with the /sys that shows its interfaces: a mount of it shows those of whoever mounted it. */
export function inNetwork(namespace: string, mounts: readonly string[], command: readonly string[]): readonly string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, ...withOwnMounts(['mount -t sysfs sysfs /sys', ...mounts], command)];
}
