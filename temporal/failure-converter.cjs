/**
 * How errors become Temporal's failures: message and stack trace go into a payload, which the codec encrypts where there
 * is a key; Temporal itself sees "Encoded failure" and the code. Loaded by its path, by workers and clients and into the
 * workflow bundle, hence plain CommonJS.
 */
const { DefaultFailureConverter } = require('@temporalio/common');

exports.failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
