/** The two ends of a file: its first bytes, and its last ones kept while a process goes on to append to it. */
import { type FileHandle, open, rename } from 'node:fs/promises';

export async function readStart(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    return await readAt(file, 0, bytes);
  } finally {
    await file.close();
  }
}

/** As HostAccess says. Not durable: for what is lost with the machine anyway. */
export async function keepEnd(path: string, { atMostBytes, keepBytes, aside }: { readonly atMostBytes: number; readonly keepBytes: number; readonly aside: string }): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    if (size <= atMostBytes) return;
    const half = `${aside}.half`;
    const kept = await open(half, 'w', 0o600);
    try {
      await kept.writeFile(await readAt(file, size - keepBytes, keepBytes));
    } finally {
      await kept.close();
    }
    await rename(half, aside);
    await file.truncate(0);
  } finally {
    await file.close();
  }
}

/** `bytes`, or what is left of the file. */
async function readAt(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let length = 0;
  while (length < bytes) {
    const { bytesRead } = await file.read(buffer, length, bytes - length, position + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}
