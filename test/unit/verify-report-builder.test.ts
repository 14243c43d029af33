/** The report of a check: what it comes to, by what was put into it. */
import { expect, it } from 'vitest';
import { ReportBuilder } from '../../client/verify/report.js';

const EMPTY = { proven: [], problems: [], missing: [], unproven: [], told: [] };

it('a report into which nothing was put holds, and is empty', () => {
  expect(new ReportBuilder().finished()).toEqual({ standing: 'holds', summary: 'holds', ...EMPTY });
});

it('each thing that is put into it stands in its own list', () => {
  const report = new ReportBuilder();
  report.proves('order', 'what was ordered', 'ada');
  report.leaves('nonces', 'nobody knows');
  report.tells('timings', '1 ms');
  expect(report.finished()).toEqual({ ...EMPTY, standing: 'holds', summary: 'holds', proven: [{ field: 'order', what: 'what was ordered', by: 'ada' }], unproven: [{ field: 'nonces', why: 'nobody knows' }], told: [{ field: 'timings', what: '1 ms' }] });
});

it('one that lacks something is incomplete, and says all that it lacks', () => {
  const report = new ReportBuilder();
  report.lacks('receipts.source', 'host-a signed nothing');
  report.lacks('receipts.destination', 'host-b signed nothing');
  expect(report.finished()).toEqual({
    ...EMPTY, standing: 'incomplete', summary: 'nothing in it is wrong, but host-a signed nothing, and host-b signed nothing',
    missing: [{ field: 'receipts.source', why: 'host-a signed nothing' }, { field: 'receipts.destination', why: 'host-b signed nothing' }],
  });
});

it('one in which something is wrong does not hold, whatever it lacks besides', () => {
  const report = new ReportBuilder();
  report.lacks('verdict', 'nobody signed it');
  report.fails('vm', 'it is another');
  expect(report.finished()).toMatchObject({ standing: 'does-not-hold', summary: 'DOES NOT HOLD', problems: [{ field: 'vm', problem: 'it is another' }] });
});

it.each<[string, object, boolean, readonly object[]]>([
  ['as it is to be', { epoch: 2, vmId: 'web-1', role: 'source' }, true, []],
  ['otherwise in one member', { epoch: 3, vmId: 'web-1' }, false, [{ field: 'receipt.epoch', problem: '3 instead of 2' }]],
  ['otherwise in all', { epoch: null }, false, [{ field: 'receipt.epoch', problem: 'null instead of 2' }, { field: 'receipt.vmId', problem: 'undefined instead of web-1' }]],
])('a document that is %s', (_, document, agrees, problems) => {
  const report = new ReportBuilder();
  expect(report.agrees('receipt', document, { epoch: 2, vmId: 'web-1' })).toBe(agrees);
  expect(report.finished().problems).toEqual(problems);
});
