/**
 * The house rules as lint. Types are checked by tsc; what stands here is who may import whom
 * (docs/architecture.md has the same table), each ban with its reason.
 */
import tseslint from 'typescript-eslint';

const nodeBuiltins = { group: ['node:*'], message: 'This room is pure: it runs in the workflow sandbox, where no I/O exists. Put I/O behind a port.' };
const temporal = (message) => ({ group: ['@temporalio/*'], message });
const room = (names, message) => ({ group: names.map((name) => `**/${name}/**`), message });

const implementations = room(
  ['hypervisor/qemu', 'hypervisor/fake'],
  'Only workers/ chooses a driver; everyone else sees hypervisor/port.ts.',
);

const enums = { selector: 'TSEnumDeclaration', message: 'Use an `as const` object: enums do not narrow and cost code.' };
const ONE_WAY_OUT = 'Say it by cli/terminal.ts or workers/log.ts: text from elsewhere must not steer a terminal.';

/** One row of the import table: the files of a room and what they may not import. */
const rule = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', '.cache/**'] },
  ...tseslint.configs.recommended.map((c) => ({ ...c, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    rules: {
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-restricted-syntax': ['error', enums],
    },
  },
  { files: ['vitest.config.ts'], rules: { 'no-restricted-exports': 'off' } },
  {
    // hypervisor/fake has processes of its own, whose output nobody reads on a terminal.
    files: ['cli', 'client', 'client/verify', 'workers', 'activities', 'temporal', 'channel', 'tpm', 'host', 'hypervisor', 'hypervisor/qemu'].flatMap((name) => [`${name}/*.ts`, `${name}/commands/*.ts`]),
    ignores: ['cli/terminal.ts', 'workers/log.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-properties': ['error', ...['stdout', 'stderr'].map((property) => ({ object: 'process', property, message: ONE_WAY_OUT }))],
      'no-restricted-syntax': ['error', enums, { selector: "ImportDeclaration[source.value=/^(?:node:)?(?:process|console)$/]", message: ONE_WAY_OUT }],
    },
  },
  rule(['domain/**/*.ts'], [
    nodeBuiltins,
    temporal('The domain knows no orchestrator: the same rules run on hosts, in the CLI and in tests.'),
    room(['workflows', 'activities', 'workers', 'hypervisor', 'tpm', 'channel', 'host', 'temporal', 'client', 'cli'], 'The domain imports nothing of the house.'),
  ]),
  rule(['workflows/**/*.ts'], [
    nodeBuiltins,
    { group: ['@temporalio/*', '!@temporalio/workflow'], message: 'Workflow code sees @temporalio/workflow only; the rest is not deterministic.' },
    { group: ['**/activities/**'], allowTypeImports: true, message: 'Workflows know activity types only; their code runs on a worker.' },
    room(['workers', 'hypervisor', 'tpm', 'channel', 'host', 'temporal', 'client', 'cli'], 'Workflows import domain and activity types only.'),
  ].map((p) => p)),
  rule(['activities/**/*.ts'], [
    temporalExcept(['activity', 'common'], 'Activities may use @temporalio/{names}; client and worker belong to the worker processes.'),
    { ...room(['hypervisor', 'tpm', 'channel', 'host'], 'Activities are factories over ports: import types, and let workers/ say `new`.'), allowTypeImports: true },
    room(['workers', 'workflows', 'client', 'cli'], 'Activities are called by workflows, wired by workers; they call neither.'),
  ]),
  rule(['hypervisor/**/*.ts', 'tpm/**/*.ts', 'channel/**/*.ts', 'host/**/*.ts'], [
    temporal('Drivers know no orchestrator: errors become ApplicationFailure at the activity edge only.'),
    room(['workflows', 'activities', 'workers', 'temporal', 'client', 'cli'], 'Drivers are called from above; they call nothing above.'),
  ]),
  rule(['channel/**/*.ts', 'tpm/**/*.ts', 'host/**/*.ts'], [
    temporal('Drivers know no orchestrator: errors become ApplicationFailure at the activity edge only.'),
    room(['hypervisor'], 'The channel, the TPM and host access know no hypervisor.'),
    room(['workflows', 'activities', 'workers', 'temporal', 'client', 'cli'], 'Drivers are called from above; they call nothing above.'),
  ]),
  rule(['temporal/**/*.ts'], [
    temporalExcept(['common', 'envconfig'], 'Where Temporal is and how payloads look is the same for workers and clients: @temporalio/{names} only; who connects brings its own half of the SDK.'),
    room(['workflows', 'activities', 'workers', 'hypervisor', 'tpm', 'channel', 'host', 'client', 'cli'], 'What is said to Temporal is the same for whoever says it: this room imports domain only.'),
  ]),
  rule(['client/**/*.ts', 'cli/**/*.ts'], [
    { group: ['@temporalio/*', '!@temporalio/client', '!@temporalio/common', '!@temporalio/envconfig'], message: 'The client talks to Temporal through its client; it runs no workflow and no activity.' },
    { group: ['**/workflows/**', '**/activities/**'], allowTypeImports: true, message: 'The client knows workflow types only: it must not bundle or run them.' },
    implementations,
    room(['tpm', 'channel', 'host'], 'A client reaches hosts through Temporal only.'),
  ]),
  rule(['client/verify/*.ts'], [
    temporal('An auditor checks evidence without an orchestrator.'),
    room(['workflows', 'activities', 'workers', 'hypervisor', 'channel', 'host', 'cli'], 'An auditor needs the rules and the structures of a TPM, and nothing that drives one.'),
  ]),
);

function temporalExcept(names, message) {
  return { group: ['@temporalio/*', ...names.map((name) => `!@temporalio/${name}`)], message: message.replace('{names}', names.join(' and @temporalio/')) };
}
