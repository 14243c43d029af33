/** domain/status.ts: what people read about a move in Temporal's web UI, which renders Markdown. */
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { detailsOf, meaningOf } from '../../domain/status.js';
import { PHASES } from '../../domain/steps.js';
import { DESTINATION, SOURCE, VM } from '../support/documents.js';

const move = { vmId: VM, source: SOURCE, destination: DESTINATION } as const;
const broken = failure('CHANNEL_LOST', { problem: 'the peer closed it' });

describe('the details of a move', () => {
  it('are one line where all is well', () => {
    expect(detailsOf({ ...move, phase: 'copying', failures: [], nextAction: null })).toBe('**copying** — VM `web-1` from `host-a` to `host-b`');
  });

  it('name each reason with its remedy once there is nothing else to do', () => {
    expect(detailsOf({ ...move, phase: 'source-resumed', failures: [broken], nextAction: null })).toBe(
      `**source-resumed** — VM \`web-1\` from \`host-a\` to \`host-b\`\n\n- \`CHANNEL_LOST\` ${broken.message} — ${broken.remedy}`,
    );
  });

  it('say in doubt what that means, and one next action', () => {
    expect(detailsOf({ ...move, phase: 'in-doubt', failures: [broken], nextAction: 'Bring it back.' }).split('\n\n')).toEqual([
      '**in-doubt** — VM `web-1` from `host-a` to `host-b`',
      'host-a stopped web-1 and gave it away; whether host-b took it is not known. It runs there or nowhere, and no clock decides.',
      `- \`CHANNEL_LOST\` ${broken.message}`,
      '**Next action:** Bring it back.',
    ]);
  });

  it('explain no other phase', () => {
    expect(PHASES.filter((phase) => meaningOf({ ...move, phase }) !== null)).toEqual(['in-doubt']);
  });
});
