export declare const SCORE_WANTED: number;
export declare function mutatedFiles(): readonly string[];
