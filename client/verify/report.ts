/** What checking an evidence file came to: pure data, for people and for programs. */

/** `holds`: nothing is wrong, and what the outcome claims is signed by those who can know. `incomplete`: nothing is wrong, and something of that is not signed. */
export type Standing = 'holds' | 'incomplete' | 'does-not-hold';

interface Unsigned {
  readonly field: string;
  readonly why: string;
}

export interface EvidenceReport {
  readonly standing: Standing;
  /** The standing in a line; of an incomplete file it names what nobody signed. */
  readonly summary: string;
  /** What holds, and whose key it rests on. */
  readonly proven: readonly { readonly field: string; readonly what: string; readonly by: string }[];
  /** What does not hold; none in a file that is as the hosts and operators signed it. */
  readonly problems: readonly { readonly field: string; readonly problem: string }[];
  /** What the claimed outcome rests on and nobody signed. */
  readonly missing: readonly Unsigned[];
  /** What the file says on nobody's key. */
  readonly unproven: readonly Unsigned[];
  /** What only the control plane says, names and numbers: it could say anything here. */
  readonly told: readonly { readonly field: string; readonly what: string }[];
}

export class ReportBuilder {
  private readonly proven: { readonly field: string; readonly what: string; readonly by: string }[] = [];
  private readonly problems: { readonly field: string; readonly problem: string }[] = [];
  private readonly missing: Unsigned[] = [];
  private readonly unproven: Unsigned[] = [];
  private readonly told: { readonly field: string; readonly what: string }[] = [];

  proves(field: string, what: string, by: string): void {
    this.proven.push({ field, what, by });
  }

  fails(field: string, problem: string): void {
    this.problems.push({ field, problem });
  }

  lacks(field: string, why: string): void {
    this.missing.push({ field, why });
  }

  leaves(field: string, why: string): void {
    this.unproven.push({ field, why });
  }

  tells(field: string, what: string): void {
    this.told.push({ field, what });
  }

  /** Names every member of `named` that the document has otherwise. True where there is none. */
  agrees(field: string, document: object, named: Readonly<Record<string, unknown>>): boolean {
    const wrong = Object.keys(named).filter((member) => (document as Record<string, unknown>)[member] !== named[member]);
    for (const member of wrong) this.fails(`${field}.${member}`, `${String((document as Record<string, unknown>)[member])} instead of ${String(named[member])}`);
    return wrong.length === 0;
  }

  finished(): EvidenceReport {
    const { proven, problems, missing, unproven, told } = this;
    const standing = problems.length > 0 ? 'does-not-hold' : missing.length > 0 ? 'incomplete' : 'holds';
    const summary = { holds: 'holds', incomplete: `nothing in it is wrong, but ${missing.map(({ why }) => why).join(', and ')}`, 'does-not-hold': 'DOES NOT HOLD' }[standing];
    return { standing, summary, proven, problems, missing, unproven, told };
  }
}
