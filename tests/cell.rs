//! The cells of the proof: how the program looks paths up, whether the kernel confines it too, and as whom it runs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::peer::Peer;
use crate::server::{Packets, Tested, place};
use crate::tally;
use crate::yard::Yard;

/// What `openat2` does for the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// Its work.
    Kernel,
    /// It is not there, as in an old kernel.
    NoSuchCall,
    /// It is forbidden, as by old container profiles.
    Forbidden,
}

impl Lookup {
    /// Does something in a thread whose processes have `openat2` as it is to be.
    pub fn holds_while(self, doing: impl FnOnce() + Send) {
        match self {
            Self::Kernel => doing(),
            Self::NoSuchCall => where_the_kernel_says(Errno::ENOSYS, &[libc::SYS_openat2], doing),
            Self::Forbidden => where_the_kernel_says(Errno::EPERM, &[libc::SYS_openat2], doing),
        }
    }
}

/// Does something in a thread for whose processes these calls fail: by a seccomp filter, which they inherit, as they
/// would a container's.
pub fn where_the_kernel_says(errno: Errno, calls: &[i64], doing: impl FnOnce() + Send) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    // Limits can be looked at all the same: the C library needs them to start a program.
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).unwrap();
    let sets = SeccompRule::new(vec![sets]).unwrap();
    let rule = |call| if call == libc::SYS_prlimit64 { vec![sets.clone()] } else { Vec::new() };
    let rules: BTreeMap<_, _> = calls.iter().map(|&call| (call, rule(call))).collect();
    let filtered = move || {
        let (faked, arch) = (SeccompAction::Errno(errno as u32), std::env::consts::ARCH.try_into().unwrap());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, faked, arch).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        doing();
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, filtered).unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// How the program is started.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The option `--sandbox`.
    pub sandbox: &'static str,
    /// Which build.
    pub program: PathBuf,
}

impl Cell {
    /// The program tested.
    pub fn new(sandbox: &'static str) -> Self {
        Self { sandbox, program: env!("CARGO_BIN_EXE_scp-server").into() }
    }

    /// The build that looks paths up as if no root confined; `SCP_SERVER_WITHOUT_RESOLVER` says where it is.
    pub fn without_resolver() -> Option<Self> {
        let program = build("SCP_SERVER_WITHOUT_RESOLVER", "without-resolver")?;
        Some(Self { sandbox: "require", program })
    }

    /// The command for a request, given as words.
    pub fn command<S: AsRef<OsStr>>(&self, yard: &Yard, options: &[&str], words: &[S]) -> Command {
        let mut command = Command::new(within_reach(yard, &self.program));
        command.arg("--root").arg(yard.path("")).args(["--sandbox", self.sandbox, "--pipeline", "off"]);
        command.args(options).args(words);
        as_its_user(&mut command, yard);
        command
    }

    /// Starts the program with a request given as words.
    pub fn starts<S: AsRef<OsStr>>(&self, yard: &Yard, options: &[&str], words: &[S]) -> Peer {
        Peer::start(self.command(yard, options, words), Packets::default())
    }

    /// Starts the program with a client's command line.
    pub fn asks(&self, yard: &Yard, line: &str) -> Peer {
        let mut command = self.command::<&str>(yard, &[], &[]);
        command.env("SSH_ORIGINAL_COMMAND", line);
        Peer::start(command, Packets::default())
    }
}

/// Returns the build into which libraries can be loaded; `SCP_SERVER_DYNAMIC` says where it is.
pub fn that_loads_libraries() -> Option<PathBuf> {
    build("SCP_SERVER_DYNAMIC", "dynamic")
}

/// Returns a build that only tests use, or notes a skip.
fn build(variable: &str, feature: &str) -> Option<PathBuf> {
    let Some(program) = std::env::var_os(variable) else {
        tally::skipped(&format!("{variable} names no build with the feature {feature}"));
        return None;
    };
    let program = PathBuf::from(program);
    assert!(program.is_file(), "{variable}: no such file");
    Some(program)
}

/// Notes a skip, unless the program tested is ours, with a root.
pub fn is_about_confinement() -> bool {
    let confined = Tested::chosen() == Tested::Confined;
    if !confined {
        tally::skipped("about confinement only");
    }
    confined
}

/// Notes a skip, unless the kernel has all layers of the sandbox.
pub fn kernel_has_all_layers() -> bool {
    let report = Command::new(env!("CARGO_BIN_EXE_scp-server")).arg("--sandbox-report").output().unwrap();
    if !report.status.success() {
        tally::skipped("this kernel, or what runs the tests, lacks a layer of the sandbox");
    }
    report.status.success()
}

/// Notes a skip, unless there is strace to fake answers of the kernel and to see what is asked of it.
pub fn there_is_strace() -> bool {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !there {
        tally::skipped("there is no strace");
    }
    there
}

/// Notes a skip, unless root runs the tests.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        tally::skipped("takes root");
    }
    root
}

/// Gives a command the environment that sshd would, the canaries as its working directory, and the yard's account.
pub fn as_its_user(command: &mut Command, yard: &Yard) {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", yard.path(""));
    command.current_dir(yard.outside(""));
    if let Some((uid, gid)) = yard.user() {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
}

/// Returns a name of the program that the account it is to run as can reach.
pub fn within_reach(yard: &Yard, program: &Path) -> PathBuf {
    if yard.user().is_none() {
        return program.into();
    }
    let name = yard.home().join(program.file_name().unwrap_or_default());
    if !name.exists() {
        place(program, &name);
    }
    name
}
