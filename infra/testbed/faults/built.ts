/** The built file of a path in this project, also where the caller runs from source under the test runner. */
import { fileURLToPath } from 'node:url';

export function built(path: string): string {
  const dist = import.meta.url.includes('/dist/') ? '../../../' : '../../../dist/';
  return fileURLToPath(new URL(`${dist}${path}`, import.meta.url));
}
