/**
 * A software TPM 2.0 in the place of a host's own, to try Kororā where there is none:
 *
 *   node dist/infra/testbed/software-tpm.js --host host-a --dir /tmp/korora-try/host-a/tpm --port 2321
 *
 * Prints the TCTI for the host's configuration. The CA of its EK certificates is DIR/ca/*cert.pem. Protects nothing: its state is a file.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { HostId } from '../../domain/ids.js';
import { createLocalHost } from '../../host/local.js';
import { ensureTestbedTpm, ensureTestbedTpmStopped } from '../../tpm/testbed-tpm.js';

const { values } = parseArgs({
  options: { host: { type: 'string', default: 'host-a' }, dir: { type: 'string' }, port: { type: 'string', default: '2321' }, stop: { type: 'boolean', default: false } },
});
if (!values.dir) {
  process.stderr.write('usage: software-tpm --dir DIR [--host NAME] [--port N] [--stop]\n');
  process.exit(2);
}
const spec = { access: createLocalHost(HostId.parse(values.host)), hostId: values.host, stateDir: resolve(values.dir), port: Number(values.port) };
if (values.stop) await ensureTestbedTpmStopped(spec);
else process.stdout.write(`${(await ensureTestbedTpm(spec)).tcti}\n`);
