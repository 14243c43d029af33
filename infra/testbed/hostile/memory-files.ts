/** The files of a host in memory, behind the port of host access: whole or not there, as after writeFileDurably on a disk. No commands, no sockets. */
import { createHash } from 'node:crypto';
import { refuse } from '../../../domain/failures.js';
import type { HostId } from '../../../domain/ids.js';
import type { FileFacts, HostAccess } from '../../../host/port.js';
import type { Life, Turns } from './turns.js';

/** What stands on a disk; its content is never changed in place. */
export class Disk {
  constructor(
    readonly files: Map<string, Buffer> = new Map(),
    readonly folders: Set<string> = new Set(),
  ) {}

  copy(): Disk {
    return new Disk(new Map(this.files), new Set(this.folders));
  }

  addFolder(path: string): void {
    for (let folder = path; folder.length > 1; folder = parentOf(folder)) this.folders.add(folder);
  }

  names(path: string): readonly string[] {
    const inside = [...this.files.keys(), ...this.folders].filter((name) => name.startsWith(`${path}/`));
    return [...new Set(inside.map((name) => name.slice(path.length + 1).split('/')[0] ?? ''))].sort();
  }

  remove(path: string): readonly string[] {
    const gone = (name: string) => name === path || name.startsWith(`${path}/`);
    const files = [...this.files.keys()].filter(gone);
    for (const name of files) this.files.delete(name);
    for (const name of [...this.folders].filter(gone)) this.folders.delete(name);
    return files;
  }
}

/** Called right after the files have changed. */
export interface DiskWatcher {
  written(path: string, content: Buffer, before: Buffer | null): void;
  /** `isGone`: the names of all files that went. */
  removed(files: readonly string[]): void;
}

export function createMemoryAccess(hostId: HostId, disk: Disk, { turns, life, watcher }: { readonly turns: Turns; readonly life: Life; readonly watcher: DiskWatcher }): HostAccess {
  const none = (command: string) => () => Promise.reject(refuse('HOST_COMMAND_FAILED', { command, host: hostId, problem: 'a host in memory has none' }));
  const inTurn = async <T>(what: string, act: () => T): Promise<T> => {
    await turns.take(`${hostId} ${what}`, life);
    const result = act();
    await turns.take(`${hostId} ${what}, done`, life);
    return result;
  };

  return {
    run: none('run'),
    readFile: (path) => inTurn(`reads ${path}`, () => disk.files.get(path) ?? null),
    readStart: (path, bytes) => inTurn(`reads ${path}`, () => disk.files.get(path)?.subarray(0, bytes) ?? Buffer.alloc(0)),
    writeFileDurably: (path, content) =>
      inTurn(`writes ${path}`, () => {
        const bytes = Buffer.from(content);
        disk.addFolder(parentOf(path));
        const before = disk.files.get(path) ?? null;
        disk.files.set(path, bytes);
        watcher.written(path, bytes, before);
      }),
    keepEnd: async () => undefined,
    makePrivate: async () => undefined,
    ensureDirectory: (path) => inTurn(`makes ${path}`, () => disk.addFolder(path)),
    remove: (path) => inTurn(`removes ${path}`, () => watcher.removed(disk.remove(path))),
    list: (path) => inTurn(`lists ${path}`, () => disk.names(path)),
    stat: (path) => inTurn(`looks at ${path}`, () => factsOf(disk, path)),
    resolve: (path) => inTurn(`looks where ${path} leads`, () => (factsOf(disk, path) ? path : null)),
    connectUnixSocket: none('connect'),
    listenUnixSocket: none('listen'),
    commandLineOf: async () => null,
    processes: async () => [],
    signal: async () => undefined,
    availableMemoryBytes: async () => 64 * 1024 ** 3,
  };
}

function factsOf(disk: Disk, path: string): FileFacts | null {
  const content = disk.files.get(path);
  const facts = { inode: String(Number.parseInt(createHash('sha256').update(path).digest('hex').slice(0, 12), 16)), birthTimeNs: '1', links: 1, isOpenToOthers: false };
  if (content) return { kind: 'file', sizeBytes: content.length, ...facts };
  return disk.folders.has(path) ? { kind: 'directory', sizeBytes: 0, ...facts } : null;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
