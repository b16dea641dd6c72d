//! Giving up what will not be needed, before the first byte of the peer is read: the kernel says no a second time.
//!
//! Two layers, each of which holds with the other one off: Landlock knows the root and what may be done beneath it,
//! seccomp knows which system calls a sink and a source make. What Landlock does not cover, modes and times, seccomp
//! confines to descriptors, and those are only to be had through Landlock.

mod filter;
mod program;

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
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, stat};
use nix::unistd::close;

use crate::policy::{Sandbox, Unit};
use crate::request::Request;

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

impl Direction {
    /// Returns which way the contents of a request go, things getting their names by `unit`.
    pub fn of(request: &Request, unit: Unit) -> Self {
        match request {
            Request::Fetch(_) => Self::Sending,
            Request::Store(_) if unit == Unit::Tree => Self::StoringTrees,
            Request::Store(_) => Self::Storing,
        }
    }
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

/// A directory with a name for each descriptor that is open.
const DESCRIPTORS_OPEN: &str = "/proc/self/fd";

/// Bytes of memory that may be mapped; a session needs a few millions, whatever the peer sends.
const MEMORY: u64 = 512 << 20;

/// Closes what whoever started us has left open beside the three standard streams. Before anything of ours is.
pub fn close_inherited() {
    // That is how many there are, on Linux 6.2 and later; the standard library has seen to it that these three are.
    if stat(DESCRIPTORS_OPEN).is_ok_and(|listing| listing.st_size == 3) {
        return;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // Without /proc there is nothing to be found; sshd leaves nothing open.
    let Ok(listing) = Dir::open(DESCRIPTORS_OPEN, flags, Mode::empty()) else { return };
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
    /// Returns the names of the layers that are on.
    pub fn active(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|layer| layer.as_ref().ok()).map(|&(name, _)| name)
    }

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
    // Nothing is less: there is no need to ask what they were.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
    lower(Resource::RLIMIT_AS, MEMORY)?;
    if let Some(bytes) = file_size {
        // The kernel takes it for a number with a sign: more would be less than nothing.
        lower(Resource::RLIMIT_FSIZE, bytes.min(i64::MAX.unsigned_abs()))?;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(DESCRIPTORS);
    if soft < wanted { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
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
            // It is on already, for all that follows.
            .no_new_privs(false)
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
    let program = filter::program(direction).ok_or_else(|| refused("not for this processor".into()))?;
    seccompiler::apply_filter(program).map_err(|error| refused(error.to_string()))
}

fn missing(layer: &'static str, why: Errno) -> Missing {
    Missing { layer, why: why.desc().into() }
}

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
