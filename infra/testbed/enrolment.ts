/** The enrolment of a testbed's host, all of it in one process: the host's part and the operator's, with the CA of its software TPM. */
import { type EnrolmentRequest, answerChallenge, enrolHost } from '../../workers/enrol.js';
import { type AdmittedHost, admitHosts, challengeHost, readCas } from '../../workers/admit.js';
import type { HostConfig } from '../../workers/config.js';

export async function admitTestbedHost(config: HostConfig, request: EnrolmentRequest, caFiles: readonly string[]): Promise<readonly AdmittedHost[]> {
  const { challenge, kept } = await challengeHost(await enrolHost(config, request), await readCas(caFiles));
  return admitHosts([kept, await answerChallenge(config, challenge)], []);
}
