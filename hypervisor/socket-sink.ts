/** The sink of an incoming image: a socket to whatever loads it. Shared by the drivers; knows nothing of what loads. */
import { Writable, type Duplex } from 'node:stream';

/** A socket's own 16 KiB would make its writer wait after every chunk. */
const SINK_BUFFER_BYTES = 1024 * 1024;

/**
 * Breaks when a write breaks, not when the socket closes: a hypervisor closes it as soon as it has loaded all, which may be
 * before the writer ended it. Who writes may ignore the break: loaded() tells it.
 */
export function socketSink(socket: Duplex): Writable {
  const sink = new Writable({
    highWaterMark: SINK_BUFFER_BYTES,
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    writev(chunks, done) {
      socket.cork();
      chunks.forEach(({ chunk }, i) => socket.write(chunk as Buffer, i === chunks.length - 1 ? done : undefined));
      socket.uncork();
    },
    final(done) {
      socket.end();
      done();
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  sink.on('error', () => undefined);
  socket.resume(); // nothing is said on it; its end must be seen
  socket.on('error', (error) => sink.destroy(error));
  return sink;
}
