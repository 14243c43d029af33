#!/usr/bin/env -S node --single-threaded-gc
/**
 * The `korora` command. Exit code 0: done; 1: refused or failed, with code and remedy; 2: wrong usage;
 * 3: evidence in which nothing is wrong, and in which what it claims is not signed.
 *
 * The flag above: a host worker reads the image in fresh buffers, and V8's parallel collectors then fight the hypervisor
 * for the cores. With one thread the copy of a guest that dirties 20 MiB/s took 1.1–1.8 s instead of 2.2–3.0 s (medians of
 * three throw-away runs of ten moves each, two cores) [test pending].
 */
import { Command, CommanderError } from 'commander';
import { addHostCommands } from './commands/host.js';
import { addKeyCommands } from './commands/key.js';
import { addMigrateCommands } from './commands/migrate.js';
import { addSteerCommands } from './commands/steer.js';
import { addTrustCommands } from './commands/trust.js';
import { addVerifyCommand } from './commands/verify.js';
import { addVmCommands } from './commands/vm.js';
import { addWordCommands } from './commands/words.js';
import { addWorkerCommands } from './commands/worker.js';
import { COMMANDER_OUTPUT, complain, endWithTheReader } from './terminal.js';

const program = new Command('korora')
  .description('Attested live migration of virtual machines with vTPM')
  .option('--json', 'print JSON, one document a line')
  .option('--trust <file>', 'trust bundle (default: KORORA_TRUST)')
  .option('--key <file>', 'your key, to sign orders with (default: KORORA_KEY)')
  .option('--queue <name>', 'task queue of the control workers')
  .option('--yes', 'sign what is shown without being asked')
  .addHelpText('after', '\nTemporal is found by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS_* or temporal.toml.')
  .configureOutput(COMMANDER_OUTPUT)
  .exitOverride();

addWorkerCommands(program);
addKeyCommands(program);
addHostCommands(program);
addTrustCommands(program);
addVmCommands(program);
addMigrateCommands(program);
addSteerCommands(program);
addWordCommands(program);
addVerifyCommand(program);

endWithTheReader();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    // A defect: its stack, which may hold text from elsewhere.
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exitCode = 1;
  }
}
