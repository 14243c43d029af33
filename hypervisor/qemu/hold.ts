/**
 * Holding a copy while its guest runs: how much of the stream may be read so that QEMU provably cannot finish. QEMU itself has
 * no such switch (with downtime-limit 0 an idle guest is stopped all the same), but it blocks when nobody reads.
 *
 *   released ─hold()─► asking ──(enough is left)──► reading, up to the allowance ─┐
 *      ▲                 ▲  └──(not enough)───────► blocked until release()       │
 *      └──── release() ──┴────────────────────────────────────────────────────────┘
 *
 * The proof. A page costs at least 9 bytes of stream (migration/ram.c of QEMU 7.2, save_zero_page_to_file: an 8-byte header and
 * one byte, for a page of zeros of 4096), so b bytes carry at most b × 4096 / 9 bytes of memory. `remaining` of query-migrate counts
 * what QEMU has not yet put into its own buffer. From that answer on QEMU can put there only what is read here, plus what fits
 * into the buffers between: the margin. As long as more remains than that, and more than what QEMU takes for the last round,
 * it can stop nothing. New dirty pages only add to what remains.
 */

const PAGE_BYTES = 4096;
const LEAST_BYTES_A_PAGE = 9;
/** What one read takes at most (libuv). */
const CHUNK_BYTES = 64 * 1024;
/** Node reads on into a paused stream until this mark of it, by whole chunks (`highWaterMark`, at most that of Node 22). */
const PAUSED_STREAM_BYTES = 64 * 1024 + CHUNK_BYTES;
/** IO_BUF_SIZE of QEMU's migration/qemu-file.c. */
const QEMU_BUFFER_BYTES = 32 * 1024;

/** The most memory, in bytes, that can go into the buffers between QEMU and the reader. `socketBytes`: the kernel's net.core.wmem_default. */
export function marginBytes(socketBytes: number): number {
  // The kernel takes a last write, of up to half the buffer, when the buffer is nearly full.
  return Math.ceil(((socketBytes * 1.5 + QEMU_BUFFER_BYTES + PAUSED_STREAM_BYTES) * PAGE_BYTES) / LEAST_BYTES_A_PAGE);
}

/** How many bytes of stream may be read so that of `remainingBytes` of memory more than `keptBytes` remain. */
export function readableBytes(remainingBytes: number, keptBytes: number): number {
  return Math.max(0, Math.floor(((remainingBytes - keptBytes) * LEAST_BYTES_A_PAGE) / PAGE_BYTES));
}

export interface ReadGate {
  readonly isHeld: boolean;
  /** Whether a chunk may be read now. */
  readonly isOpen: boolean;
  /** Says that so many bytes were read. */
  took(bytes: number): void;
  /** `keptBytes`: what must remain beside the margin. Resolves with whether the hold is proven. */
  hold(keptBytes: number): Promise<boolean>;
  /** QEMU may have more to say now. */
  ask(): Promise<boolean>;
  release(): void;
}

interface GateParts {
  readonly isHeld: boolean;
  readonly marginBytes: number;
  /** `remaining` while rounds run, else null. */
  readonly askRemainingBytes: () => Promise<number | null>;
  /** Called when reading may go on. */
  readonly onOpen: () => void;
}

export function createReadGate({ isHeld: isHeldAtFirst, marginBytes: margin, askRemainingBytes, onOpen }: GateParts): ReadGate {
  let isHeld = isHeldAtFirst;
  let allowanceBytes = 0;
  let keptBytes = margin;
  /** An answer counts only for the question asked last, with nothing read in between. */
  let question = 0;

  const ask = async () => {
    if (!isHeld) return false;
    question += 1;
    const asked = question;
    allowanceBytes = 0;
    const remainingBytes = await askRemainingBytes().catch(() => null);
    if (!isHeld || asked !== question || remainingBytes === null) return false;
    allowanceBytes = readableBytes(remainingBytes, keptBytes);
    if (allowanceBytes >= CHUNK_BYTES) onOpen();
    return remainingBytes > keptBytes;
  };

  return {
    get isHeld() {
      return isHeld;
    },
    get isOpen() {
      return !isHeld || allowanceBytes >= CHUNK_BYTES;
    },
    took(bytes) {
      if (!isHeld) return;
      allowanceBytes -= bytes;
      if (allowanceBytes < CHUNK_BYTES) void ask();
    },
    hold(kept) {
      keptBytes = isHeld ? Math.max(keptBytes, margin + kept) : margin + kept;
      isHeld = true;
      return ask();
    },
    ask,
    release() {
      isHeld = false;
      onOpen();
    },
  };
}
