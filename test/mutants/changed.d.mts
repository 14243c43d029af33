import type { Row, Rows } from './record.mjs';

export interface Place {
  readonly file: string;
  /** Null for the whole file. */
  readonly lines: { readonly first: number; readonly last: number } | null;
  readonly count: number;
}
export declare function digestOf(source: string): string;
export declare function placesIn(file: string, source: string, row: Row | undefined): readonly Place[];
export declare function rangesIn(diff: string): readonly { readonly first: number; readonly last: number }[];
export declare function secondsExpected(places: readonly Place[], rows: Rows): number;
