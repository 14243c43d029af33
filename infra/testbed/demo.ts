/**
 * `npm run demo`: sets up two hosts, runs one scenario, exits 0 only if its outcome is the right
 * one. infra/testbed/demo.sh installs what this needs and calls it.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { terminalScreen } from '../../cli/terminal.js';
import { SCENARIOS } from './scenarios.js';
import { createStage } from './stage.js';
import { startTestbed } from './testbed.js';

const USAGE = `usage: npm run demo [-- --scenario NAME] [--keep] [--list]

  --scenario NAME   what to show (default: move)
  --list            list the scenarios
  --keep            leave hosts, VM, Temporal and its web UI up to look at; the next demo ends them`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: 'move' },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      'guest-dir': { type: 'string' },
      'temporal-binary': { type: 'string' },
    },
  });
  if (values.help) return say(USAGE, 0);
  if (values.list) return say(SCENARIOS.map((s) => `${s.name.padEnd(24)}${s.summary}`).join('\n'), 0);
  const scenario = SCENARIOS.find((s) => s.name === values.scenario);
  if (!scenario) return say(`there is no scenario ${values.scenario}; --list lists them`, 2);
  const [guestDir, temporalBinary] = [values['guest-dir'], values['temporal-binary']];
  if (!guestDir || !temporalBinary) return say(USAGE, 2);

  const root = process.env['KORORA_DEMO_DIR'] ?? '/tmp/korora-demo';
  const stage = createStage(terminalScreen(process.stdout));
  stage.say(`── ${scenario.name}: ${scenario.summary}\n`);
  const testbed = await startTestbed({ root, guestDir, temporalBinary, ...scenario.taps?.(root) });
  stage.say(`two hosts, each with its TPM and worker; Temporal at ${testbed.server.address}, its web UI at ${testbed.server.uiUrl}`);
  let isRight = false;
  try {
    const end = await scenario.run(testbed, stage);
    isRight = true;
    stage.say(`\nevidence      ${end.result.evidencePath}\nTemporal run  ${end.runUrl}`);
    if (!values.keep) stage.say('              (up only with --keep)');
  } catch (error) {
    stage.say(`\n${error instanceof Error ? error.message : String(error)}\nlogs are in ${join(root, 'logs')}`);
  }
  if (values.keep) {
    await testbed.keep();
    stage.say(`\neverything is left up. Look around with\n  export TEMPORAL_ADDRESS=${testbed.server.address} KORORA_TRUST=${testbed.environment['KORORA_TRUST']} KORORA_KEY=${testbed.environment['KORORA_KEY']}\n  dist/bin/korora vm list`);
  } else {
    await testbed.stop();
  }
  return isRight ? 0 : 1;
}

function say(text: string, code: number): number {
  process.stdout.write(`${text}\n`);
  return code;
}

process.exit(await main());
