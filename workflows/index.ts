/** The workflows of a control worker. */
export { quoteHosts } from './quote-hosts.js';
export { reconcileVm } from './reconcile.js';
export { reinstateHost } from './reinstate.js';
export { secureMigration } from './secure-migration.js';
export { startVm } from './start-vm.js';
export { surveyHosts } from './survey.js';
