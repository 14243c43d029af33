/** Chains of moves, by files as far as a chain reads them: what is no evidence, files of more than one VM, and a second move that calls itself the first. */
import { expect, it } from 'vitest';
import { checkChain } from '../../client/verify/chain.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { ADA, digest, evidenceOf, manifestOf, orderOf, samples, verdictOf } from '../support/documents.js';

async function moveOf(vmId: string, epoch: number, previousVerdict: string | null) {
  const manifest = manifestOf({ vmId, epoch, previousVerdict });
  const verdict = verdictOf({ vmId, epoch, manifestDigest: digestOf(manifest) });
  return evidenceOf({ order: await signEnvelope(orderOf({ vmId, epoch: epoch - 1 }), ADA), manifest, verdict: { verdict, quote: samples.verdictStatement.quote } });
}
const verdictIn = ({ verdict }: Awaited<ReturnType<typeof moveOf>>) => digestOf(verdict?.verdict);

it('a file that is no evidence is refused as such', () => {
  expect(() => checkChain([{ ...samples.evidence, kind: 'korora/order' }])).toThrow(expect.objectContaining({ code: 'EVIDENCE_INVALID', message: 'EVIDENCE_INVALID: the evidence file is not valid: kind: Invalid input: expected "korora/evidence"' }));
});

it('moves of two VMs are two chains, however their files are mixed', async () => {
  const [web, database] = [await moveOf('web-1', 2, null), await moveOf('database', 2, null)];
  const [webNext, databaseNext] = [await moveOf('web-1', 3, verdictIn(web)), await moveOf('database', 3, verdictIn(database))];
  expect(checkChain([databaseNext, web, webNext, database])).toEqual({ problems: [], gaps: [] });
});

it('what is wrong in two chains is told of each VM once', async () => {
  const files = [await moveOf('web-1', 2, null), await moveOf('database', 2, null), await moveOf('web-1', 3, null), await moveOf('database', 3, digest(9))];
  expect(checkChain(files)).toEqual({
    problems: ['VM web-1: the move to epoch 3 does not follow the one to epoch 2: it names verdict none', `VM database: the move to epoch 3 does not follow the one to epoch 2: it names verdict ${digest(9)}`],
    gaps: [],
  });
});

it('the one file of a VM begins its chain, whatever files of other VMs stand beside it', async () => {
  expect(checkChain([await moveOf('web-1', 3, digest(9)), await moveOf('database', 2, null)])).toEqual({ problems: [], gaps: [] });
});
