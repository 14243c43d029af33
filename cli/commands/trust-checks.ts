/** `korora trust lint | diff | dry-run`: looks at trust bundles, signed or about to be, and changes nothing. */
import type { Command } from 'commander';
import { type HostTrial, tryEvidence } from '../../client/verify/state.js';
import { diffBundles, successionProblem } from '../../domain/bundle-diff.js';
import { lintBundle } from '../../domain/bundle-lint.js';
import { digestOf } from '../../domain/canonical.js';
import { parseDocumentOf } from '../../domain/documents.js';
import { type InstalledBundle, TrustBundle, installBundle } from '../../domain/trust-bundle.js';
import { type GlobalOptions, command, print, readBundle, readJsonFile, withClientOf } from '../context.js';
import { renderChanges, renderFindings, renderTrials } from '../render.js';

export function addTrustChecks(trust: Command, globals: () => GlobalOptions): void {
  trust
    .command('lint')
    .description('what is allowed in a trust bundle and yet is seldom meant; exit code 1 where there are errors')
    .argument('<file>', 'a trust bundle: signed, or as `korora trust show` prints it')
    .action(command(globals, async (file: string) => {
      const findings = lintBundle((await readDraft(file)).bundle, new Date());
      print(globals(), { file, findings }, (shown) => renderFindings(shown.file, shown.findings));
      if (findings.some(({ severity }) => severity === 'error')) process.exitCode = 1;
    }));

  trust
    .command('diff')
    .description('what another trust bundle says otherwise than the one of --trust; exit code 1 where hosts would not take it after that')
    .argument('<file>', 'a trust bundle: signed, or as `korora trust show` prints it')
    .action(command(globals, async (file: string) => {
      const [{ bundle: before }, { bundle: after }] = [await readBundle(globals()), await readDraft(file)];
      const [changes, problem] = [diffBundles(before, after), successionProblem(before, after)];
      print(globals(), { changes, problem }, (shown) => renderChanges(shown.changes, shown.problem));
      if (problem !== null) process.exitCode = 1;
    }));

  trust
    .command('dry-run')
    .description('which hosts would pass with a trust bundle, and which rule fails where: by quotes that the hosts make now, or by evidence files; exit code 1 where one would not')
    .argument('<file>', 'a trust bundle: signed, or as `korora trust show` prints it')
    .option('--evidence <files...>', 'evidence files, whose quotes are tried; no host is asked then')
    .action(command(globals, async (file: string, { evidence }: { evidence?: readonly string[] }) => {
      const draft = await readDraft(file);
      const trials = evidence ? await tryFiles(draft, evidence) : await withClientOf(draft, globals(), (client) => client.tryBundle());
      print(globals(), { file, trials }, (shown) => renderTrials(shown.file, shown.trials));
      if (trials.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
    }));
}

async function tryFiles({ bundle }: InstalledBundle, files: readonly string[]): Promise<readonly HostTrial[]> {
  const values = await Promise.all(files.map((file) => readJsonFile(file, 'EVIDENCE_INVALID')));
  return values.flatMap((value) => tryEvidence(bundle, value));
}

/** BUNDLE_INVALID. */
async function readDraft(file: string): Promise<InstalledBundle> {
  const value = await readJsonFile(file, 'BUNDLE_INVALID');
  const isSigned = typeof value === 'object' && value !== null && 'payloadType' in value;
  if (isSigned) return installBundle(value, file, 'any signer');
  const bundle = parseDocumentOf(TrustBundle, value, 'BUNDLE_INVALID', { host: file });
  return { bundle, digest: digestOf(bundle) };
}
