/** Of the files of moves, some of one VM: each move is to begin where the one before ended. What a file says is not checked here; verifyEvidence does that. */
import { digestOf } from '../../domain/canonical.js';
import { openSigned } from '../../domain/authority.js';
import { parseDocument } from '../../domain/documents.js';
import { Evidence } from '../../domain/evidence.js';
import type { Manifest, Verdict } from '../../domain/manifest.js';

export interface ChainReport {
  /** Two links that do not follow each other. */
  readonly problems: readonly string[];
  /** Where a link may be missing: the chain is not known to be whole. */
  readonly gaps: readonly string[];
}

interface Link {
  readonly manifest: Manifest | null;
  readonly verdict: Verdict;
}

/** EVIDENCE_INVALID. */
export function checkChain(values: readonly unknown[]): ChainReport {
  const files = values.map((value) => parseDocument(Evidence, value, 'EVIDENCE_INVALID')).map((evidence) => ({ evidence, vmId: openSigned('korora/order', evidence.order).document.vmId }));
  const vmIds = [...new Set(files.map(({ vmId }) => vmId))];
  const chains = vmIds.map((vmId) => chainOf(vmId, files.filter((file) => file.vmId === vmId).map(({ evidence }) => evidence)));
  return { problems: chains.flatMap(({ problems }) => problems), gaps: chains.flatMap(({ gaps }) => gaps) };
}

/** Files without an accepted verdict are no links: a move that failed has none, nor has a file from which it was taken. */
function chainOf(vmId: string, files: readonly Evidence[]): ChainReport {
  const links = files.flatMap(({ manifest, verdict }): readonly Link[] => (verdict?.verdict.verdict === 'accepted' ? [{ manifest, verdict: verdict.verdict }] : [])).sort((a, b) => a.verdict.epoch - b.verdict.epoch);
  const others = files.length - links.length;
  const told = links.map(({ manifest, verdict: { epoch } }, i): ChainReport => {
    const move = `VM ${vmId}: the move to epoch ${epoch}`;
    if (!manifest) return { problems: [], gaps: [`${move} has no manifest, which would name the move before`] };
    const named = manifest.previousVerdict;
    const before = links[i - 1]?.verdict;
    if (before) return { problems: named === digestOf(before) ? [] : [`${move} does not follow the one to epoch ${before.epoch}: it names verdict ${named ?? 'none'}`], gaps: [] };
    const isUnseen = named !== null && files.length > 1;
    return { problems: [], gaps: isUnseen ? [`${move} follows verdict ${named}, which none of these files has${others > 0 ? `; ${others} of them have no accepted verdict` : ''}`] : [] };
  });
  return { problems: told.flatMap(({ problems }) => problems), gaps: told.flatMap(({ gaps }) => gaps) };
}
