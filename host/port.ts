/**
 * How a worker reaches its host: commands, files, unix sockets. Every driver and every TPM call
 * goes through this port, so that a host can be local (host/local.ts) or behind SSH.
 *
 * Nothing here knows VMs, TPMs or Temporal.
 */
import type { Duplex } from 'node:stream';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface CommandOptions {
  readonly input?: Buffer;
  /** Added to what a command is given of the worker's own (host/environment.ts). */
  readonly environment?: Readonly<Record<string, string>>;
  /** Default 60 000: no command is waited for without an end. */
  readonly timeoutMs?: number;
  /**
   * Secrets for the command, readable once from file descriptors 3, 4, … in this order. They
   * never appear in arguments, the environment or a file.
   */
  readonly secretInputs?: readonly Buffer[];
}

export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'block-device' | 'other';
  readonly sizeBytes: number;
  /** Inode number, decimal (64 bit). */
  readonly inode: string;
  /** Time of birth in ns since the epoch, decimal; '0' where the file system has none. */
  readonly birthTimeNs: string;
  /** Names that the inode has (hard links). */
  readonly links: number;
  /** Others than root and this worker may write to it: of a folder, change which file a name in it leads to. */
  readonly isOpenToOthers: boolean;
}

export interface SocketListener {
  /** The next connection; rejects when closed. */
  accept(): Promise<Duplex>;
  close(): Promise<void>;
}

export interface HostAccess {
  /** Runs to the end, whatever the exit code. Rejects with HOST_COMMAND_FAILED if it cannot start or times out. */
  run(command: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult>;

  /** Null where there is no such file. HOST_COMMAND_FAILED where it has more than `atMostBytes`, of which no more are read. */
  readFile(path: string, atMostBytes?: number): Promise<Buffer | null>;
  /** The first bytes of a file or a block device, `bytes` where it has so many. */
  readStart(path: string, bytes: number): Promise<Buffer>;
  /** Atomic and durable: write aside, fsync, rename, fsync the folder. Mode 0600. */
  writeFileDurably(path: string, content: Buffer | string): Promise<void>;
  /**
   * Shortens a file that a process appends to (O_APPEND) once it has more than `atMostBytes`: its last `keepBytes` go to `aside`, in the place
   * of what was there, and the file is empty. What is written in that instant may be lost. No error where there is no file.
   */
  keepEnd(path: string, limits: { readonly atMostBytes: number; readonly keepBytes: number; readonly aside: string }): Promise<void>;
  /** Mode 0600, of a file or a socket that a command made; no error if it is not there. */
  makePrivate(path: string): Promise<void>;
  /** Mode 0700; parents too; no error if it is there. */
  ensureDirectory(path: string): Promise<void>;
  /** File or tree; no error if it is not there. */
  remove(path: string): Promise<void>;
  /** Names in a folder, sorted; empty where there is none. */
  list(path: string): Promise<readonly string[]>;
  stat(path: string): Promise<FileFacts | null>;
  /** Where a path leads, every symbolic link followed; null where it leads nowhere that this worker may see. */
  resolve(path: string): Promise<string | null>;

  connectUnixSocket(path: string): Promise<Duplex>;
  /** Removes a stale socket file first; mode 0600. */
  listenUnixSocket(path: string): Promise<SocketListener>;

  /** The command line of a live process, null where there is none. Guards against reused ids. */
  commandLineOf(pid: number): Promise<readonly string[] | null>;
  /** Every live process that has a command line and that this worker may look at. */
  processes(): Promise<readonly { readonly pid: number; readonly commandLine: readonly string[] }[]>;
  /** No error where the process is gone. */
  signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  availableMemoryBytes(): Promise<number>;
}
