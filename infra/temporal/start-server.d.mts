/** Types of start-server.mjs, which says what it does. */

export interface TemporalServerOptions {
  /** Path of the `temporal` binary, from ensureTemporalBinary. */
  readonly binary: string;
  /** gRPC port; 0 or absent takes a free one. */
  readonly port?: number | undefined;
  /** Web UI port; 0 or absent takes a free one. */
  readonly uiPort?: number | undefined;
  /** false starts no web UI. */
  readonly ui?: boolean | undefined;
  /** SQLite file, made if missing; absent keeps everything in memory. */
  readonly databaseFile?: string | undefined;
  /** Appended to; absent names one in the folder for temporary files. */
  readonly logFile?: string | undefined;
  /** Namespaces beside `default`. */
  readonly namespaces?: readonly string[] | undefined;
  /** Custom search attributes, name to type (Keyword, Int, Datetime …). */
  readonly searchAttributes?: Readonly<Record<string, string>> | undefined;
}

export interface TemporalServer {
  /** host:port of the gRPC frontend. */
  readonly address: string;
  /** Absent without a web UI. */
  readonly uiUrl: string | undefined;
  readonly pid: number;
  readonly logFile: string;
  /** SIGTERM, SIGKILL after ten seconds; done when the process has ended. */
  stop(): Promise<void>;
}

/** Fails with code TEMPORAL_SERVER_DID_NOT_START and the end of the log. */
export declare function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer>;

/** Arguments for `temporal server start-dev` without which every activity costs 100 ms. */
export declare const QUICK_SERVER_ARGUMENTS: readonly string[];
