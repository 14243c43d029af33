/**
 * What the QEMU of a host can do, found by asking and by trying. Two short QEMU runs (about 0.1 s and
 * up to 0.3 s), neither of which listens on anything or outlives its call. Keeps nothing.
 */
import { randomBytes } from 'node:crypto';
import type { HostAccess } from '../../host/port.js';
import type { HypervisorFacts } from '../port.js';
import { QmpError } from './qmp.js';

const TRIAL_TIMEOUT_MS = 5_000;

/** KVM is trusted only after it ran the trial guest. Rejects QmpError, HOST_COMMAND_FAILED. */
export async function findFacts(access: HostAccess, binary: string): Promise<HypervisorFacts> {
  const accelerator = (await runsTrialGuest(access, binary, ['-accel', 'kvm', '-cpu', 'host'])) ? 'kvm' : 'tcg';
  return { kind: 'qemu', accelerator, ...(await askQemu(access, binary, accelerator)) };
}

/**
 * True when the CPU entered 64-bit mode with paging and said so by its exit code. The file /dev/kvm, and
 * even a firmware that runs to its end, prove less: there are KVMs that run 16-bit code and no kernel.
 */
export async function runsTrialGuest(access: HostAccess, binary: string, cpuArguments: readonly string[]): Promise<boolean> {
  const folder = `/tmp/korora-trial-${randomBytes(8).toString('hex')}`;
  await access.ensureDirectory(folder);
  try {
    await access.writeFileDurably(`${folder}/guest`, TRIAL_GUEST);
    const { exitCode } = await access.run(binary, [
      '-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', ...cpuArguments, '-m', '64',
      '-kernel', `${folder}/guest`, '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot',
    ], { timeoutMs: TRIAL_TIMEOUT_MS });
    return exitCode === TRIAL_EXIT_CODE;
  } catch {
    return false;
  } finally {
    await access.remove(folder);
  }
}

/** Machine types and the CPU models that this host can give in full (others would be cut to what it has). */
async function askQemu(access: HostAccess, binary: string, accelerator: 'kvm' | 'tcg'): Promise<Pick<HypervisorFacts, 'version' | 'machineTypes' | 'cpuModels'>> {
  const commands = ['qmp_capabilities', 'query-version', 'query-machines', 'query-cpu-definitions', 'quit'];
  const { stdout, stderr } = await access.run(
    binary,
    ['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'none', '-accel', accelerator, '-qmp', 'stdio'],
    { input: Buffer.from(commands.map((execute) => `${JSON.stringify({ execute, id: execute })}\n`).join('')), timeoutMs: TRIAL_TIMEOUT_MS },
  );
  const answers = new Map<string, unknown>();
  for (const line of stdout.toString().split('\n').filter((text) => text.startsWith('{'))) {
    const { id, return: answer } = JSON.parse(line) as { id?: string; return?: unknown };
    if (id !== undefined && answer !== undefined) answers.set(id, answer);
  }
  const version = answers.get('query-version') as { qemu: { major: number; minor: number; micro: number } } | undefined;
  const machines = answers.get('query-machines') as { name: string }[] | undefined;
  const models = answers.get('query-cpu-definitions') as { name: string; 'unavailable-features'?: string[] }[] | undefined;
  if (!version || !machines || !models) throw new QmpError(`it does not describe itself: ${stderr.toString().trim()}`);
  const { major, minor, micro } = version.qemu;
  return {
    version: `${major}.${minor}.${micro}`,
    machineTypes: machines.map(({ name }) => name).filter((name) => name !== 'none').sort(),
    cpuModels: models.filter((model) => !model['unavailable-features']?.length).map(({ name }) => name).sort(),
  };
}

/** isa-debug-exit: (value << 1) | 1. */
const TRIAL_EXIT_CODE = (0x2a << 1) | 1;

/** A Multiboot kernel of 150 bytes: page table, PAE, EFER.LME, CR0.PG, far jump into 64-bit code, `out 0xf4, 0x2a`. */
const TRIAL_GUEST = Buffer.from(
  [
    '02b0ad1b 00000100 fe4f51e4', //                     Multiboot header, flag 16: load addresses follow
    '00001000 00001000 96001000 00801000 20001000', //   header and load at 1 MiB, load end, bss end, entry
    'bf00201000 0f22df', //                              mov edi, 0x102000; mov cr3, edi
    'c70703301000 c7870010000083000000', //              PML4[0] = 0x103003; PDPT[0] = 0x83 (one page of 1 GiB)
    '0f20e0 83c820 0f22e0', //                           CR4.PAE
    'b9800000c0 0f32 0d00010000 0f30', //                EFER.LME
    '0f20c0 0d00000080 0f22c0', //                       CR0.PG
    '0f011590001000 ea680010000800', //                  lgdt [0x100090]; jmp 8:0x100068
    '48c7c02a000000 4989c0 4489c0', //                   64-bit: mov rax, 0x2a; mov r8, rax; mov eax, r8d
    'e6f4 f4 ebfd', //                                   out 0xf4, al; hlt; jmp back
    '660f1f440000', //                                   padding
    '0000000000000000 00000000009a2000', //              GDT: null, 64-bit code
    '0f00 80001000', //                                  GDTR: limit, base
  ].join('').replaceAll(' ', ''),
  'hex',
);
