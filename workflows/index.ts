/** The workflows of a control worker. */
export { quoteHost } from './quote-host.js';
export { reconcileVm } from './reconcile.js';
export { reinstateHost } from './reinstate.js';
export { secureMigration } from './secure-migration.js';
export { startVm } from './start-vm.js';
export { showSurvey, surveyHosts } from './survey.js';
