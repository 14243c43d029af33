/**
 * The endorsement key of a host's TPM, as an enrolment uses it: its certificate from NV, and the host's half of credential
 * protection (TPM 2.0 Part 1 §24). The EK is made anew from its template and stays nowhere. Judges no certificate (ek-certificate.ts).
 */
import { join } from 'node:path';
import { refuse } from '../domain/failures.js';
import { readEkCertificate } from './ek-certificate.js';
import { EK_TEMPLATES } from './ek-template.js';
import { AK, type HostTpmOptions } from './host-tpm.js';
import { sized } from './marshal.js';
import { STDOUT, createTpmTools } from './tools.js';

export interface Endorsement {
  /** What NV holds for the EK of the most preferred template: DER, maybe with bytes to spare after it; null where there is none. TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
  certificate(): Promise<Buffer | null>;
  /**
   * TPM2_ActivateCredential (Part 3 §12.5) with the AK, which must be there, and the EK of that certificate: the secret in a
   * credential of credential.ts. EK_CERTIFICATE_MISSING, EK_CERTIFICATE_INVALID; EK_DIFFERS, where the TPM makes another EK than
   * its certificate names; ACTIVATION_REFUSED, where the credential is for another EK or AK.
   */
  activate(credential: Buffer): Promise<Buffer>;
}

export function createEndorsement({ access, hostId, tcti, stateDir }: HostTpmOptions): Endorsement {
  const tools = createTpmTools({ access, hostId, tcti, stateDir });

  const certificate = async (): Promise<Buffer | null> => {
    const present = (await tools.run('tpm2_getcap', ['handles-nv-index'])).toString();
    const template = EK_TEMPLATES.find(({ certificateIndex }) => new RegExp(`\\b${certificateIndex}\\b`, 'i').test(present));
    return template ? tools.run('tpm2_nvread', [template.certificateIndex]) : null;
  };

  /** Puts the context of the EK into a file; nothing stays loaded. */
  const makeEk = async (contextFile: string) => {
    const stored = await certificate();
    if (stored === null) throw refuse('EK_CERTIFICATE_MISSING', { host: hostId });
    const { template, publicArea } = readEkCertificate(stored, hostId).ek;
    const made = await tools.run('tpm2_createek', ['-G', template.algorithm, '-c', contextFile, '-u', STDOUT, '-Q']);
    await tools.flush('objects');
    if (!made.equals(sized(publicArea))) throw refuse('EK_DIFFERS', { host: hostId });
    return template;
  };

  const policySession = async (session: string): Promise<void> => {
    await tools.run('tpm2_startauthsession', ['--policy-session', '-S', session]);
    await tools.run('tpm2_policysecret', ['-S', session, '-c', 'e', '-Q']);
  };

  const openCredential = async (credential: Buffer, folder: string): Promise<Buffer> => {
    const [ek, session, credentialFile] = [join(folder, 'ek.ctx'), join(folder, 'session.ctx'), join(folder, 'credential')];
    const { isUsedByPolicy } = await makeEk(ek);
    await access.writeFileDurably(credentialFile, credential);
    const activate = ['-c', AK.handle, '-C', ek, '-i', credentialFile, '-o', STDOUT, '-Q'];
    try {
      if (isUsedByPolicy) await policySession(session);
      const outcome = await tools.attempt('tpm2_activatecredential', isUsedByPolicy ? [...activate, '-P', `session:${session}`] : activate);
      if (outcome.ok) return outcome.stdout;
      // Which answer that is, is up to the TPM: with an ECC key the integrity check fails (0x1df), with an RSA key the decryption before it.
      throw outcome.responseCode === null ? outcome.error : refuse('ACTIVATION_REFUSED', { host: hostId, problem: outcome.error.failures[0].message }, outcome.error);
    } finally {
      if (isUsedByPolicy) await tools.attempt('tpm2_flushcontext', [session]).catch(() => undefined);
    }
  };

  return {
    certificate: () => tools.exclusive(certificate),
    activate: (credential) => tools.exclusive(() => tools.withFolder((folder) => openCredential(credential, folder))),
  };
}
