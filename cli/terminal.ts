/**
 * The one way out of the command, to stdout and to stderr: whatever it prints may come from elsewhere, and none of it steers the terminal.
 * The linter keeps every other file of cli/ from writing by itself.
 */
import { createInterface } from 'node:readline/promises';
import type { OutputConfiguration } from 'commander';
import { visibleJson, visibleText } from '../domain/visible.js';

export function say(text: string): void {
  process.stdout.write(`${visibleText(text)}\n`);
}

/** One document; a line, unless it is indented. */
export function sayJson(value: unknown, indent?: number): void {
  process.stdout.write(`${visibleJson(value, indent)}\n`);
}

export function complain(text: string): void {
  process.stderr.write(`${visibleText(text)}\n`);
}

/** Shows on stderr, since stdout is the command's result; `ask` is null where nobody can be asked. */
export function terminal(): { write(text: string): void; readonly ask: ((question: string) => Promise<string>) | null } {
  const { stdin: input, stderr: output } = process;
  const ask = async (question: string) => {
    const lines = createInterface({ input, output });
    try {
      return await lines.question(visibleText(question));
    } finally {
      lines.close();
    }
  };
  return { write: (text) => void output.write(visibleText(text)), ask: input.isTTY ? ask : null };
}

/** Its errors repeat what was typed, or what another program passed on. */
export const COMMANDER_OUTPUT: OutputConfiguration = {
  writeOut: (text) => process.stdout.write(visibleText(text)),
  writeErr: (text) => process.stderr.write(visibleText(text)),
};

/** `korora … | head` closes its end early. */
export function endWithTheReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
}

export interface Screen {
  /** Lines that stay. */
  line(text: string): void;
  /** A line that the next one overwrites, where the terminal can. */
  passing(text: string): void;
}

export function terminalScreen(out: NodeJS.WriteStream = process.stdout): Screen {
  let isPassing = false;
  const clear = () => (isPassing ? '\r\x1b[K' : '');
  return {
    line(text) {
      out.write(`${clear()}${visibleText(text)}\n`);
      isPassing = false;
    },
    passing(text) {
      if (!out.isTTY) return;
      out.write(`${clear()}${visibleText(text)}`);
      isPassing = true;
    },
  };
}
