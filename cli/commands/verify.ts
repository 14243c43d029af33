/** `korora verify`: checks evidence files offline; exit code 1 where something does not hold. */
import type { Command } from 'commander';
import { type EvidenceReport, chainProblems, verifyEvidence } from '../../client/verify/index.js';
import { Evidence } from '../../domain/evidence.js';
import { openSigned } from '../../domain/authority.js';
import { parseDocument } from '../../domain/documents.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { type GlobalOptions, command, print, readJsonFile, trustPath } from '../context.js';
import { readPublicKey } from '../keys.js';
import { renderReport } from '../render.js';

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
      const chain = chainProblems(values);
      print(globals(), { reports, chain }, () => [...reports.map((report) => renderReport(report.file, report)), ...chain.map((problem) => `NOT A CHAIN  ${problem}`)].join('\n\n'));
      if (chain.length > 0 || reports.some(hasProblem)) process.exitCode = 1;
    }));
}

/** The one that the order names; else the first, whose digest is then told to differ. */
function bundleFor(value: unknown, bundles: readonly unknown[]): unknown {
  const { bundleDigest } = openSigned('korora/order', parseDocument(Evidence, value, 'EVIDENCE_INVALID').order).document;
  return bundles.find((bundle) => installBundle(bundle, 'this verifier', 'any signer').digest === bundleDigest) ?? bundles[0];
}

function hasProblem({ problems }: EvidenceReport): boolean {
  return problems.length > 0;
}
