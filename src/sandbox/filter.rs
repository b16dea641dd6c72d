//! The seccomp filter: what becomes of each system call, by its number.

use nix::libc;
use seccompiler::sock_filter;

use super::Direction;
use super::program::{ALLOWED, Calls, DEADLY, Program};

/// Returns the program for a direction, if the processor is one whose calls it knows.
pub(super) fn program(direction: Direction) -> Option<&'static [sock_filter]> {
    static SOURCE: Program = sending();
    static SINK: Program = storing();
    match direction {
        Direction::Sending => SOURCE.steps(),
        Direction::Storing | Direction::StoringTrees => SINK.steps(),
    }
}

const fn sending() -> Program {
    let (program, calls) = common();
    program.decide(calls.mean(ALLOWED, SENDING))
}

const fn storing() -> Program {
    let (mut program, calls) = common();
    // Without a path: the times of an open file.
    let of_descriptor = program.null(1);
    // The group of an open file, never its owner: -1 leaves that as it is.
    let of_nobody = program.half(1, u32::MAX);
    let calls = calls.mean(of_descriptor, &[libc::SYS_utimensat]).mean(of_nobody, &[libc::SYS_fchown]);
    program.decide(calls.mean(ALLOWED, STORING))
}

const fn common() -> (Program, Calls) {
    let mut program = Program::EMPTY;
    // Memory that is data stays data.
    let data = program.without(2, libc::PROT_EXEC);
    let calls = Calls::ALL_UNKNOWN.mean(data, &[libc::SYS_mmap, libc::SYS_mprotect]);
    (program, calls.mean(DEADLY, DEADLY_CALLS).mean(ALLOWED, COMMON))
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
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
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
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Calls of a source.
const SENDING: &[i64] = &[libc::SYS_sendfile, libc::SYS_fadvise64];

/// Calls of a sink.
const STORING: &[i64] = &[
    libc::SYS_mkdirat,
    // Newer processors have renameat2 alone.
    #[cfg(not(target_arch = "riscv64"))]
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
    use crate::sandbox::program::{
        ANSWER, ARCHITECTURE, ARGUMENTS, IF_ANY_BIT, IF_AT_LEAST, IF_EQUAL, LOAD, NUMBER, PROCESSOR,
    };

    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    /// Their answers depend on an argument.
    const DEPENDING: [i64; 4] = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_utimensat, libc::SYS_fchown];
    const DIRECTIONS: [Direction; 3] = [Direction::Sending, Direction::Storing, Direction::StoringTrees];

    /// Runs the program as the kernel does, and returns its answer and the number of instructions. Others than those that
    /// the kernel can try beforehand are none.
    fn run(program: &[sock_filter], processor: u32, call: i64, arguments: [u64; 6]) -> (u32, usize) {
        let (mut at, mut word, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            (at, steps) = (at + 1, steps + 1);
            let holds = match code {
                LOAD => {
                    word = match k {
                        NUMBER => call as u32,
                        PROCESSOR => processor,
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
        run(program(direction).unwrap(), ARCHITECTURE.unwrap(), call, arguments).0
    }

    #[test]
    fn every_number_has_the_answer_of_its_list_in_a_few_steps() {
        for direction in DIRECTIONS {
            let program = program(direction).unwrap();
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
                let (given, steps) = run(program, ARCHITECTURE.unwrap(), call, [0; 6]);
                assert_eq!(given, expected, "{direction:?} {call}");
                assert!(steps < 16, "{direction:?} {call}: {steps} steps");
            }
        }
    }

    #[test]
    fn a_number_that_stands_alone_takes_one_comparison() {
        for direction in DIRECTIONS {
            let mine = if direction == Direction::Sending { SENDING } else { STORING };
            let calls = DEADLY_CALLS.len() + COMMON.len() + mine.len() + DEPENDING.len();
            let length = program(direction).unwrap().len();
            assert!(length < calls + 16, "{direction:?}: {length} instructions for {calls} calls");
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
        let program = program(Direction::Storing).unwrap();
        let (given, _) = run(program, 0x4000_0003, libc::SYS_read, [0; 6]);
        assert_eq!(given, libc::SECCOMP_RET_KILL_PROCESS);
    }
}
