/**
 * What of the worker's environment the commands get that it starts, QEMU and swtpm among them, which outlive it: no more than programs need
 * to be found, to make temporary files and to speak a language. A list of what is allowed: the next variable with a key in it (as
 * TEMPORAL_API_KEY is one) is not on it.
 */
const ALLOWED = /^(?:PATH|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+)$/;

export function environmentOfCommands(own: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(own).flatMap(([name, value]) => (ALLOWED.test(name) && value !== undefined ? [[name, value]] : [])));
}
