/** Types of ensure-server.mjs, which says what each does. */

export declare class TemporalServerUnavailable extends Error {
  readonly code: 'TEMPORAL_SERVER_UNAVAILABLE';
  readonly tried: readonly { readonly way: string; readonly answer: string }[];
}

export declare function ensureTemporalBinary(options?: {
  readonly log?: (line: string) => void;
  readonly cacheFolder?: string;
}): Promise<string>;

export declare function defaultCacheFolder(): string;
