/**
 * The codes of domain/failures.ts in the order of an operator's questions: when is it said, where is the VM then. The
 * documents are made of it (docs/failure-codes.md); a test holds that every code is in one group.
 */
import type { FailureCode } from '../../domain/failures.js';

export interface FailureGroup {
  readonly title: string;
  /** When these are said, and where that leaves the VM. */
  readonly meaning: string;
  readonly codes: readonly FailureCode[];
}

export const FAILURE_GROUPS: readonly FailureGroup[] = [
  {
    title: 'A document is wrong',
    meaning: 'Nothing was touched. VMs run where they ran.',
    codes: ['VM_DOCUMENT_INVALID', 'ORDER_INVALID', 'ORDER_EXPIRED', 'LIMITS_INVALID', 'BUNDLE_INVALID', 'BUNDLE_MISSING', 'BUNDLE_OLDER', 'BUNDLE_SERIAL_USED', 'BUNDLE_EXPIRED', 'BUNDLE_DIFFERS', 'HOST_CONFIG_INVALID', 'EVIDENCE_INVALID'],
  },
  {
    title: 'Nobody signed it who may',
    meaning: 'Nothing was touched, or the move goes on as it did: what is not signed by an operator whom the host’s own trust bundle allows it moves nothing.',
    codes: [
      'ORDER_NOT_SIGNED', 'OPERATOR_NOT_ALLOWED', 'RESOURCE_NOT_ALLOWED', 'ORDER_STALE', 'ORDER_SETTLED', 'ORDERS_TOO_MANY', 'START_USED', 'APPROVER_IS_REQUESTER', 'SECOND_SIGNATURE_MISSING', 'SIGNED_ALREADY', 'APPROVAL_MISSING', 'SIGNING_KEY_MISSING', 'SIGNING_KEY_UNKNOWN', 'SIGNING_KEY_INVALID', 'BUNDLE_NOT_SIGNED', 'SIGNER_NOT_PINNED',
      'SIGNER_PINNED',
    ],
  },
  {
    title: 'Nobody signs what was not shown',
    meaning: 'Said before anything was signed. Nothing was touched, or the move goes on as it did.',
    codes: ['SIGNING_DECLINED', 'CONFIRMATION_MISSING', 'MOVE_UNPROVEN', 'SURVEY_UNPROVEN', 'LEDGER_TOO_LARGE'],
  },
  {
    title: 'A host cannot be admitted',
    meaning: 'Said at its enrolment, before it is in a trust bundle. No VM is touched.',
    codes: [
      'ENROLMENT_FILE_INVALID', 'EK_CERTIFICATE_MISSING', 'EK_CERTIFICATE_INVALID', 'EK_CERTIFICATE_UNTRUSTED', 'EK_CERTIFICATE_EXPIRED', 'EK_DIFFERS', 'AK_UNFIT', 'EVENT_LOG_INVALID', 'ACTIVATION_REFUSED', 'ANSWER_MISSING', 'ANSWER_WRONG',
    ],
  },
  {
    title: 'A host or a VM is not what the order takes it for',
    meaning: 'Said before anything was touched, all reasons at once. A VM that was to move runs on at its source; one that was to start was not started.',
    codes: [
      'VM_UNKNOWN', 'HOST_UNKNOWN', 'HOST_NOT_ACTIVE', 'SOURCE_IS_DESTINATION', 'HOST_UNREACHABLE', 'VM_NOT_OWNED', 'VM_PAUSED', 'VM_WITHOUT_VTPM', 'VM_DIFFERS', 'VM_EXISTS', 'DISK_NOT_VISIBLE',
      'DISK_NOT_SAME', 'NETWORK_NOT_VISIBLE', 'BOOT_FILE_NOT_VISIBLE', 'PATH_OUTSIDE_ROOTS', 'PATH_RESERVED', 'STORAGE_NOT_SAFE', 'DISK_HAS_LINKS', 'DISK_HAS_BACKING_FILE', 'DISK_FORMAT_WRONG', 'MEMORY_INSUFFICIENT', 'MACHINE_TYPE_UNSUPPORTED', 'CPU_MODEL_UNSUPPORTED', 'ACCELERATOR_DIFFERS', 'QEMU_LOSES_MEMORY', 'QEMU_UNSUPPORTED',
      'SWTPM_UNSUPPORTED', 'SWTPM_OLDER', 'HYPERVISOR_UNSUPPORTED', 'VM_HELD', 'LEFTOVER_FOUND', 'STRANGER_FOUND', 'MIGRATION_IN_PROGRESS', 'START_IN_PROGRESS',
    ],
  },
  {
    title: 'A host did not prove its state',
    meaning: 'No memory left the source, where the VM runs on, and no secret that another host can open.',
    codes: [
      'POLICY_EMPTY', 'EVIDENCE_MALFORMED', 'QUOTE_SIGNATURE_INVALID', 'QUOTE_MAGIC_WRONG', 'QUOTE_TYPE_WRONG', 'QUOTE_SIGNER_WRONG', 'FIRMWARE_NOT_ALLOWED', 'QUALIFYING_DATA_MISMATCH', 'NONCE_UNKNOWN', 'BINDING_MISMATCH', 'PCR_SELECTION_WRONG', 'PCR_DIGEST_MISMATCH',
      'PCR_NOT_REFERENCE', 'CLOCK_NOT_SAFE', 'STATE_NOT_REFERENCE', 'RESET_COUNT_CHANGED', 'WRAPPING_KEY_INVALID', 'NOT_ATTESTED', 'UNSEAL_REFUSED', 'SECRETS_INVALID',
    ],
  },
  {
    title: 'The copy or its channel broke',
    meaning: 'The source runs the VM again, or still. If the source had stopped by then, its worker waited for the destination’s signed rejection first.',
    codes: [
      'SESSION_LOST', 'SECRET_KEY_INVALID', 'CHANNEL_UNREACHABLE', 'CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_FRAME_INVALID', 'CHANNEL_LOST', 'CHANNEL_SILENT', 'COPY_FAILED', 'COPY_NOT_CONVERGING', 'COPY_STALLED', 'STREAM_LENGTH_MISMATCH',
      'STREAM_DIGEST_MISMATCH', 'MANIFEST_MISMATCH', 'IMAGE_NOT_LOADED', 'DESTINATION_REJECTED', 'ABORTED', 'STEP_GIVEN_UP',
    ],
  },
  {
    title: 'A word came at the wrong time',
    meaning: 'It changed nothing; the move goes on as it did.',
    codes: ['PAST_POINT_OF_NO_RETURN', 'NOTHING_TO_APPROVE', 'NOT_COPYING', 'NOTHING_TO_FENCE', 'FENCE_REFUSED', 'MIGRATION_NOT_FOUND'],
  },
  {
    title: 'Who owns the VM',
    meaning: 'The records decide, and a host that is not sure runs nothing. `korora vm show` and `korora vm list` say what each host holds.',
    codes: ['VM_NOT_RUNNING', 'VM_REBOOTED', 'VM_MOVED_ON', 'HOST_FENCED', 'OWNERSHIP_REFUSED', 'RECORD_UNREADABLE', 'RECORD_STALE', 'RECORDS_IN_DOUBT', 'REINSTATEMENT_STALE', 'VERDICT_UNPROVEN', 'CLAIM_UNPROVEN', 'TWO_OWNERS'],
  },
  {
    title: 'What is recorded of a move',
    meaning: 'The VM is settled. No evidence is ever replaced by another.',
    codes: ['EVIDENCE_DIFFERS', 'EVIDENCE_NAME_TAKEN'],
  },
  {
    title: 'The surroundings fail',
    meaning: 'A step that meets one of these is tried again; a move waits for it, or ends with the VM at its source. VMs run on without workers and without Temporal.',
    codes: [
      'TEMPORAL_UNREACHABLE', 'TEMPORAL_CONFIG_INVALID', 'PAYLOAD_KEY_INVALID', 'PAYLOAD_NOT_ENCRYPTED', 'PAYLOAD_KEY_UNKNOWN', 'PAYLOAD_FOREIGN', 'TPM_UNREACHABLE', 'TPM_COMMAND_FAILED', 'HYPERVISOR_COMMAND_FAILED', 'HOST_COMMAND_FAILED', 'FOLDER_NOT_PRIVATE', 'WORKER_ALREADY_RUNS', 'INTERNAL',
    ],
  },
];
