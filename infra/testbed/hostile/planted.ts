/**
 * Defects that the product had, or nearly had, each put back around its parts: what the hostile control plane has to find. Where one alone
 * comes to nothing, since another part stands behind it, that part is taken out too, and its name says so.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Context } from '@temporalio/activity';
import type { HostActivities } from '../../../activities/index.js';
import { admitToSettle } from '../../../activities/admission.js';
import { HOST_INPUTS } from '../../../activities/inputs.js';
import type { HostServices } from '../../../activities/services.js';
import type { Sessions } from '../../../activities/session.js';
import { createStatements } from '../../../activities/statements.js';
import { z } from 'zod';
import { digestOf } from '../../../domain/canonical.js';
import { refuse } from '../../../domain/failures.js';
import { openSigned } from '../../../domain/authority.js';
import { type OwnershipEvent, OwnershipRecord, mayRun } from '../../../domain/ownership.js';
import { SecretKey } from '../../../domain/secret-key.js';
import { INVARIANTS, type InvariantName, recordPath } from './judge.js';
import type { Planted } from './world.js';

export interface Defect {
  readonly name: string;
  readonly what: string;
  /** What it has to be found by. */
  readonly breaks: readonly InvariantName[];
  readonly planted: Planted;
  /** With which few runs find it; of three. */
  readonly seed: number;
}

const ALL = Object.keys(INVARIANTS) as InvariantName[];

type Activity = keyof HostActivities;

/** Which activity goes on. */
const activity = new AsyncLocalStorage<Activity>();

const named = (activities: HostActivities): HostActivities =>
  Object.fromEntries(Object.entries(activities).map(([name, run]) => [name, (input: never) => activity.run(name as Activity, () => (run as (input: never) => Promise<unknown>)(input))])) as HostActivities;

const anythingGoes: Planted = {
  plant() {
    const rows = HOST_INPUTS as Record<string, z.ZodType>;
    const before = { ...rows };
    for (const name of Object.keys(rows)) rows[name] = z.any();
    return () => void Object.assign(rows, before);
  },
};

const recordsUnchecked: Planted = {
  ...anythingGoes,
  services(services) {
    const { access, ownership, hostId } = services;
    return {
      ...services,
      ownership: {
        ...ownership,
        hold: (vmId, work) =>
          ownership.hold(vmId, (record, apply) =>
            work(record, async (event) => {
              if (event.type !== 'reject' || typeof event.reason === 'string') return apply(event);
              const written = await apply({ ...event, reason: 'as told' });
              const asTold = { ...written, settled: written.settled.map((one) => (one.migrationId === event.migrationId ? { ...one, reason: event.reason as string } : one)) };
              if (written !== record) await access.writeFileDurably(recordPath(hostId, vmId), JSON.stringify(asTold));
              return asTold;
            }),
          ),
      },
    };
  },
};

function withoutTurns(sessions: Sessions, hostId: string): Sessions {
  return {
    ...sessions,
    async inTurn(key, step) {
      const session = sessions.find(key.migrationId);
      if (session?.orderDigest !== key.orderDigest || session.role !== key.role) throw refuse('SESSION_LOST', { host: hostId });
      return step(session);
    },
    async inTurnOf(migrationId, step) {
      const session = sessions.find(migrationId);
      return session ? step(session) : null;
    },
    async close(migrationId, why) {
      const secrets = sessions.find(migrationId)?.secrets;
      secrets?.sessionKey.destroy();
      secrets?.vtpmMigrationKey.destroy();
      await sessions.close(migrationId, why);
    },
  };
}

const noTurns: Planted = { services: (services) => ({ ...services, sessions: withoutTurns(services.sessions, services.hostId) }) };

/** As a buffer that was wiped in place. */
const wipedKeys: Planted = {
  plant() {
    const { use, copy } = SecretKey.prototype;
    const Made = SecretKey as unknown as new (bytes: Uint8Array) => SecretKey;
    Object.assign(SecretKey.prototype, {
      use(this: SecretKey, work: (bytes: Uint8Array) => unknown) {
        return this.isDestroyed ? work(new Uint8Array(32)) : use.call(this, work);
      },
      copy(this: SecretKey) {
        return this.isDestroyed ? new Made(new Uint8Array(32)) : copy.call(this);
      },
    });
    return () => void Object.assign(SecretKey.prototype, { use, copy });
  },
};

const anyState: Planted = {
  services({ verifier, ...services }) {
    const appraiseStatement: typeof verifier.appraiseStatement = (spec) => {
      const problem = verifier.quoteProblem({ ak: spec.host.attestationKey, signed: spec.quote, qualifyingData: Buffer.from(digestOf(spec.document), 'hex') });
      return problem === null ? [] : verifier.appraiseStatement(spec);
    };
    return { ...services, verifier: { ...verifier, appraiseStatement } };
  },
};

/** By the larger number alone. */
const bareEpochs: Planted = {
  activities(activities, services) {
    const { ownership, access, hypervisor, vtpms, vms, hostId } = services;
    return {
      ...activities,
      async yieldToClaim(input) {
        const { claim, quote } = HOST_INPUTS.yieldToClaim.parse(input).statement;
        const problem = await createStatements(services).problem(claim.hostId, claim, quote, null);
        if (problem) throw refuse('CLAIM_UNPROVEN', { host: claim.hostId, problem });
        const { vmId, migrationId } = claim;
        await ownership.hold(vmId, async (record) => {
          if (!mayRun(record) || claim.epoch <= record.epoch || claim.hostId === hostId) return;
          const { version, generation, settled, epoch } = record;
          const retired = OwnershipRecord.parse({ version, vmId, hostId, generation, settled, state: 'retired', epoch, migrationId, peer: claim.hostId, keptUntil: null });
          await access.writeFileDurably(recordPath(hostId, vmId), JSON.stringify(retired));
          await hypervisor.ensureDestroyed(vmId, vms.runDirOf(vmId));
          await vtpms.ensureStopped(vms.runDirOf(vmId));
          await vms.erase(vmId);
        });
      },
    };
  },
};

/** What was looked up is believed at the withdrawal still. */
const twoSteps: Planted = {
  activities(activities, { hostId, sessions, ownership, hypervisor, vms, ...services }) {
    return {
      ...activities,
      async settleSource(input) {
        const { order: envelope } = HOST_INPUTS.settleSource.parse(input);
        const { order, role, shown } = await admitToSettle({ hostId, sessions, ownership, hypervisor, vms, ...services }, envelope);
        const { vmId, migrationId } = order;
        const record = await ownership.read(vmId);
        if (role !== 'source' || record.state !== 'owner' || sessions.find(migrationId)?.outgoing) return activities.settleSource(input);
        const isThere = (await hypervisor.status(vmId, vms.runDirOf(vmId))) !== 'absent';
        await ownership.apply(vmId, { type: 'withdraw', migrationId, shown });
        return { state: isThere ? 'runs' : 'absent', epoch: record.epoch + 1 };
      },
    };
  },
};

/** Whoever asks has a move settled, and the newest word counts. */
const anyoneSettles: Planted = {
  activities(activities, services) {
    const { access, ownership, hostId } = services;
    return {
      ...activities,
      async settleDestination(input) {
        try {
          return await activities.settleDestination(input);
        } catch (error) {
          const { order: envelope, reason } = HOST_INPUTS.settleDestination.parse(input);
          const { vmId, migrationId, epoch } = openSigned('korora/order', envelope).document;
          await ownership.hold(vmId, async (record) => {
            const settled = [...record.settled.filter((one) => one.migrationId !== migrationId), { migrationId, epoch: epoch + 1, outcome: 'rejected', manifest: null, reason, peer: null, authority: null, notAfter: null }];
            await access.ensureDirectory(recordPath(hostId, vmId).replace('/ownership.json', ''));
            await access.writeFileDurably(recordPath(hostId, vmId), JSON.stringify(OwnershipRecord.parse({ ...record, settled })));
          });
          throw error;
        }
      },
    };
  },
};

/** A tombstone takes the place of what stands there. */
const overwriting: Planted = {
  services(services) {
    const { ownership, access, hostId } = services;
    const over = async (record: OwnershipRecord, event: OwnershipEvent) => {
      if ((event.type !== 'reject' && event.type !== 'withdraw') || !event.shown) return;
      const { migrationId, shown } = event;
      if (!record.settled.some((one) => one.migrationId === migrationId)) return;
      const settled = record.settled.map((one) => (one.migrationId === migrationId ? { ...one, outcome: 'withdrawn', epoch: shown.epoch, authority: null, peer: null, manifest: null, reason: null } : one));
      await access.writeFileDurably(recordPath(hostId, record.vmId), JSON.stringify(OwnershipRecord.parse({ ...record, settled })));
    };
    return {
      ...services,
      ownership: {
        ...ownership,
        hold: (vmId, work) =>
          ownership.hold(vmId, (record, apply) =>
            work(record, async (event) => {
              const after = await apply(event);
              await over(after, event);
              return after;
            }),
          ),
      },
    };
  },
};

const goodAgain: Planted = {
  services({ ownership, ...services }) {
    return {
      ...services,
      ownership: {
        ...ownership,
        async read(vmId) {
          const record = await ownership.read(vmId);
          return activity.getStore() === 'openSession' ? { ...record, settled: [] } : record;
        },
      },
    };
  },
  activities: named,
};

const noHold: Planted = {
  services: ({ ownership, ...services }) => ({
    ...services,
    ownership: { ...ownership, hold: async (vmId, work) => work(await ownership.read(vmId), (event) => ownership.apply(vmId, event)) },
  }),
};

const acceptedSaid: Planted = {
  activities: (activities, services) => ({
    ...activities,
    async settleDestination(input) {
      const answer = await activities.settleDestination(input);
      if ('verdict' in answer) return answer;
      const { migrationId, vmId, hostId } = answer.succession;
      const { epoch } = openSigned('korora/order', HOST_INPUTS.settleDestination.parse(input).order).document;
      const verdict = { protocol: 'korora/1', purpose: 'verdict', verdict: 'accepted', migrationId, vmId, destination: hostId, epoch: (epoch + 1) as never, manifestDigest: digestOf('no image'), reason: null } as const;
      return { verdict, quote: await createStatements(services).sign(verdict), isAbsent: false, manifest: null };
    },
  }),
};

/** What is forgotten goes by what Temporal tells, too. */
const toldTime: Planted = {
  services: (services) => ({ ...services, clock: { now: () => Math.max(services.clock.now(), told()) } }),
};

function told(): number {
  try {
    const at = Context.current().info.currentAttemptScheduledTimestampMs;
    return at <= 8.64e15 ? at : 0;
  } catch {
    return 0;
  }
}

function both(...planted: readonly Planted[]): Planted {
  return {
    services: (services: HostServices) => planted.reduce((built, one) => one.services?.(built) ?? built, services),
    activities: (activities, services) => planted.reduce((built, one) => one.activities?.(built, services) ?? built, activities),
    plant() {
      const out = planted.map((one) => one.plant?.());
      return () => out.forEach((takeOut) => takeOut?.());
    },
  };
}

export const DEFECTS: readonly Defect[] = [
  { name: 'any-input', what: 'the parser of inputs says yes to everything', breaks: ['typed-refusals'], planted: anythingGoes, seed: 3 },
  { name: 'any-record', what: 'and the store of records writes what it is told', breaks: ['records-readable'], planted: recordsUnchecked, seed: 2 },
  { name: 'no-turns-wiped-keys', what: 'steps of a session at once, and keys that give zeros when they are destroyed', breaks: ['keys-of-their-own', 'good-hands'], planted: both(noTurns, wipedKeys), seed: 1 },
  { name: 'any-state', what: 'a statement is believed by its signature alone', breaks: ['takes-back-on-a-refusal', 'gives-up-to-an-owner'], planted: anyState, seed: 3 },
  { name: 'bare-epochs', what: 'a claim is believed by its epoch alone', breaks: ['gives-up-to-an-owner', 'nothing-erased'], planted: bareEpochs, seed: 3 },
  { name: 'two-steps', what: 'settleSource looks the copy up, and withdraws the offer later', breaks: ['way-back'], planted: twoSteps, seed: 1 },
  { name: 'anyone-settles', what: 'a settlement without a signed order', breaks: ['settled-as-ordered'], planted: anyoneSettles, seed: 3 },
  { name: 'overwriting', what: 'a settlement takes the place of another', breaks: ['settled-for-good'], planted: overwriting, seed: 1 },
  { name: 'told-time', what: 'what is over is forgotten by the time that Temporal tells', breaks: ['settled-for-good'], planted: toldTime, seed: 2 },
  { name: 'good-again', what: 'a session of an order that was settled', breaks: ['refused-is-refused'], planted: goodAgain, seed: 2 },
  { name: 'no-hold', what: 'two that act on one record at once', breaks: ALL, planted: noHold, seed: 3 },
  { name: 'accepted-said', what: 'a host that owned a later epoch says that it accepted', breaks: ['says-what-was'], planted: acceptedSaid, seed: 2 },
];
