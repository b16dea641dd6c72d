//! The sandbox: what the kernel does to an intruder in the program.
//!
//! The program has no way to make a forbidden call. So an intruder is loaded into it, a library of a few lines of C that
//! takes over when the sandbox is on: see `sandbox/intruder.c`. Against `--sandbox off` the same intruder succeeds. It takes
//! the build with the feature `dynamic`: into the other one nothing can be loaded.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use crate::cell::{self, Cell, that_loads_libraries, where_the_kernel_says};
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// For which an intruder dies: programs, processes, sockets, other processes, the kernel.
const DEADLY: [&str; 21] = [
    "execve",
    "execveat",
    "fork",
    "clone",
    "clone3",
    "socket",
    "unix-socket",
    "socketpair",
    "connect",
    "bind",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "io_uring_setup",
    "bpf",
    "mount",
    "chroot",
    "unshare",
    "setuid",
    "userfaultfd",
    "i386-execve",
];

/// Contents and names outside: Landlock's affair.
const OUTSIDE: [&str; 23] = [
    "read-passwd",
    "look-up-passwd",
    "through-proc",
    "through-own-descriptor",
    "other-memory",
    "list-outside",
    "read-outside",
    "write-outside",
    "link-out",
    "link-in",
    "link-descriptor-in",
    "create-outside",
    "unnamed-outside",
    "mkdir-outside",
    "rename-out",
    "truncate-outside",
    "rename-in",
    "rename-outside",
    "remove-outside",
    "remove-directory-outside",
    "symlink-inside",
    "fifo-inside",
    "device-inside",
];

/// Modes, owners, times and the like, executable memory, other processes, the way back: the filter's affair.
const METADATA: [&str; 34] = [
    "chmod",
    "fchmodat",
    "fchmodat2",
    "fchmodat2-descriptor",
    "fchmod-descriptor",
    "chown",
    "fchownat",
    "fchownat-descriptor",
    "utimensat",
    "utimensat-descriptor",
    "utimes",
    "setxattr",
    "truncate-by-path",
    "symlink-inside",
    "fifo-inside",
    "device-inside",
    "chmod-inside",
    "utimensat-inside",
    "give-away",
    "executable-memory",
    "make-executable",
    "map-program",
    "memory-file",
    "personality",
    "kill",
    "raise-limit",
    "dumpable",
    "chdir",
    "type-into-terminal",
    "send-elsewhere",
    "io_uring_enter",
    "handle",
    "x32-execve",
    "x32-open",
];

/// The three directions: a source, a sink, and a sink that replaces whole trees.
const SOURCE: &[&str] = &["-f", "file"];
const SINK: &[&str] = &["-t", "."];
const TREES: &[&str] = &["--commit", "tree", "-r", "-t", "."];
const DIRECTIONS: [&[&str]; 3] = [SOURCE, SINK, TREES];

/// Compiles the intruder, once; nothing, and a skip, where there is no compiler.
pub fn intruder() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sandbox/intruder.c");
        let library = format!("{}/intruder-{}.so", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o", &library, source]);
        let output = compiler.output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(library.into())
    });
    if built.is_none() {
        tally::skipped("no C compiler for the intruder");
    }
    built.clone()
}

/// A yard with something of each kind to lay hands on, unless there can be no intruder.
fn yard() -> Option<Yard> {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return None;
    }
    intruder()?;
    that_loads_libraries()?;
    let yard = Yard::confined()?;
    yard.file("file", "inside").dir("dir");
    Some(yard)
}

/// How the attempts of an intruder went.
#[derive(Debug)]
struct Raid {
    /// By attempt, what the kernel said; 0: it worked.
    errors: BTreeMap<String, i32>,
    killed_by: Option<i32>,
}

/// Lets an intruder into a session.
fn raid(yard: &Yard, sandbox: &'static str, request: &[&str], attempts: &[&str]) -> Raid {
    let mut command = Cell { sandbox, program: that_loads_libraries().unwrap() }.command(yard, &[], request);
    command
        .env("LD_PRELOAD", intruder().unwrap())
        .env("INTRUDER", attempts.join(","))
        .env("INTRUDER_INSIDE", yard.path(""))
        .env("INTRUDER_OUTSIDE", yard.outside(""))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors = said.lines().map(|line| {
        let (attempt, errno) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (attempt.to_owned(), errno.parse().unwrap())
    });
    Raid { errors: errors.collect(), killed_by: output.status.signal() }
}

/// Asserts that all attempts are made, and fail, whichever way files go, and that nothing outside is touched.
fn assert_denied(yard: &mut Yard, sandbox: &'static str, attempts: &[&str]) {
    for request in DIRECTIONS {
        let raid = raid(yard, sandbox, request, attempts);
        let made = attempts.iter().all(|attempt| raid.errors.contains_key(*attempt));
        assert!(made && raid.killed_by.is_none(), "{request:?}: {raid:?}");
        let succeeded: Vec<_> = raid.errors.iter().filter(|(_, errno)| **errno == 0).collect();
        assert!(succeeded.is_empty(), "{request:?}: {succeeded:?}");
        assert!(yard.outside_is_unchanged(), "{request:?}: {raid:?}");
        yard.looks_outside_again();
    }
    assert_eq!(yard.listing(), ["dir/", "file"]);
}

fn known(attempts: &[&'static str]) -> Vec<&'static str> {
    let other_doors = cfg!(target_arch = "x86_64");
    let there = |attempt: &&str| {
        other_doors || !(attempt.starts_with("x32") || attempt.starts_with("i386") || **attempt == *"fork")
    };
    attempts.iter().copied().filter(there).collect()
}

// covers: security SBX-01, security SBX-02
#[test]
fn an_intruder_who_wants_a_program_a_process_or_a_socket_is_killed() {
    let Some(mut yard) = yard() else { return };
    for request in DIRECTIONS {
        for attempt in known(&DEADLY) {
            let raid = raid(&yard, "require", request, &[attempt]);
            let killed = raid.killed_by == Some(Signal::SIGSYS as i32)
                // A kernel without 32-bit calls does not know their door either.
                || (attempt.starts_with("i386") && raid.killed_by == Some(Signal::SIGSEGV as i32));
            assert!(killed && raid.errors.is_empty(), "{request:?} {attempt}: {raid:?}");
        }
    }
    assert!(yard.outside_is_unchanged());
    yard.looks_outside_again();
}

// covers: security SBX-02
#[test]
fn an_intruder_gets_at_nothing_outside_and_at_no_mode_owner_or_time_by_path() {
    let Some(mut yard) = yard() else { return };
    let all: Vec<&str> = known(&OUTSIDE).into_iter().chain(known(&METADATA)).collect();
    assert_denied(&mut yard, "require", &all);
    // Of other processes, those in the sandbox are out of reach even where the account may signal them.
    for request in DIRECTIONS {
        let raid = raid(&yard, "require", request, &["signal-parent"]);
        assert!(raid.errors["signal-parent"] == Errno::EPERM as i32, "{request:?}: {raid:?}");
    }
}

// covers: security SBX-02
#[test]
fn inside_the_root_a_source_writes_nothing_and_a_sink_reads_nothing() {
    let Some(yard) = yard() else { return };
    let writes =
        ["write-inside", "create-inside", "mkdir-inside", "remove-inside", "remove-directory-inside"];
    let source = raid(&yard, "require", SOURCE, &[&writes[..], &["read-inside"]].concat());
    assert!(writes.iter().all(|attempt| source.errors[*attempt] != 0), "{source:?}");
    assert_eq!(source.errors["read-inside"], 0);
    let sink = raid(&yard, "require", SINK, &["read-inside", "remove-directory-inside", "write-inside"]);
    assert!(sink.errors["read-inside"] != 0 && sink.errors["remove-directory-inside"] != 0, "{sink:?}");
    assert_eq!(sink.errors["write-inside"], 0);
    let trees = raid(&yard, "require", TREES, &["read-inside", "remove-directory-inside"]);
    assert!(trees.errors["read-inside"] != 0 && trees.errors["remove-directory-inside"] == 0, "{trees:?}");
    yard.holds(["file"]);
}

// covers: security SBX-02, security SBX-06
#[test]
fn each_layer_alone_denies_what_is_its_affair() {
    let Some(mut yard) = yard() else { return };
    where_the_kernel_says(Errno::ENOSYS, &[libc::SYS_seccomp], || {
        assert_denied(&mut yard, "try", &OUTSIDE);
    });
    where_the_kernel_says(Errno::ENOSYS, &[libc::SYS_landlock_create_ruleset], || {
        assert_denied(&mut yard, "try", &known(&METADATA));
        for attempt in ["execve", "fork", "socket", "ptrace"] {
            let raid = raid(&yard, "try", SINK, &[attempt]);
            assert_eq!(raid.killed_by, Some(Signal::SIGSYS as i32), "{attempt}: {raid:?}");
        }
    });
}

// covers: security SBX-01, security SBX-02
#[test]
fn without_the_sandbox_the_same_intruder_succeeds() {
    let Some(mut yard) = yard() else { return };
    for attempt in ["fork", "clone", "socket", "unix-socket", "socketpair", "ptrace"] {
        let raid = raid(&yard, "off", SINK, &[attempt]);
        assert!(raid.errors.get(attempt) == Some(&0), "{attempt}: {raid:?}");
    }
    let raid_by = |attempt| raid(&yard, "off", SINK, &[attempt]);
    assert!(raid_by("execve").errors.is_empty() && raid_by("execve").killed_by.is_none());
    // In an order in which one does not take away what the next one needs.
    let attempts = [
        "read-passwd",
        "look-up-passwd",
        "through-proc",
        "other-memory",
        "list-outside",
        "read-outside",
        "write-outside",
        "chmod",
        "fchmodat",
        "utimensat",
        "utimes",
        "chmod-inside",
        "utimensat-inside",
        "symlink-inside",
        "fifo-inside",
        "executable-memory",
        "make-executable",
        "map-program",
        "memory-file",
        "kill",
        "signal-parent",
        "dumpable",
        "link-out",
        "link-in",
        "create-outside",
        "mkdir-outside",
        "truncate-outside",
        "truncate-by-path",
        "rename-out",
        "rename-in",
        "remove-directory-outside",
        "chdir",
    ];
    let raid = raid(&yard, "off", SINK, &attempts);
    assert!(attempts.iter().all(|attempt| raid.errors.get(*attempt) == Some(&0)), "{raid:?}");
    assert!(!yard.outside_is_unchanged());
    yard.gives_up_outside();
}

// covers: security SBX-05
#[test]
fn a_session_that_the_kernel_kills_has_said_nothing_but_replies_and_the_old_file_is_there() {
    let Some(yard) = yard() else { return };
    let server = Server::of(&yard).built_as(that_loads_libraries().unwrap());
    let server = server.option("--sandbox").option("require");
    let server = server.variable("LD_PRELOAD", intruder().unwrap()).variable("INTRUDER", "execve");
    let mut peer = server.sink("", ".");
    let heard = peer.says("C0644 3 file\nnew\0").hangs_up().hears_the_rest();
    peer.sees_any_end();
    assert!(heard.iter().all(|&byte| byte == 0), "{}", heard.escape_ascii());
    yard.has("file", "inside");
}

// covers: security ENV-01
#[test]
fn into_the_program_that_is_installed_no_library_is_loaded() {
    let Some(yard) = yard() else { return };
    if cfg!(feature = "dynamic") {
        tally::skipped("the feature dynamic is on: libraries are loaded");
        return;
    }
    let uploads = |server: Server| {
        let server = server.option("--sandbox").option("require");
        let server = server.variable("LD_PRELOAD", intruder().unwrap()).variable("INTRUDER", "execve");
        let mut peer = server.sink("", ".");
        let heard = peer.says("C0644 3 new\nnew\0").hangs_up().hears_the_rest();
        peer.sees_any_end();
        heard == b"\0\0\0"
    };
    assert!(uploads(Server::of(&yard)));
    yard.has("new", "new");
    // The control: into one that loads libraries it comes, and is killed.
    assert!(!uploads(Server::of(&yard).built_as(that_loads_libraries().unwrap())));
}
