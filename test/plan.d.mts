export declare const SHARES: number;
export declare const ALWAYS: readonly string[];
export declare const SOMETIMES: Readonly<Record<string, number>>;
export declare const BY_CELL: readonly string[];
export declare function shareOf(commit: string): number;
export declare function filesOf(share: number | null): readonly string[];
export declare function partOf<T>(share: number | null, all: readonly T[]): readonly T[];
export declare function shareAskedFor(environment: Readonly<Record<string, string | undefined>>): number | null;
