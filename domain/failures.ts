/**
 * Every way Kororā says no: stable code, message template, whether trying again can help, and the
 * one thing the operator does next. A test pins the table as docs/failure-codes.md.
 *
 * Inside the house a failure travels as a KororaError. Only the activity edge turns it into
 * Temporal's ApplicationFailure (activities/edge.ts), and only the client turns it back.
 */

interface FailureRow {
  readonly message: string;
  /** True where the same request may succeed on a later try without anybody changing anything. */
  readonly isRetryable: boolean;
  readonly remedy: string;
}

/* The const generics keep the template text in the type, so that `failure` can ask for its parameters. */
const row = {
  never: <const M extends string>(message: M, remedy: string) => ({ message, isRetryable: false, remedy }),
  again: <const M extends string>(message: M, remedy: string) => ({ message, isRetryable: true, remedy }),
};

export const FAILURES = {
  // Documents
  VM_DOCUMENT_INVALID: row.never('the VM document is not valid: {problem}', 'Correct the named field and start the VM again.'),
  ORDER_INVALID: row.never('the order is not valid: {problem}', 'Correct the named field and order the move again.'),
  ORDER_EXPIRED: row.never('it was good until {notAfter}, and at {host} it is {now}', 'Sign it again. If the time at {host} is wrong, set its clock, then see "a clock that ran ahead" in the runbook.'),
  BUNDLE_INVALID: row.never('the trust bundle of {host} is not valid: {problem}', 'Correct the bundle and install it on every host.'),
  BUNDLE_OLDER: row.never(
    'the trust bundle of {host} has serial {serial}; {host} has seen serial {newest}',
    'Install the newest trust bundle. To go back to what an older one said, sign it again with a serial above {newest}.',
  ),
  BUNDLE_SERIAL_USED: row.never('{host} has seen another trust bundle with serial {serial}', 'Sign the bundle again with a higher serial, and install it on every host.'),
  BUNDLE_MISSING: row.never('no trust bundle was given', 'Use --trust FILE, or set KORORA_TRUST.'),
  BUNDLE_EXPIRED: row.never('the trust bundle of {host} expired at {expiresAt}', 'Install a current trust bundle on every host.'),
  BUNDLE_NOT_SIGNED: row.never(
    'the trust bundle of {host} is signed by {signers}; pinned there is {pinned}',
    'Install a bundle that the pinned key signed. If the signer was changed on purpose, pin its key on {host} (`korora host pin`).',
  ),
  SIGNER_NOT_PINNED: row.never('{host} has pinned no signer of trust bundles', 'Pin one on {host}: `korora host pin --config FILE --signer FILE`.'),
  SIGNER_PINNED: row.never('{host} has pinned another signer of trust bundles: {pinned}', 'If it is to change, say so on {host}: `korora host pin --config FILE --signer FILE --replace`.'),
  BUNDLE_DIFFERS: row.never('{host} has trust bundle {installed}, the order was made under {ordered}', 'Install the same trust bundle everywhere, then order the move again.'),
  ORDER_NOT_SIGNED: row.never(
    'by the trust bundle of {host}, operator {operator} did not sign this ({kind}): {problem}',
    'Sign with the key of an active operator (`korora key show` names it), or put the operator into a new bundle.',
  ),
  OPERATOR_NOT_ALLOWED: row.never(
    'the trust bundle of {host} does not let {operator} {action} VM {vm} ({hosts})',
    'Have it signed by an operator with that scope, or widen the scope of {operator} in a new bundle.',
  ),
  ORDER_SETTLED: row.never('{host} has settled move {move} of VM {vm} ({outcome}); an order is good for one move', 'Order the move again: with a new migration id.'),
  ORDERS_TOO_MANY: row.never('{host} remembers {count} refused moves of VM {vm} whose orders are still good', 'Wait until some of these orders have ended; give orders shorter lifetimes.'),
  START_USED: row.never('{host} has carried out this order to start VM {vm}', 'Start the VM again: that signs a new order.'),
  RESOURCE_NOT_ALLOWED: row.never(
    'the trust bundle of {host} does not let {operator} {action} VM {vm} with the {kind} {name}',
    'Have it signed by an operator with that scope, or widen the scope of {operator} in a new bundle.',
  ),
  ORDER_STALE: row.never('this is for epoch {ordered} of VM {vm}; {host} has epoch {actual}', 'The VM has moved since, or the order was used before. Sign a new one.'),
  APPROVER_IS_REQUESTER: row.never('{operator} ordered the move of VM {vm}, and the trust bundle wants another to approve it', 'Have another operator approve the move.'),
  SECOND_SIGNATURE_MISSING: row.never(
    'the trust bundle of {host} wants two operators to sign this ({kind}): no other operator who may {action} signed it beside {operator}',
    'Give the command `--draft FILE`, have another operator who may {action} add a signature (`korora countersign FILE`), then `korora submit FILE`.',
  ),
  SIGNED_ALREADY: row.never('{operator} has signed this already, and it needs the signature of another operator', 'Give the file to another operator: `korora countersign FILE`.'),
  APPROVAL_MISSING: row.never('no operator has approved the move of VM {vm}, which {host} waits for', 'Approve it: `korora approve {vm}`.'),
  SIGNING_KEY_MISSING: row.never('no key to sign with was given', 'Use --key FILE, or set KORORA_KEY; `korora key new` makes one.'),
  SIGNING_KEY_UNKNOWN: row.never('key {key} is of no active operator in the trust bundle', 'Sign with an operator’s key, or put the operator into a new bundle.'),
  SIGNING_KEY_INVALID: row.never('the key {file} cannot be used: {problem}', 'Give an Ed25519 key in PEM (PKCS #8), which `korora key new` makes.'),
  SIGNING_DECLINED: row.never('{operator} did not want to sign this ({kind})', 'Nothing was signed, and nothing was sent. Run the command again if it was meant.'),
  CONFIRMATION_MISSING: row.never('this ({kind}) is signed only by somebody who was asked, and there is no terminal to ask on', 'Run the command on a terminal, or give `--yes` where what it prints need not be read by anybody.'),
  MOVE_UNPROVEN: row.never(
    'what is told of the move of VM {vm} is not what an operator signed: {problem}',
    'Sign nothing for this move. Treat the control plane as attacked, unless the trust bundle here is another than on the hosts.',
  ),
  SURVEY_UNPROVEN: row.never(
    'what {host} is said to hold is not shown by its TPM: {problem}',
    'Sign nothing by it. See `korora host list` for what is wrong with {host}; if it is as it should be, treat the control plane as attacked.',
  ),
  LEDGER_TOO_LARGE: row.never(
    'the records of {host} are too many to be shown at once ({characters} characters), and nobody signs what was not shown',
    'Put the last state folder of {host} back: that needs no signature.',
  ),
  HOST_CONFIG_INVALID: row.never('the configuration {file} is not valid: {problem}', 'Correct the named field and start the worker again.'),
  EVIDENCE_INVALID: row.never('the evidence file is not valid: {problem}', 'Take the file as the record activity wrote it.'),
  EVIDENCE_NAME_TAKEN: row.never('{path} is not the evidence that is to stand there', 'Find out who put it there, and move it to another folder: the evidence is written once its name is free.'),
  EVIDENCE_DIFFERS: row.never(
    'this move of VM {vm} has other evidence already: {others}; that of this run is {path}',
    'Keep them all, and check each with `korora verify`: the workflow ran more than once, as after a reset. What became of the VM stands in the one with a verdict, and in `korora vm list`.',
  ),

  // Enrolment
  ENROLMENT_FILE_INVALID: row.never('{file} cannot be used: {problem}', 'Give the file as `korora host` or `korora trust` wrote it, and certificates of CAs in PEM or DER.'),
  EK_CERTIFICATE_MISSING: row.never(
    'the TPM of {host} has no EK certificate',
    'Ask the maker of the machine for it. If {host} is to be believed without proof, admit it with `--without-ek-certificate {host}`, which the trust bundle then says.',
  ),
  EK_CERTIFICATE_INVALID: row.never('the EK certificate of {host} cannot be used: {problem}', 'Look at the TPM of {host}: an EK certificate of RSA 2048, ECC P-256 or ECC P-384 is needed, as its maker signed it.'),
  EK_CERTIFICATE_UNTRUSTED: row.never(
    'the EK certificate of {host}, issued by {issuer}, does not lead to the root of a CA that was given',
    'If the maker of its TPM is trusted, get the certificates of its CAs from there, root and intermediates, and give them all (--ek-ca).',
  ),
  EK_CERTIFICATE_EXPIRED: row.never(
    'a certificate between the EK of {host} and its root, that of {subject}, is good from {validFrom} to {validTo}; it is {at}',
    'Check the clock here, and get the present certificates of the CAs from the maker of the TPM.',
  ),
  EK_DIFFERS: row.never('the TPM of {host} makes another EK than the one in its EK certificate', 'Look at the TPM of {host}: its certificate is of another TPM, or its EK is made from a template of its maker’s own.'),
  AK_UNFIT: row.never('the AK of {host} is no key that signs only what its TPM made: {problem}', 'Enrol {host} again with `korora host enrol`, which makes the right key; if it comes back so, treat the host as compromised.'),
  EVENT_LOG_INVALID: row.never(
    'the boot event log of {host} cannot be used: {problem}',
    'Let the worker of {host} read the log as Linux gives it, or enrol {host} without one: `"eventLog": null` in its configuration.',
  ),
  ACTIVATION_REFUSED: row.never(
    'the TPM of {host} does not open the challenge, which is for another AK or EK: {problem}',
    'Enrol {host} again and make a new challenge of that. If it is refused again, the enrolment was changed on its way.',
  ),
  ANSWER_MISSING: row.never('{host} was not shown to hold the AK of its enrolment: no challenge, or no answer to it, was given', 'Make a challenge (`korora trust challenge`), let {host} answer it (`korora host answer`), and give both files.'),
  ANSWER_WRONG: row.never(
    'the answer of {host} does not prove what its enrolment says of its AK, EK and PCRs: {problem}',
    'Enrol {host} again and make a new challenge of that. If its answer is wrong again, its files were changed on their way, or {host} is compromised.',
  ),

  // Preflight
  VM_UNKNOWN: row.never('VM {vm} is not known on any host that answers', 'Check the name with `korora vm list`, and that the worker of its host runs.'),
  HOST_UNKNOWN: row.never('host {host} is not in the trust bundle', 'Check the name with `korora host list`; enrol the host and install the new bundle if it is new.'),
  HOST_NOT_ACTIVE: row.never('host {host} has status {status} in the trust bundle', 'Choose another host, or set the host active in a new bundle.'),
  SOURCE_IS_DESTINATION: row.never('VM {vm} already runs on {host}', 'Choose another destination.'),
  HOST_UNREACHABLE: row.never('the worker of {host} does not answer', 'Start `korora worker host` on {host}, then order the move again.'),
  VM_NOT_OWNED: row.never('{host} does not own VM {vm}: its ownership record says {state}', 'Order the move from the host that owns the VM (`korora vm list`).'),
  VM_PAUSED: row.never('VM {vm} is paused on {host}', 'Resume the VM first: a move does not start a paused VM.'),
  VM_NOT_RUNNING: row.never('VM {vm} does not run on {host}: its hypervisor says {status}', 'Start the VM, or see its console log on {host}.'),
  VM_WITHOUT_VTPM: row.never('VM {vm} has no vTPM', 'Give the VM a vTPM: a secure move rests on one.'),
  VM_DIFFERS: row.never('the VM document that {host} has is not the one that was signed', 'Sign again, with the document as it is.'),
  VM_EXISTS: row.never('{host} already has a record of VM {vm}: {state}', 'Choose another name, or see `korora vm show {vm}`.'),
  DISK_NOT_VISIBLE: row.never('{host} does not see disk {disk} at {path}', 'Mount the shared storage on {host} at the same path.'),
  DISK_NOT_SAME: row.never('disk {disk} at {path} is another file on {destination} than on {source}', 'Mount the same storage on both hosts; a copy of the disk is not the disk.'),
  NETWORK_NOT_VISIBLE: row.never('{host} has no bridge {bridge} for network {network}', 'Make the bridge {bridge} on {host} and join it to the same network, or change the VM document.'),
  BOOT_FILE_NOT_VISIBLE: row.never('{host} does not see the boot file {path}', 'Put the file on {host} at the same path.'),
  PATH_OUTSIDE_ROOTS: row.never(
    '{host} lets no VM open {path} as a {kind}: it leads to {resolved}, and none of the roots of {host} for that is above it',
    'Put the file below a root of {host}, and name it as it is there. If a root is missing, add it to `storage` in the configuration of {host}.',
  ),
  PATH_RESERVED: row.never(
    '{host} lets no VM open {path}: it leads to {resolved}, and {host} keeps {place} to itself',
    'Name another file. If a root in the configuration of {host} is above {place}, put a smaller one there.',
  ),
  STORAGE_NOT_SAFE: row.never('others than root and the worker can change the names in {folder} on {host}, where {path} lies', 'Give {folder} to root or to the user of the worker, and let nobody else write there.'),
  DISK_HAS_LINKS: row.never(
    'disk {disk} at {path} has {links} names on {host}: what else opens it cannot be known',
    'Give the VM a file that has one name: a copy of it, made by whoever may read it.',
  ),
  DISK_HAS_BACKING_FILE: row.never('disk {disk} at {path} on {host} is an image with {what}, which the VM document cannot name', 'Make one image of it: `qemu-img convert -O qcow2`.'),
  DISK_FORMAT_WRONG: row.never('disk {disk} at {path} on {host} is no qcow2 image that can be read: {problem}', 'Correct its format in the VM document, or the image.'),
  MEMORY_INSUFFICIENT: row.never('{host} has {available} bytes of memory free, VM {vm} needs {needed}', 'Free memory on {host} or choose another destination.'),
  MACHINE_TYPE_UNSUPPORTED: row.never('{host} does not offer machine type {machine}', 'Choose a destination with the QEMU version of this machine type.'),
  CPU_MODEL_UNSUPPORTED: row.never('{host} does not offer CPU model {model}', 'Choose a destination that offers this CPU model.'),
  ACCELERATOR_DIFFERS: row.never('{source} runs VMs with {sourceAccelerator}, {destination} with {destinationAccelerator}', 'Choose a destination with the same accelerator.'),
  QEMU_LOSES_MEMORY: row.never(
    'without KVM, QEMU {version} on {host} loses changed pages of VM {vm}: its {memory} bytes are a multiple of 256 KiB',
    'Make memoryBytes of {vm} 8 KiB smaller, install QEMU 10.0 or newer on {host}, or use a host with KVM.',
  ),
  QEMU_UNSUPPORTED: row.never('{host} has QEMU {version}, at least {minimum} is needed', 'Install a supported QEMU on {host}.'),
  SWTPM_UNSUPPORTED: row.never('{host} has swtpm {version}, at least {minimum} is needed', 'Install a supported swtpm on {host}.'),
  SWTPM_OLDER: row.never('{destination} has swtpm {destinationVersion}, older than {sourceVersion} on {source}', 'Upgrade swtpm on {destination}: it may not read the state of a newer one.'),
  VM_HELD: row.never(
    '{host}, where VM {vm} is to go, has it already: its ownership record says {state}',
    'See with `korora vm list` where VM {vm} is: the move may be done already. What {host} keeps of it belongs to that record; a move that has not ended is ended by its workflow, by `korora vm reconcile {vm}`, or when the worker of {host} starts again.',
  ),
  LEFTOVER_FOUND: row.never(
    '{host} has a leftover of an earlier attempt for VM {vm}, which no record of {host} owns: {what}',
    'Let the worker of {host} start again, which takes away what its record proves to be surplus. Remove what is left only while `korora vm show {vm}` says that another host owns the VM and {host} does not.',
  ),
  STRANGER_FOUND: row.never(
    '{host} runs a process that looks like VM {vm} and that Kororā did not start: {what}',
    'Find out who started that process. End it, and it alone, once you know that it is no copy that `korora vm list` counts: VM {vm} must run once.',
  ),
  HYPERVISOR_UNSUPPORTED: row.never('{host} has no driver for hypervisor {hypervisor}', 'Choose a host of that hypervisor.'),
  MIGRATION_IN_PROGRESS: row.never('VM {vm} is being moved already', 'Watch it with `korora watch {vm}`, or abort it first.'),
  START_IN_PROGRESS: row.never('VM {vm} is being started already', 'Wait for it, then see `korora vm show {vm}`.'),

  // Appraisal
  POLICY_EMPTY: row.never('the policy for class {class} names no PCR or no active reference set', 'Give the class at least one PCR and one active reference set.'),
  EVIDENCE_MALFORMED: row.never('the evidence of {host} cannot be read: {problem}', 'Treat {host} as compromised until its worker and TPM were looked at.'),
  QUOTE_SIGNATURE_INVALID: row.never('the quote of {host} is not signed by its enrolled AK', 'Treat {host} as compromised; enrol it again only after its TPM was looked at.'),
  QUOTE_MAGIC_WRONG: row.never('the quote of {host} was not made by a TPM (magic {magic})', 'Treat {host} as compromised.'),
  QUOTE_TYPE_WRONG: row.never('the evidence of {host} is not a quote (type {type})', 'Treat {host} as compromised.'),
  QUOTE_SIGNER_WRONG: row.never('the quote of {host} names another signer: {actual}, expected {expected}', 'Treat {host} as compromised.'),
  FIRMWARE_NOT_ALLOWED: row.never('the TPM of {host} has firmware {actual}; its class allows {allowed}', 'If the update was planned, add the version to the class in a new bundle; else look at {host} before you use it.'),
  QUALIFYING_DATA_MISMATCH: row.never('the quote of {host} is bound to something else: qualifying data {actual}, expected {expected}', 'Treat the channel to {host} as attacked; try again from a clean session.'),
  NONCE_UNKNOWN: row.never('the nonce in the binding of {host} was not issued here for this move, was used before or has expired', 'Order the move again.'),
  BINDING_MISMATCH: row.never('the binding of {host} names another {field}: {actual}, expected {expected}', 'Treat the control plane as attacked; order the move again.'),
  PCR_SELECTION_WRONG: row.never('the quote of {host} selects PCRs {actual}, the policy asks for {expected}', 'Bring the worker of {host} to this version; its policy differs.'),
  PCR_DIGEST_MISMATCH: row.never('the PCR values that {host} reports are not those that its TPM signed', 'Treat {host} as compromised.'),
  PCR_NOT_REFERENCE: row.never('PCR {pcr} of {host} is {actual}; set {set} allows {expected}; {explanation}', 'Find out what changed on {host}. If it is right, add its values as an active reference set.'),
  CLOCK_NOT_SAFE: row.never('the TPM clock of {host} is not safe', 'Let the TPM of {host} run for a while after its unclean stop, or look at why it stopped.'),
  STATE_NOT_REFERENCE: row.never(
    'the PCRs of {host} had no values of an active reference set when it signed this',
    'Find out what changed on {host} (`korora host list`). Where it is right, put the values into a new bundle; else believe nothing that it signed in that state.',
  ),
  RESET_COUNT_CHANGED: row.never('{host} was restarted during the move ({counter} {before} to {after})', 'Order the move again.'),
  WRAPPING_KEY_INVALID: row.never('the wrapping key of {host} is not one that its TPM holds under the attested PCRs: {problem}', 'Treat {host} as compromised.'),
  NOT_ATTESTED: row.never('{host} did not appraise its peer in this move: {what} was asked for first', 'Order the move again; a workflow that skips attestation moves nothing.'),

  // Seal
  UNSEAL_REFUSED: row.never('the TPM of {host} refused to open the VM secrets: its PCRs are not those it was attested with', 'Find out what changed on {host} since the quote; the VM still runs on the source.'),
  SECRETS_INVALID: row.never('the wrapped VM secrets do not open on {host}: {problem}', 'Treat the control plane as attacked; order the move again.'),
  SECRET_KEY_INVALID: row.never('a key of this move is none: {problem}', 'Order the move again; nothing was sent or sealed with it.'),
  SESSION_LOST: row.never('{host} no longer has the session of this move (it was closed, it took too long, or its worker was restarted)', 'Order the move again; the VM did not stop.'),

  // Channel
  CHANNEL_UNREACHABLE: row.never('the channel of the destination at {address} does not answer: {problem}', 'Check the network and firewall between the hosts.'),
  CHANNEL_PEER_UNKNOWN: row.never('the peer on the channel does not hold the attested TLS key', 'Somebody is between the hosts: look at the network before trying again.'),
  CHANNEL_KEY_UNCONFIRMED: row.never('the peer on the channel did not prove the unsealed session key', 'Somebody is between the hosts: look at the network before trying again.'),
  CHANNEL_FRAME_INVALID: row.never('the channel carried an invalid frame: {problem}', 'Look at the network between the hosts; bring both workers to one version.'),
  CHANNEL_LOST: row.never('the channel between the hosts broke: {problem}', 'Look at the destination and at the network between the hosts, then order the move again.'),
  CHANNEL_SILENT: row.never('the peer on the channel said nothing for {seconds} s', 'Look at the destination and at the network between the hosts, then order the move again.'),

  // Copy, verify
  COPY_FAILED: row.never('the hypervisor ended the copy: {problem}', 'See the hypervisor log of both hosts; the VM still runs on the source.'),
  COPY_NOT_CONVERGING: row.never('after {rounds} rounds {remaining} bytes are still dirty', 'Raise the downtime limit or the bandwidth, or move the VM when it is quieter.'),
  COPY_STALLED: row.never(
    '{rounds} rounds in a row left no less to send: {remaining} bytes remain, the guest dirties {dirty} bytes/s, {bandwidth} bytes/s are sent, and {budget} ms of pause do not carry the rest',
    'Allow a longer pause (--downtime-limit) or more bandwidth (--bandwidth), or let the guest be slowed (--auto-converge), and order the move again.',
  ),
  STREAM_LENGTH_MISMATCH: row.never('{actual} bytes arrived, the manifest says {expected}', 'Look at the network between the hosts; the VM runs on the source.'),
  STREAM_DIGEST_MISMATCH: row.never('the image that arrived has digest {actual}, the manifest says {expected}', 'The stream was changed on its way: look at the network before trying again.'),
  MANIFEST_MISMATCH: row.never('the manifest names another {field}: {actual}, expected {expected}', 'Treat the channel as attacked; the VM runs on the source.'),
  IMAGE_NOT_LOADED: row.never('the hypervisor of {host} did not load the image: {problem}', 'See the hypervisor log of {host}; the VM runs on the source.'),
  DESTINATION_REJECTED: row.never('the destination rejected the image: {reason}', 'The VM runs on the source. Deal with the reason, then order the move again.'),
  VERDICT_UNPROVEN: row.never(
    'what {host} says of the move does not count: {problem}',
    'Where {host} was restarted, or is not as the bundle wants it, nothing that it says ends this move: power it off, and fence it. Else ask it again.',
  ),

  // Ownership and outcome
  OWNERSHIP_REFUSED: row.never('{host} refuses {event} for VM {vm}: its record says {state}', 'See `korora vm show {vm}`; the record is right until evidence says otherwise.'),
  RECORD_STALE: row.never(
    'the ownership record of VM {vm} on {host} may not be its last: {problem}',
    'Run `korora vm reconcile {vm}`: if another host owns the VM, {host} gives it up. Else see the runbook, "A state folder came back".',
  ),
  RECORDS_IN_DOUBT: row.never(
    'the ownership records of {host} may not be its last: {problem}',
    'Put the last state folder of {host} back. Else run `korora vm reconcile` for each of its VMs, then sign that no other host runs what is left: `korora host reinstate {host} --reason TEXT`.',
  ),
  REINSTATEMENT_STALE: row.never('the records of {host} are not those any more that were signed for', 'See how they are (`korora host list`), and sign again.'),
  RECORD_UNREADABLE: row.never('the ownership record of VM {vm} on {host} cannot be read: {problem}', 'Do not start this VM here, and leave the other VMs of {host} as they are. Put the record back as it was, if you have it; else start the VM on another host under another name.'),
  CLAIM_UNPROVEN: row.never('the claim of {host} does not count: {problem}', 'See `korora vm show` for both records. Nothing was given up.'),
  TWO_OWNERS: row.never('{first} and {second} both own VM {vm} in epoch {epoch}', 'Stop the VM on both and treat their records as evidence: this cannot come about by the protocol.'),
  NOTHING_TO_FENCE: row.never('the move of VM {vm} does not wait for {host}', 'A host is fenced only while the move waits for it in vain; see `korora watch {vm}`.'),
  FENCE_REFUSED: row.never('{host} answered while it was being fenced for VM {vm}: it is not powered off', 'Go by its answer; see `korora watch {vm}`.'),
  VM_MOVED_ON: row.never('{host} took VM {vm}, and owned a later epoch since: it no longer knows this move', 'See `korora vm show {vm}` for where it is now.'),
  VM_REBOOTED: row.never('VM {vm} was started again from its disks on {host}: {fenced} may have run it, and written to them, before it was fenced', 'Look at the services of {vm}: what it held in memory is gone, as after a loss of power.'),
  HOST_FENCED: row.never('{host} was declared powered off by {by} while VM {vm} moved: {reason}', 'Once the worker of {host} runs again: `korora vm reconcile {vm}`.'),
  ABORTED: row.never('the move was aborted: {reason}', 'The VM runs on the source. Order the move again when you want it.'),
  STEP_GIVEN_UP: row.never('{host} gave up its step of the move: {problem}', 'Look at the load of {host} and at its connection to Temporal, then order the move again.'),
  PAST_POINT_OF_NO_RETURN: row.never('the source of VM {vm} has stopped: the move can no longer be aborted', 'Wait for the verdict with `korora watch {vm}`.'),
  NOTHING_TO_APPROVE: row.never('the move of VM {vm} does not wait for an approval (phase {phase})', 'A move is approved only while it waits for that; see `korora watch {vm}`.'),
  NOT_COPYING: row.never('VM {vm} is not in its memory rounds (phase {phase})', 'Limits can be changed, and the copy held, only while rounds run.'),
  LIMITS_INVALID: row.never('the limits are not valid: {problem}', 'Give a positive bandwidth, a downtime limit between 1 and 10000 ms, and percentages between 1 and 99.'),
  MIGRATION_NOT_FOUND: row.never('no move of VM {vm} is known', 'Order one with `korora migrate {vm} --to HOST`.'),

  // Surroundings
  TEMPORAL_UNREACHABLE: row.again('the Temporal server at {address} does not answer: {problem}', 'Start it, or set TEMPORAL_ADDRESS to the one you use.'),
  TEMPORAL_CONFIG_INVALID: row.never('the configuration for Temporal is not valid: {problem}', 'Correct the TEMPORAL_* variable or the entry in temporal.toml.'),
  PAYLOAD_KEY_INVALID: row.never(
    'the payload keys in {file} cannot be used: {problem}',
    'Give a file of mode 0600 with a key a line: an id and 32 bytes in base64 (`openssl rand -base64 32`).',
  ),
  /* To be tried again: an undo must not end because a payload was kept from it. */
  PAYLOAD_NOT_ENCRYPTED: row.again(
    'Temporal gave a payload of workflow {workflow} that is not encrypted, and this process has a payload key',
    'Give every worker and client the payload key (KORORA_PAYLOAD_KEY). If all have it, treat the control plane as attacked.',
  ),
  PAYLOAD_KEY_UNKNOWN: row.again(
    'Temporal gave a payload of workflow {workflow} that is encrypted with the key {key}, which this process does not have',
    'Add the key {key} to the file that KORORA_PAYLOAD_KEY names, and restart this process.',
  ),
  PAYLOAD_FOREIGN: row.again(
    'Temporal gave a payload as one of workflow {workflow} that was not made for it with the key {key}, or was changed',
    'Compare the payload keys of workers and clients. If they agree, treat the control plane as attacked.',
  ),
  TPM_UNREACHABLE: row.again('the TPM of {host} does not answer: {problem}', 'Look at the TPM of {host} (`tpm2_getcap properties-fixed`).'),
  TPM_COMMAND_FAILED: row.again('{command} failed on {host}: {problem}', 'Look at the TPM of {host}.'),
  HYPERVISOR_COMMAND_FAILED: row.again('{command} failed on {host}: {problem}', 'See the hypervisor log of the VM on {host}.'),
  HOST_COMMAND_FAILED: row.again('{command} failed on {host}: {problem}', 'Look at {host}: disk space, permissions, installed packages.'),
  FOLDER_NOT_PRIVATE: row.never('folder {folder} of {host} is open to others: {problem}', 'Find out who has used it, then make it the worker’s own with mode 0700.'),
  WORKER_ALREADY_RUNS: row.never('a worker of {host} already runs (process {pid})', 'Stop it first: one worker at a time drives a host.'),
  INTERNAL: row.again('unexpected: {problem}', 'This is a defect of Kororā; the stack is in the worker log.'),
} as const satisfies Record<string, FailureRow>;

export type FailureCode = keyof typeof FAILURES;
export const FAILURE_CODES = Object.keys(FAILURES) as FailureCode[];

type ParametersIn<T extends string> = T extends `${string}{${infer P}}${infer Rest}` ? P | ParametersIn<Rest> : never;
/** The named values that a code's message and remedy take. */
export type FailureParameters<C extends FailureCode> = Record<ParametersIn<(typeof FAILURES)[C]['message']>, string | number>;

/** One refusal, ready for people and for JSON. */
export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly remedy: string;
}

export function failure<C extends FailureCode>(code: C, parameters: FailureParameters<C>): Failure {
  const { message, remedy } = FAILURES[code];
  return { code, message: fill(message, parameters), remedy: fill(remedy, parameters) };
}

/** An error that carries one or more failures; the first names the whole. */
export class KororaError extends Error {
  override readonly name = 'KororaError';
  readonly failures: readonly [Failure, ...Failure[]];

  constructor(failures: readonly [Failure, ...Failure[]], options?: ErrorOptions) {
    super(failures.map((f) => `${f.code}: ${f.message}`).join('; '), options);
    this.failures = failures;
  }

  get code(): FailureCode {
    return this.failures[0].code;
  }

  get isRetryable(): boolean {
    return this.failures.every((f) => FAILURES[f.code].isRetryable);
  }
}

/** `throw refuse('VM_PAUSED', {…})`. */
export function refuse<C extends FailureCode>(code: C, parameters: FailureParameters<C>, cause?: unknown): KororaError {
  return new KororaError([failure(code, parameters)], cause === undefined ? undefined : { cause });
}

export function isFailureCode(code: string | undefined | null): code is FailureCode {
  return code !== undefined && code !== null && Object.hasOwn(FAILURES, code);
}

/** Text of an unknown error for a failure's `problem` parameter. */
export function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fill(template: string, parameters: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, key: string) => (Object.hasOwn(parameters, key) ? String(parameters[key]) : whole));
}
