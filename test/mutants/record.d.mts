/** What Stryker says of one mutant, as far as the record needs it. Lines and columns begin with 1. */
export interface Result {
  readonly status: 'Killed' | 'Survived' | 'NoCoverage' | 'Timeout' | 'RuntimeError' | 'CompileError' | 'Ignored' | 'Pending';
  readonly mutatorName: string;
  readonly replacement: string;
  readonly location: { readonly start: Position; readonly end: Position };
}
export interface Position {
  readonly line: number;
  readonly column: number;
}
export interface Survivor {
  readonly line: number;
  /** The text of that line. */
  readonly in: string;
  readonly mutator: string;
  readonly original: string;
  readonly replacement: string;
}
export interface Counts {
  readonly killed: number;
  readonly timeout: number;
  readonly survived: number;
  readonly noCoverage: number;
}
export interface Origin {
  readonly at: string;
  readonly commit: string;
  readonly sha256: string;
  readonly seconds: number;
}
export interface Row extends Counts, Origin {
  readonly lines: number;
  readonly survivors: readonly Survivor[];
}
export type Rows = Readonly<Record<string, Row>>;
/** What is left out of one may be anything: it is of every survivor of that line then. */
export type Explanations = Readonly<Record<string, readonly (Pick<Survivor, 'in'> & Partial<Omit<Survivor, 'line'>> & { readonly why: string })[]>>;

export declare function rowOf(source: string, results: readonly Result[], origin: Origin): Row;
export declare function scoreOf(counts: Counts): number;
export declare function totalOf(rows: readonly Row[]): Counts & { readonly seconds: number };
export declare function unexplained(files: Rows, explanations: Explanations): readonly (Survivor & { readonly file: string })[];
export declare function outdated(files: Rows, explanations: Explanations): readonly object[];
export declare function documentOf(record: { readonly tool: string; readonly files: Rows }, explanations: Explanations): string;
