/**
 * What stands between everybody and the Temporal server: ends mutual TLS, which the one-machine server has none of, and
 * keeps a copy of every call that passes, with headers, in both directions. It speaks HTTP/2 itself, so the copy holds what
 * was said and not how it was packed.
 */
import { readFile } from 'node:fs/promises';
import { type ClientHttp2Session, type ClientHttp2Stream, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream, connect, constants, createSecureServer } from 'node:http2';
import { gunzipSync } from 'node:zlib';
import type { Certificate } from './certificates.js';
import { listenOn } from './ports.js';

export interface TemporalFront {
  /** Host and port. */
  readonly address: string;
  /** So far, calls that still run included. */
  calls(): readonly PassedCall[];
  close(): Promise<void>;
}

export interface PassedCall {
  /** As `/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution`. */
  readonly method: string;
  /** Both directions, as JSON. */
  readonly headers: string;
  /** The messages of both directions, without compression. */
  readonly messages: readonly Buffer[];
}

export interface FrontOptions {
  /** Host and port of the Temporal server. */
  readonly server: string;
  readonly certificate: Certificate;
  /** PEM file of the CA whose clients are let in. */
  readonly clientAuthority: string;
}

interface Call {
  readonly headers: IncomingHttpHeaders[];
  readonly sent: Buffer[];
  readonly answered: Buffer[];
}

/** Of a gRPC message: whether it is compressed (1 byte), and its length (4 bytes). */
const PREFIX_BYTES = 5;

export async function startTemporalFront({ server, certificate, clientAuthority }: FrontOptions): Promise<TemporalFront> {
  const calls: Call[] = [];
  const sessions = new Set<Http2Session>();
  const [cert, key, ca] = await Promise.all([certificate.certificate, certificate.key, clientAuthority].map((file) => readFile(file)));
  const front = createSecureServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' });
  front.on('session', (down) => {
    let up = known(connect(`http://${server}`));
    known(down).on('close', () => up.destroy());
    down.on('stream', (stream, headers) => {
      // The server ends connections that have grown old, and whoever speaks to it opens another.
      if (up.closed || up.destroyed) up = known(connect(`http://${server}`));
      calls.push(pass(up, stream, headers));
    });
  });
  const port = await listenOn(front);
  return {
    address: `127.0.0.1:${port}`,
    calls: () => calls.map(({ headers, sent, answered }) => ({ method: String(headers[0]?.[':path']), headers: JSON.stringify(headers), messages: [...messagesIn(sent), ...messagesIn(answered)] })),
    close: () =>
      new Promise((resolve) => {
        front.close(() => resolve());
        for (const session of sessions) session.destroy();
      }),
  };

  function known<T extends Http2Session>(session: T): T {
    sessions.add(session);
    session.on('error', () => undefined); // its close says the same, and so do those of its calls
    session.on('close', () => sessions.delete(session));
    return session;
  }
}

function pass(server: ClientHttp2Session, down: ServerHttp2Stream, headers: IncomingHttpHeaders): Call {
  const call: Call = { headers: [headers], sent: [], answered: [] };
  const up = server.request(headers);
  let trailers: IncomingHttpHeaders = {};
  down.on('data', (chunk: Buffer) => call.sent.push(chunk));
  up.on('data', (chunk: Buffer) => call.answered.push(chunk));
  up.on('response', (answer, flags) => {
    call.headers.push(answer);
    if (down.destroyed) return;
    down.respond(answer, { endStream: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, waitForTrailers: true });
    up.pipe(down);
  });
  up.on('trailers', (last) => {
    trailers = last;
    call.headers.push(last);
  });
  down.on('wantTrailers', () => down.sendTrailers(trailers));
  down.pipe(up);
  endTogether(down, up);
  endTogether(up, down);
  return call;
}

function endTogether(one: ServerHttp2Stream | ClientHttp2Stream, other: ServerHttp2Stream | ClientHttp2Stream): void {
  one.on('error', () => undefined); // its close says the same
  one.on('close', () => {
    if (one.rstCode !== constants.NGHTTP2_NO_ERROR) other.close(one.rstCode);
  });
}

/** Those that arrived as a whole. */
function* messagesIn(chunks: readonly Buffer[]): Generator<Buffer> {
  const body = Buffer.concat(chunks);
  for (let at = 0; at + PREFIX_BYTES <= body.length; ) {
    const end = at + PREFIX_BYTES + body.readUInt32BE(at + 1);
    if (end > body.length) return;
    const message = body.subarray(at + PREFIX_BYTES, end);
    yield body.readUInt8(at) === 1 ? gunzipSync(message) : message;
    at = end;
  }
}
