/** What checking an evidence file came to: pure data, for people and for programs. */

export interface EvidenceReport {
  /** What holds, and whose key it rests on. */
  readonly proven: readonly { readonly field: string; readonly what: string; readonly by: string }[];
  /** What does not hold; none in a file that is as the hosts and operators signed it. */
  readonly problems: readonly { readonly field: string; readonly problem: string }[];
  /** What the file says on nobody's key: the word of the control plane. */
  readonly unproven: readonly { readonly field: string; readonly why: string }[];
}

export class ReportBuilder implements EvidenceReport {
  readonly proven: { readonly field: string; readonly what: string; readonly by: string }[] = [];
  readonly problems: { readonly field: string; readonly problem: string }[] = [];
  readonly unproven: { readonly field: string; readonly why: string }[] = [];

  proves(field: string, what: string, by: string): void {
    this.proven.push({ field, what, by });
  }

  fails(field: string, problem: string): void {
    this.problems.push({ field, problem });
  }

  leaves(field: string, why: string): void {
    this.unproven.push({ field, why });
  }

  /** Names every member of `named` that the document has otherwise. True where there is none. */
  agrees(field: string, document: object, named: Readonly<Record<string, unknown>>): boolean {
    const wrong = Object.keys(named).filter((member) => (document as Record<string, unknown>)[member] !== named[member]);
    for (const member of wrong) this.fails(`${field}.${member}`, `${String((document as Record<string, unknown>)[member])} instead of ${String(named[member])}`);
    return wrong.length === 0;
  }
}
