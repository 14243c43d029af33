/**
 * Puts the harness before and after every event of the ownership store and every message of the channel. Behind it are
 * the real store and the real channel; a message that is to fail closes the real channel first.
 */
import { Transform, pipeline, type Readable } from 'node:stream';
import type { ChannelListener, Channels, IncomingChannel, OutgoingChannel } from '../../../channel/port.js';
import { refuse } from '../../../domain/failures.js';
import type { OwnershipEvent, OwnershipRecord } from '../../../domain/ownership.js';
import type { OwnershipStore } from '../../../host/ownership-store.js';
import type { HostParts } from '../../../workers/host.js';
import type { Ask } from './ask.js';
import { INJECTED, type MessageName, type Point, type WriteName } from './points.js';

export function wrapServices(services: HostParts, ask: Ask): HostParts {
  const { hostId: on } = services;
  const at = (kind: Point['kind'], name: string, when: Point['at']) => ask({ kind, on, name, at: when, attempt: 1 });

  /** Asks on both sides of `work`; `cut` is how the thing fails where it is told to. */
  async function around<T>(kind: Point['kind'], name: string, cut: () => void, work: () => Promise<T>): Promise<T> {
    if (failing(await at(kind, name, 'before'))) cut();
    const result = await work();
    if (failing(await at(kind, name, 'after'))) cut();
    return result;
  }

  function wrapOwnership(store: OwnershipStore): OwnershipStore {
    const fail = () => {
      throw refuse('HOST_COMMAND_FAILED', { command: 'write', host: on, problem: INJECTED });
    };
    const applied = (event: OwnershipEvent, apply: () => Promise<OwnershipRecord>) => around('write', writeName(event), fail, apply);
    return {
      ...store,
      apply: (vmId, event) => applied(event, () => store.apply(vmId, event)),
      hold: (vmId, work) => store.hold(vmId, (record, apply) => work(record, (event) => applied(event, () => apply(event)))),
    };
  }

  function wrapChannels(channels: Channels): Channels {
    return {
      ...channels,
      async connect(address, terms, signal) {
        const unreachable = () => {
          throw refuse('CHANNEL_UNREACHABLE', { address: address.host, problem: INJECTED });
        };
        return wrapOutgoing(await around<OutgoingChannel>('message', 'connect' satisfies MessageName, unreachable, () => channels.connect(address, terms, signal)));
      },
      async listen(address, terms) {
        return wrapListener(await channels.listen(address, terms));
      },
    };
  }

  function wrapListener(listener: ChannelListener): ChannelListener {
    return {
      ...listener,
      accept: async () => wrapIncoming(await around<IncomingChannel>('message', 'accept' satisfies MessageName, () => void listener.close(), () => listener.accept())),
    };
  }

  function wrapOutgoing(channel: OutgoingChannel): OutgoingChannel {
    return {
      broken: channel.broken,
      get sentBytes() {
        return channel.sentBytes;
      },
      sendImage: (image) => channel.sendImage(heldAtFirstData(image, () => channel.abort(INJECTED))),
      sendManifest: (manifest) => around('message', 'manifest' satisfies MessageName, () => channel.abort(INJECTED), () => channel.sendManifest(manifest)),
      receiveVerdict: () => channel.receiveVerdict(),
      abort: (reason) => channel.abort(reason),
      close: () => channel.close(),
    };
  }

  function wrapIncoming(channel: IncomingChannel): IncomingChannel {
    return {
      broken: channel.broken,
      get receivedBytes() {
        return channel.receivedBytes;
      },
      receiveImage: (sink) => channel.receiveImage(sink),
      sendVerdict: (verdict) => around('message', 'verdict' satisfies MessageName, () => channel.abort(INJECTED), () => channel.sendVerdict(verdict)),
      abort: (reason) => channel.abort(reason),
      close: () => channel.close(),
    };
  }

  /** The image as it is, but its first bytes wait for the harness on both sides. */
  function heldAtFirstData(image: Readable, cut: () => void): Readable {
    let isFirst = true;
    const gate = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (!isFirst) return done(null, chunk);
        isFirst = false;
        const pass = async () => void gate.push(chunk);
        around('message', 'first-data' satisfies MessageName, cut, pass).then(() => done(), done);
      },
    });
    return pipeline(image, gate, () => undefined);
  }

  return { ...services, ownership: wrapOwnership(services.ownership), channels: wrapChannels(services.channels) };
}

function writeName(event: OwnershipEvent): WriteName {
  return event.type === 'learn-verdict' ? `learn-${event.proven.verdict.verdict}` : event.type;
}

function failing(answer: string): boolean {
  return answer === 'fail' || answer === 'fail-retryable';
}
