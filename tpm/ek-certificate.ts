/**
 * Whether an EK certificate is one of a TPM maker that is trusted: its kind, and the chain from it to a given root. Signatures and
 * names are checked by OpenSSL (node:crypto). Asks no TPM: that the EK is in a TPM, and which AK is with it, is for the credential to show.
 */
import { X509Certificate, createHash } from 'node:crypto';
import { problemOf, refuse } from '../domain/failures.js';
import { type EkPublic, ekPublicOf } from './ek-template.js';

declare const verified: unique symbol;

/** Of an EK, in a chain of signatures to a given root, all of it valid at the given time. Nobody has shown yet to have that EK. */
export type VerifiedEk = EkPublic & { readonly certificateSha256: string; readonly rootSha256: string } & { readonly [verified]: true };

/** tcg-kp-EKCertificate (TCG EK Credential Profile §3.2.16). */
const EK_CERTIFICATE_USAGE = '2.23.133.8.1';

/**
 * The EK that `certificate` (DER) names. `cas`: roots and intermediates, the only certificates that a chain is made of; it ends at a
 * self-signed one. EK_CERTIFICATE_INVALID, EK_CERTIFICATE_UNTRUSTED, EK_CERTIFICATE_EXPIRED.
 */
export function verifyEkCertificate(input: {
  readonly host: string;
  readonly certificate: Buffer;
  readonly cas: readonly X509Certificate[];
  readonly at: Date;
}): VerifiedEk {
  const { host, cas, at } = input;
  const { certificate, ek } = readEkCertificate(input.certificate, host);
  const chains = chainsFrom(certificate, cas);
  if (chains.length === 0) throw refuse('EK_CERTIFICATE_UNTRUSTED', { host, issuer: oneLine(certificate.issuer) });
  const chain = chains.find((candidate) => candidate.every((link) => isValidAt(link, at)));
  if (!chain) {
    const { subject, validFrom, validTo } = chains.flat().find((link) => !isValidAt(link, at)) as X509Certificate;
    throw refuse('EK_CERTIFICATE_EXPIRED', { host, subject: oneLine(subject), validFrom, validTo, at: at.toISOString() });
  }
  return { ...ek, certificateSha256: fingerprintOf(certificate), rootSha256: fingerprintOf(chain.at(-1) as X509Certificate) } as VerifiedEk;
}

/** A certificate (DER; bytes after it do not count) for an EK of a kind that is known here. Says nothing about who signed it. EK_CERTIFICATE_INVALID. */
export function readEkCertificate(der: Buffer, host: string): { readonly certificate: X509Certificate; readonly ek: EkPublic } {
  const invalid = (problem: string, cause?: unknown) => refuse('EK_CERTIFICATE_INVALID', { host, problem }, cause);
  const parse = () => {
    try {
      const parsed = new X509Certificate(der);
      return { certificate: parsed, ek: ekPublicOf(parsed.publicKey) };
    } catch (cause) {
      throw invalid(problemOf(cause), cause);
    }
  };
  const { certificate, ek } = parse();
  if (certificate.ca) throw invalid('it is of a CA');
  if (!usagesOf(certificate).includes(EK_CERTIFICATE_USAGE)) throw invalid(`its extended key usage lacks ${EK_CERTIFICATE_USAGE} (EK certificate)`);
  if (!ek) throw invalid('its key is neither RSA 2048 nor ECC P-256 nor ECC P-384');
  return { certificate, ek };
}

/** The certificates in a file: PEM, several in a row if need be, or one in DER. Throws where there is none. */
export function certificatesIn(content: Buffer): X509Certificate[] {
  const pems = content.toString('latin1').match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs);
  return (pems ?? [content]).map((certificate) => new X509Certificate(certificate));
}

/** Every way from a certificate over CAs, each used once, to a self-signed one. Dates are not looked at. */
function chainsFrom(certificate: X509Certificate, cas: readonly X509Certificate[]): readonly (readonly X509Certificate[])[] {
  return cas
    .filter((ca) => isIssuedBy(certificate, ca))
    .flatMap((ca) => (isIssuedBy(ca, ca) ? [[ca]] : chainsFrom(ca, cas.filter((other) => other !== ca))))
    .map((rest) => [certificate, ...rest]);
}

/** By name, key identifier, key usage and signature (RFC 5280 §6.1.3); the issuer is a CA (basic constraints). */
function isIssuedBy(certificate: X509Certificate, ca: X509Certificate): boolean {
  try {
    return ca.ca && certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
  } catch {
    return false; // a key that OpenSSL does not know
  }
}

/** A date that cannot be read is no date. */
function isValidAt({ validFrom, validTo }: X509Certificate, at: Date): boolean {
  return Date.parse(validFrom) <= at.getTime() && at.getTime() <= Date.parse(validTo);
}

/** Extended key usage; undefined where there is none, which the types do not say. */
function usagesOf({ keyUsage }: X509Certificate): readonly string[] {
  return (keyUsage as readonly string[] | undefined) ?? [];
}

function fingerprintOf({ raw }: X509Certificate): string {
  return createHash('sha256').update(raw).digest('hex');
}

/** "CN=…, O=…" of a name that Node gives line by line. An EK certificate need have no subject; Node gives none then, which the types do not say. */
function oneLine(name: string | undefined): string {
  return name === undefined ? 'a certificate without a name' : name.split('\n').join(', ');
}
