/** A property that fails says with what error, beside its seed, wherever only its message is kept. */
import fc from 'fast-check';

fc.configureGlobal({ includeErrorInReport: true });
