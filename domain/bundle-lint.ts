/**
 * What is allowed in a trust bundle and yet is seldom meant: for whoever signs it, before that. A bundle that is not allowed at all
 * does not come here (trust-bundle.ts). Pure.
 */
import { ACTIONS, type Action, type Operator } from './operators.js';
import type { HostClass, TrustBundle } from './trust-bundle.js';

export interface LintFinding {
  /** `error`: something named here does not work, or says two things. `warning`: it works, and trusts more than most would want. */
  readonly severity: 'error' | 'warning';
  /** The member of the bundle, as `korora trust diff` names it. */
  readonly at: string;
  readonly problem: string;
}

const DAY_MS = 86_400_000;
const EXPIRES_SOON_DAYS = 30;
/** Firmware, its options and what it loads, and the state of Secure Boot (TCG PC Client Platform Firmware Profile §3.3.4). */
const USUAL_PCRS = [0, 2, 4, 7];
/** What a PCR holds that nothing was measured into since the start: zeros below 17 and at 23, ones between. */
const NEVER_EXTENDED = ['00'.repeat(32), 'ff'.repeat(32)];
const ANY = '*';

export function lintBundle(bundle: TrustBundle, now: Date): readonly LintFinding[] {
  return [
    ...expiry(bundle, now),
    ...hosts(bundle),
    ...Object.entries(bundle.classes).flatMap(([name, hostClass]) => classFindings(`classes.${name}`, hostClass, bundle.hosts.some((host) => host.class === name))),
    ...bundle.operators.flatMap((operator) => operatorFindings(operator, bundle)),
    ...powers(bundle),
  ];
}

const error = (at: string, problem: string): LintFinding => ({ severity: 'error', at, problem });
const warning = (at: string, problem: string): LintFinding => ({ severity: 'warning', at, problem });

function expiry({ expiresAt }: TrustBundle, now: Date): LintFinding[] {
  const days = Math.floor((Date.parse(expiresAt) - now.getTime()) / DAY_MS);
  if (days < 0) return [error('expiresAt', `it expired at ${expiresAt}`)];
  return days < EXPIRES_SOON_DAYS ? [warning('expiresAt', `it expires in ${days} days`)] : [];
}

function hosts({ hosts: all }: TrustBundle): LintFinding[] {
  const active = all.filter(({ status }) => status === 'active');
  return [
    ...(active.length < 2 ? [error('hosts', `${active.length === 0 ? 'no host is' : 'only one host is'} active: nothing can move`)] : []),
    ...active.flatMap(({ hostId, identity }) => (identity.proof === 'none' ? [warning(`hosts.${hostId}.identity`, 'nobody has shown that its AK is in a TPM')] : [])),
  ];
}

function classFindings(at: string, { pcrs, referenceSets, firmwareVersions }: HostClass, isUsed: boolean): LintFinding[] {
  const absent = USUAL_PCRS.filter((pcr) => !pcrs.includes(pcr));
  const valuesOf = (i: number) => JSON.stringify(pcrs.map((pcr) => referenceSets[i]?.pcrValues[pcr]));
  return [
    ...(isUsed ? [] : [warning(at, 'no host is of this class')]),
    ...(absent.length > 0 ? [warning(`${at}.pcrs`, `PCR ${absent.join(', ')} may have any value`)] : []),
    ...(firmwareVersions === null ? [warning(`${at}.firmwareVersions`, 'the TPMs may have any firmware')] : []),
    ...referenceSets.flatMap((set, i) => {
      const empty = pcrs.filter((pcr) => NEVER_EXTENDED.includes(set.pcrValues[pcr] ?? ''));
      const [sameId, sameValues] = [referenceSets.findIndex(({ id }) => id === set.id), referenceSets.findIndex((_, j) => valuesOf(j) === valuesOf(i))];
      const other = referenceSets[sameValues];
      return [
        ...(sameId < i ? [error(`${at}.referenceSets.${set.id}`, 'another set of the class has this id: evidence could mean either')] : []),
        ...(other && sameValues < i && other.status === set.status ? [warning(`${at}.referenceSets.${set.id}`, `it has the values of ${other.id}`)] : []),
        ...(other && other.status !== set.status ? [error(`${at}.referenceSets.${set.id}`, `it is ${set.status}, and ${other.id} with the same values is ${other.status}`)] : []),
        ...(set.status === 'active' && empty.length > 0 ? [warning(`${at}.referenceSets.${set.id}`, `nothing was measured into PCR ${empty.join(', ')}: the value says nothing of the host`)] : []),
      ];
    }),
  ];
}

function operatorFindings({ name, status, scopes }: Operator, bundle: TrustBundle): LintFinding[] {
  if (status !== 'active') return [];
  const at = `operators.${name}`;
  const known = new Set<string>([ANY, ...bundle.hosts.map(({ hostId }) => hostId)]);
  const unknown = new Set(scopes.flatMap(({ sources, destinations }) => [...sources, ...destinations]).filter((host) => !known.has(host)));
  const mayAll = scopes.some((scope) => ACTIONS.every((action) => scope.actions.includes(action)) && [scope.vms, scope.sources, scope.destinations].every((patterns) => patterns.some((pattern) => pattern === ANY)));
  const opening = scopes.filter(({ actions }) => actions.includes('start') || actions.includes('migrate'));
  const mayOpenAny = (['disks', 'bootFiles', 'bridges'] as const).filter((kind) => opening.some((scope) => scope[kind].includes(ANY)));
  return [
    ...(scopes.length === 0 ? [error(at, 'no scope: this key may do nothing')] : []),
    ...[...unknown].map((host) => error(at, `a scope names ${host}, and there is no such host`)),
    ...(mayAll ? [warning(at, 'this key alone may do everything, on every host')] : []),
    ...(mayOpenAny.length > 0 ? [warning(at, `a scope lets VMs open any of these that a host has: ${mayOpenAny.join(', ')}`)] : []),
  ];
}

function powers({ operators, parameters }: TrustBundle): LintFinding[] {
  const active = operators.filter(({ status }) => status === 'active');
  const whoMay = (action: Action) => active.filter(({ scopes }) => scopes.some(({ actions }) => actions.includes(action))).map(({ name }) => name);
  const [first, ...others] = whoMay('approve');
  const isAlone = first !== undefined && others.length === 0 && whoMay('migrate').includes(first);
  return [
    ...ACTIONS.filter((action) => action !== 'approve' && whoMay(action).length === 0).map((action) => warning('operators', `no active operator may ${action}`)),
    ...parameters.wordsOfTwo.filter((action) => whoMay(action).length < 2).map((action) => error('parameters.wordsOfTwo', `two operators must sign to ${action}, and ${whoMay(action)[0] ?? 'nobody'} alone may`)),
    ...(parameters.approverMustDiffer && first === undefined ? [error('parameters.approverMustDiffer', 'an approver must be another than who ordered, and no active operator may approve')] : []),
    ...(parameters.approverMustDiffer && isAlone ? [warning('parameters.approverMustDiffer', `only ${first} may approve, and not what ${first} ordered`)] : []),
  ];
}
