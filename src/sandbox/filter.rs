//! The seccomp program: a decision tree over the numbers of system calls.
//!
//! Written by hand, because its length is what it costs to start: the kernel tries every number there is on a new
//! program, and two programs, each a list, took 0.2 ms of the 0.3 ms that the sandbox took. This is one program that
//! compares eight times at most.

use nix::libc;
use seccompiler::{BpfProgram, sock_filter};

use super::Direction;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    /// It is made.
    Allowed,
    /// The process is killed: only an intruder calls so.
    Deadly,
    /// It fails, as if there were none.
    Unknown,
    /// It is made if none of the bits are set in an argument, and unknown otherwise.
    Without { argument: u32, bits: u32 },
    /// It is made if the lower half of an argument, all that counts of it, is this.
    Half { argument: u32, is: u32 },
    /// It is made if an argument is a null pointer.
    Null { argument: u32 },
}

/// One instruction of a program whose places are not settled yet.
enum Step {
    /// A word is loaded.
    Load(u32),
    /// It is compared, and there are two ways on.
    Jump { code: u16, with: u32, yes: Target, no: Target },
}

/// Where a jump leads.
#[derive(Clone, Copy)]
enum Target {
    /// To the step of this number.
    Step(usize),
    /// To one of the answers, which stand at the end.
    Answer(usize),
}

/// The answers.
const ALLOWED: Target = Target::Answer(0);
const UNKNOWN: Target = Target::Answer(1);
const DEADLY: Target = Target::Answer(2);

/// Builds the program, if the processor is one whose calls it knows.
pub(super) fn build(direction: Direction) -> Option<BpfProgram> {
    // Another architecture's numbers mean other calls.
    let foreign = Step::Jump { code: IF_EQUAL, with: architecture()?, yes: Target::Step(2), no: DEADLY };
    let mut steps = vec![Step::Load(ARCHITECTURE), foreign, Step::Load(NUMBER)];
    grow(&mut steps, &ranges(direction)?)?;
    let mut program = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        // A jump counts from the instruction behind it.
        let distance = |target: Target| {
            let there = match target {
                Target::Step(number) => number,
                Target::Answer(number) => steps.len().checked_add(number)?,
            };
            u8::try_from(there.checked_sub(place)?.checked_sub(1)?).ok()
        };
        program.push(match *step {
            Step::Load(place) => instruction(LOAD, place),
            Step::Jump { code, with, yes, no } => {
                sock_filter { code, jt: distance(yes)?, jf: distance(no)?, k: with }
            }
        });
    }
    program.push(instruction(ANSWER, libc::SECCOMP_RET_ALLOW));
    // ENOSYS and not EPERM: the C library knows what to do without a call.
    program.push(instruction(ANSWER, libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).ok()?));
    program.push(instruction(ANSWER, libc::SECCOMP_RET_KILL_PROCESS));
    Some(program)
}

/// Returns what each number means, each rule with the first number that it is for.
fn ranges(direction: Direction) -> Option<Vec<(u32, Rule)>> {
    let mut rules = Vec::new();
    let mut add = |calls: &[i64], rule| {
        calls.iter().try_for_each(|&call| {
            rules.push((u32::try_from(call).ok()?, rule));
            Some(())
        })
    };
    add(DEADLY_CALLS, Rule::Deadly)?;
    add(COMMON, Rule::Allowed)?;
    // Memory that is data stays data.
    let executable = u32::try_from(libc::PROT_EXEC).ok()?;
    add(&[libc::SYS_mmap, libc::SYS_mprotect], Rule::Without { argument: 2, bits: executable })?;
    match direction {
        Direction::Sending => add(SENDING, Rule::Allowed)?,
        Direction::Storing | Direction::StoringTrees => {
            add(STORING, Rule::Allowed)?;
            // Without a path: the times of an open file.
            add(&[libc::SYS_utimensat], Rule::Null { argument: 1 })?;
            // The group of an open file, never its owner: -1 leaves that as it is.
            add(&[libc::SYS_fchown], Rule::Half { argument: 1, is: u32::MAX })?;
        }
    }
    rules.sort_unstable_by_key(|&(number, _)| number);

    let mut ranges = Vec::new();
    let mut free = 0;
    for (number, rule) in rules {
        if number > free {
            ranges.push((free, Rule::Unknown));
        }
        ranges.push((number, rule));
        free = number.checked_add(1)?;
    }
    ranges.push((free, Rule::Unknown));
    ranges.dedup_by_key(|&mut (_, rule)| rule);
    Some(ranges)
}

/// Appends the steps that tell the ranges apart, and returns where they begin: a comparison with the number in the middle,
/// and so on.
fn grow(steps: &mut Vec<Step>, ranges: &[(u32, Rule)]) -> Option<Target> {
    let (lower, upper) = match ranges {
        [] => return None,
        [(_, rule)] => return rule.append(steps),
        more => more.split_at(more.len().div_euclid(2)),
    };
    let place = steps.len();
    steps.push(Step::Load(NUMBER));
    let (no, yes) = (grow(steps, lower)?, grow(steps, upper)?);
    *steps.get_mut(place)? = Step::Jump { code: IF_AT_LEAST, with: upper.first()?.0, yes, no };
    Some(Target::Step(place))
}

impl Rule {
    fn append(self, steps: &mut Vec<Step>) -> Option<Target> {
        let place = steps.len();
        match self {
            Self::Allowed => return Some(ALLOWED),
            Self::Deadly => return Some(DEADLY),
            Self::Unknown => return Some(UNKNOWN),
            Self::Without { argument, bits } => {
                steps.push(Step::Load(lower_half(argument)));
                steps.push(Step::Jump { code: IF_ANY_BIT, with: bits, yes: UNKNOWN, no: ALLOWED });
            }
            Self::Half { argument, is } => {
                steps.push(Step::Load(lower_half(argument)));
                steps.push(Step::Jump { code: IF_EQUAL, with: is, yes: ALLOWED, no: UNKNOWN });
            }
            Self::Null { argument } => {
                let upper = Target::Step(place.checked_add(2)?);
                steps.push(Step::Load(lower_half(argument)));
                steps.push(Step::Jump { code: IF_EQUAL, with: 0, yes: upper, no: UNKNOWN });
                steps.push(Step::Load(lower_half(argument).saturating_add(4)));
                steps.push(Step::Jump { code: IF_EQUAL, with: 0, yes: ALLOWED, no: UNKNOWN });
            }
        }
        Some(Target::Step(place))
    }
}

/// Instructions, from linux/bpf_common.h: a word of the call's description is loaded, compared, and an answer given.
const LOAD: u16 = 0x20;
const ANSWER: u16 = 0x06;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;

/// Where things are in `struct seccomp_data`, from linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Returns this processor's number, from linux/audit.h. All of these are little-endian, which places of halves rely on.
fn architecture() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Some(0xc000_003e),
        "aarch64" => Some(0xc000_00b7),
        "riscv64" => Some(0xc000_00f3),
        _ => None,
    }
}

fn lower_half(argument: u32) -> u32 {
    argument.saturating_mul(8).saturating_add(ARGUMENTS)
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Calls that neither half of scp has a reason for: programs, processes, sockets, other processes' memory, kernels.
const DEADLY_CALLS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Calls that both halves make, those of errors and panics included.
const COMMON: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_splice,
    libc::SYS_ppoll,
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Calls of a source.
const SENDING: &[i64] = &[libc::SYS_sendfile, libc::SYS_fadvise64];

/// Calls of a sink.
const STORING: &[i64] = &[
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
];

#[cfg(test)]
#[expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "it does what the kernel's interpreter does"
)]
mod tests {
    use super::*;

    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    /// Their answers depend on an argument.
    const DEPENDING: [i64; 4] = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_utimensat, libc::SYS_fchown];
    const DIRECTIONS: [Direction; 3] = [Direction::Sending, Direction::Storing, Direction::StoringTrees];

    /// Runs the program as the kernel does, and returns its answer and the number of instructions.
    fn run(program: &[sock_filter], architecture: u32, call: i64, arguments: [u64; 6]) -> (u32, usize) {
        let (mut at, mut word, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            (at, steps) = (at + 1, steps + 1);
            let holds = match code {
                LOAD => {
                    word = match k {
                        NUMBER => call as u32,
                        ARCHITECTURE => architecture,
                        place => {
                            let (index, half) = ((place - ARGUMENTS) / 8, (place - ARGUMENTS) % 8);
                            (arguments[index as usize] >> (8 * half)) as u32
                        }
                    };
                    continue;
                }
                ANSWER => return (k, steps),
                IF_EQUAL => word == k,
                IF_AT_LEAST => word >= k,
                IF_ANY_BIT => word & k != 0,
                _ => panic!("no such instruction: {code}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    fn answer_to(direction: Direction, call: i64, arguments: [u64; 6]) -> u32 {
        run(&build(direction).unwrap(), architecture().unwrap(), call, arguments).0
    }

    #[test]
    fn every_number_has_the_answer_of_its_list_in_a_few_steps() {
        for direction in DIRECTIONS {
            let program = build(direction).unwrap();
            let mine = if direction == Direction::Sending { SENDING } else { STORING };
            for call in (0..1024).chain([59 | 0x4000_0000, i64::from(u32::MAX)]) {
                let expected = if DEADLY_CALLS.contains(&call) {
                    libc::SECCOMP_RET_KILL_PROCESS
                } else if COMMON.contains(&call) || mine.contains(&call) {
                    libc::SECCOMP_RET_ALLOW
                } else if DEPENDING.contains(&call) {
                    continue;
                } else {
                    NO_CALL
                };
                let (given, steps) = run(&program, architecture().unwrap(), call, [0; 6]);
                assert_eq!(given, expected, "{direction:?} {call}");
                assert!(steps < 16, "{direction:?} {call}: {steps} steps");
            }
        }
    }

    #[test]
    fn calls_that_depend_on_an_argument_are_unknown_with_another() {
        let one = |argument: usize, value: u64| {
            let mut arguments = [0; 6];
            arguments[argument] = value;
            arguments
        };
        let (allowed, all) = (libc::SECCOMP_RET_ALLOW, u64::MAX);
        for direction in DIRECTIONS {
            for call in [libc::SYS_mmap, libc::SYS_mprotect] {
                assert_eq!(answer_to(direction, call, one(2, 3)), allowed);
                for protection in [4, 5, 7, all] {
                    assert_eq!(answer_to(direction, call, one(2, protection)), NO_CALL);
                }
            }
        }
        for direction in [Direction::Storing, Direction::StoringTrees] {
            assert_eq!(answer_to(direction, libc::SYS_utimensat, [9, 0, 9, 9, 9, 9]), allowed);
            assert_eq!(answer_to(direction, libc::SYS_utimensat, one(1, 1 << 40)), NO_CALL);
            assert_eq!(answer_to(direction, libc::SYS_fchown, one(1, u64::from(u32::MAX))), allowed);
            assert_eq!(answer_to(direction, libc::SYS_fchown, one(1, all)), allowed);
            assert_eq!(answer_to(direction, libc::SYS_fchown, one(1, 0)), NO_CALL);
        }
        for call in [libc::SYS_utimensat, libc::SYS_fchown] {
            assert_eq!(answer_to(Direction::Sending, call, one(1, u64::from(u32::MAX))), NO_CALL);
        }
    }

    #[test]
    fn the_numbers_of_another_processor_are_deadly() {
        let program = build(Direction::Storing).unwrap();
        let (given, _) = run(&program, 0x4000_0003, libc::SYS_read, [0; 6]);
        assert_eq!(given, libc::SECCOMP_RET_KILL_PROCESS);
    }
}
