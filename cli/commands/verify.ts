/** `korora verify`: checks evidence files offline. Exit code 1 where something is wrong; 3 where nothing is, and what an outcome claims is not signed, or a chain may lack a link. */
import type { Command } from 'commander';
import { checkChain, verifyEvidence } from '../../client/verify/index.js';
import { Evidence } from '../../domain/evidence.js';
import { openSigned } from '../../domain/authority.js';
import { parseDocument } from '../../domain/documents.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { type GlobalOptions, command, print, readJsonFile, trustPath } from '../context.js';
import { readPublicKey } from '../keys.js';
import { renderChain, renderReport } from '../render.js';

const INCOMPLETE = 3;

interface VerifyOptions {
  readonly alsoTrust?: readonly string[];
  readonly signer?: readonly string[];
}

export function addVerifyCommand(program: Command): void {
  const globals = () => program.optsWithGlobals<GlobalOptions>();
  program
    .command('verify')
    .description('check evidence files offline: what was proven and by whom, and what nobody proved; of several of one VM, also that they are a chain')
    .argument('<evidence...>', 'evidence files')
    .option('--also-trust <files...>', 'more trust bundles, where the orders name different ones')
    .option('--signer <files...>', 'public keys (PEM) by which the bundles must be signed; without them the bundles are believed as they are')
    .action(command(globals, async (files: string[], { alsoTrust, signer }: VerifyOptions) => {
      const bundles = await Promise.all([trustPath(globals()), ...(alsoTrust ?? [])].map((file) => readJsonFile(file, 'BUNDLE_INVALID')));
      const signers = signer ? await Promise.all(signer.map(readPublicKey)) : null;
      const values = await Promise.all(files.map((file) => readJsonFile(file, 'EVIDENCE_INVALID')));
      const reports = values.map((value, i) => ({ file: files[i] ?? '', ...verifyEvidence(value, bundleFor(value, bundles), signers) }));
      const chain = checkChain(values);
      print(globals(), { reports, chain }, (shown) => [...shown.reports.map((report) => renderReport(report.file, report)), ...renderChain(shown.chain)].join('\n\n'));
      const isWrong = chain.problems.length > 0 || reports.some(({ standing }) => standing === 'does-not-hold');
      const isIncomplete = chain.gaps.length > 0 || reports.some(({ standing }) => standing === 'incomplete');
      if (isWrong) process.exitCode = 1;
      else if (isIncomplete) process.exitCode = INCOMPLETE;
    }));
}

/** The one that the order names; else the first, whose digest is then told to differ. */
function bundleFor(value: unknown, bundles: readonly unknown[]): unknown {
  const { bundleDigest } = openSigned('korora/order', parseDocument(Evidence, value, 'EVIDENCE_INVALID').order).document;
  return bundles.find((bundle) => installBundle(bundle, 'this verifier', 'any signer').digest === bundleDigest) ?? bundles[0];
}
