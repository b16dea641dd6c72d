//! Giving up what will not be needed, before the first byte of the peer is read: the kernel says no a second time.
//!
//! Two layers, each of which holds with the other one off: Landlock knows the root and what may be done beneath it,
//! seccomp knows which system calls a sink and a source make. What Landlock does not cover, modes and times, seccomp
//! confines to descriptors, and those are only to be had through Landlock.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::close;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::policy::Sandbox;

/// Which way contents go: a source needs no right to write, a sink none to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// `scp -f`
    Sending,
    /// `scp -t`
    Storing,
    /// `scp -t`, replacing whole trees: directories are removed, too.
    StoringTrees,
}

/// A layer that is not there, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing {
    /// Its name.
    pub layer: &'static str,
    /// What the kernel says.
    pub why: String,
}

/// The layers that are on, and those that are not.
#[derive(Debug)]
pub struct Layers(pub Vec<Result<(&'static str, String), Missing>>);

/// Descriptors that may be open at once: 256 directories, each with its listing, and what else there is.
const DESCRIPTORS: u64 = 4096;

/// Bytes of memory that may be mapped; a session needs a few millions, whatever the peer sends.
const MEMORY: u64 = 512 << 20;

/// Closes what whoever started us has left open beside the three standard streams. Before anything of ours is.
pub fn close_inherited() {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // Without /proc there is nothing to be found; sshd leaves nothing open.
    let Ok(listing) = Dir::open("/proc/self/fd", flags, Mode::empty()) else { return };
    let number = |name: &CStr| name.to_str().ok()?.parse::<RawFd>().ok();
    let numbers = listing.into_iter().filter_map(|entry| number(entry.ok()?.file_name()));
    let inherited: Vec<RawFd> = numbers.filter(|&fd| fd > 2).collect();
    // One of them was the listing itself, and is closed already.
    for fd in inherited {
        let _ = close(fd);
    }
}

/// Puts the process into the sandbox, as far as it is wanted.
///
/// # Errors
/// A layer is missing that was required. Under `try` it is in the returned list.
pub fn enter(
    demand: Sandbox,
    root: BorrowedFd<'_>,
    direction: Direction,
    file_size: Option<u64>,
) -> Result<Layers, Missing> {
    if demand == Sandbox::Off {
        return Ok(Layers(Vec::new()));
    }
    let layers = vec![
        limit(file_size).map(|()| ("limits", "active".into())).map_err(|errno| missing("limits", errno)),
        landlock(root, direction).map(|abi| ("landlock", abi)),
        seccomp(direction).map(|()| ("seccomp", "active".into())),
    ];
    match layers.iter().find_map(|layer| layer.as_ref().err()) {
        Some(missing) if demand == Sandbox::Require => Err(missing.clone()),
        _ => Ok(Layers(layers)),
    }
}

impl Layers {
    /// Returns the layers that are not there.
    pub fn missing(&self) -> impl Iterator<Item = &Missing> {
        self.0.iter().filter_map(|layer| layer.as_ref().err())
    }
}

/// Limits that the kernel keeps, and no way back.
fn limit(file_size: Option<u64>) -> Result<(), Errno> {
    // No new privileges by a set-id program, no core and no tracing: another process of the account cannot take over.
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    lower(Resource::RLIMIT_CORE, 0)?;
    lower(Resource::RLIMIT_NPROC, 0)?;
    lower(Resource::RLIMIT_AS, MEMORY)?;
    if let Some(bytes) = file_size {
        lower(Resource::RLIMIT_FSIZE, bytes)?;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(DESCRIPTORS)), hard)
}

fn lower(resource: Resource, limit: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    setrlimit(resource, limit.min(hard), limit.min(hard))
}

/// Allows beneath the root what the direction needs, elsewhere nothing; nowhere links, devices, execution.
fn landlock(root: BorrowedFd<'_>, direction: Direction) -> Result<String, Missing> {
    // Truncation is covered from ABI 3 on; a kernel that cannot confine it counts as one without Landlock.
    let insisted = ABI::V3;
    // A version that has been tried, never the newest there is: a later one could deny what we need.
    let known = ABI::V7;
    let storing = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::ReadDir;
    let allowed: BitFlags<AccessFs> = match direction {
        Direction::Sending => AccessFs::ReadFile | AccessFs::ReadDir,
        Direction::Storing => storing,
        Direction::StoringTrees => storing | AccessFs::RemoveDir,
    };
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(known))?
            .handle_access(AccessNet::from_all(known))?
            .scope(Scope::from_all(known))?
            .create()?
            .add_rule(PathBeneath::new(root, allowed))?
            .restrict_self()
    };
    let refused = |why: String| Missing { layer: "landlock", why };
    let status = restrict().map_err(|error: RulesetError| refused(error.to_string()))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err(refused("switched off at boot: add landlock to the kernel's lsm= list".into()))
        }
        (RulesetStatus::NotEnforced, LandlockStatus::NotImplemented) => {
            Err(refused("not in this kernel, or hidden by a container's profile (Linux 5.13 has it)".into()))
        }
        (RulesetStatus::NotEnforced, _) => Err(refused("not enforced".into())),
        (_, LandlockStatus::Available { effective_abi, .. }) if effective_abi < insisted => Err(refused(
            format!("this kernel's ({effective_abi:?}) does not confine truncation; Linux 6.2 does"),
        )),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(format!("active (ABI {effective_abi:?})")),
        (_, _) => Ok("active".into()),
    }
}

/// Kills the process for what only an intruder would do, and knows nothing of what a session does not need.
fn seccomp(direction: Direction) -> Result<(), Missing> {
    let refused = |why: String| Missing { layer: "seccomp", why };
    let filters = filters(direction).map_err(|error| refused(error.to_string()))?;
    filters
        .iter()
        .try_for_each(|filter| seccompiler::apply_filter(filter))
        .map_err(|error| refused(error.to_string()))
}

fn filters(direction: Direction) -> Result<[BpfProgram; 2], BackendError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let deadly = DEADLY.iter().map(|&call| (call, Vec::new())).collect();
    let deadly = SeccompFilter::new(deadly, SeccompAction::Allow, SeccompAction::KillProcess, arch)?;

    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let ways: &[i64] = match direction {
        Direction::Sending => SENDING,
        Direction::Storing | Direction::StoringTrees => STORING,
    };
    allowed.extend(COMMON.iter().chain(ways).map(|&call| (call, Vec::new())));
    // Memory that is data stays data.
    let not_executable = u64::try_from(libc::PROT_EXEC).unwrap_or(u64::MAX);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        allowed.insert(call, vec![only_if(2, SeccompCmpOp::MaskedEq(not_executable), 0)?]);
    }
    // To where the socket is connected, and nowhere else: the system's log.
    allowed.insert(libc::SYS_sendto, vec![only_if(4, SeccompCmpOp::Eq, 0)?]);
    if direction != Direction::Sending {
        // Without a path: the times of an open file.
        allowed.insert(libc::SYS_utimensat, vec![only_if(1, SeccompCmpOp::Eq, 0)?]);
        // The group of an open file, never its owner: -1 leaves that as it is.
        let owner = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(u32::MAX))?;
        allowed.insert(libc::SYS_fchown, vec![SeccompRule::new(vec![owner])?]);
    }
    // ENOSYS and not EPERM: the C library knows what to do without a call.
    let unknown = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or_default());
    let allowed = SeccompFilter::new(allowed, unknown, SeccompAction::Allow, arch)?;
    Ok([deadly.try_into()?, allowed.try_into()?])
}

fn only_if(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, is, value)?])
}

fn missing(layer: &'static str, why: Errno) -> Missing {
    Missing { layer, why: why.desc().into() }
}

/// Calls that neither half of scp has a reason for: programs, processes, sockets, other processes' memory, kernels.
const DEADLY: &[i64] = &[
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
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
];

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: not active: {}", self.layer, self.why)
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for layer in &self.0 {
            match layer {
                Ok((name, state)) => writeln!(f, "{name}: {state}")?,
                Err(missing) => writeln!(f, "{missing}")?,
            }
        }
        Ok(())
    }
}
