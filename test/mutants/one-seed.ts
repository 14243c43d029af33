/** Whether a property catches a mutant must not depend on the run. */
import fc from 'fast-check';

fc.configureGlobal({ seed: 1 });
