/**
 * Which files of a host a VM may open: those that lie below a root of the host for such files, and not in what the host keeps to itself.
 * Decided by where a path leads, never by what it is called. Pure; activities/resources.ts looks.
 */

/** Paths with no symbolic link followed yet: they may come to lead elsewhere while a worker runs. */
export interface StorageRules {
  /** Folders that disks lie below, and single files and block devices. */
  readonly disks: readonly string[];
  /** The same of kernels and initrds. */
  readonly boot: readonly string[];
  /** The worker's own files and folders: no VM opens them, even where a root is above them. */
  readonly reserved: readonly string[];
}

/** Where the kernel shows itself: what a file there does when it is opened is no matter of storage. */
const OF_THE_KERNEL = ['/proc', '/sys'];
const DEVICES = '/dev';

/** Both without symbolic links. A folder is within itself. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** What keeps the host's own: null where nothing does. `path` and `reserved` lead nowhere else. */
export function reservedPlace(path: string, isBlockDevice: boolean, reserved: readonly string[]): string | null {
  const places = [...reserved, ...OF_THE_KERNEL, ...(isBlockDevice ? [] : [DEVICES])];
  return places.find((place) => isWithin(path, place)) ?? null;
}

/** In which names decide what `path` is: from the root that it lies below to the folder that has it. None where the path is the root. */
export function foldersTo(path: string, root: string): readonly string[] {
  if (path === root) return [];
  const names = path.slice(root.length + 1).split('/').slice(0, -1);
  return names.reduce((folders, name) => [...folders, `${folders.at(-1)}/${name}`], [root]);
}
