//! The layers of the sandbox: what is served where the kernel lacks one, what the report says, and what a session has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use landlock::{AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetStatus};
use nix::errno::Errno;
use nix::libc;

use crate::cell::{self, Cell, Lookup, where_the_kernel_says};
use crate::peer::Peer;
use crate::yard::Yard;

const DIRECTIONS: [&[&str]; 3] = [&["-f", "file"], &["-t", "."], &["--commit", "tree", "-r", "-t", "."]];

const LANDLOCK: &[i64] = &[libc::SYS_landlock_create_ruleset];

/// What a container, a unit file or a kernel may take away: the layer that is missing then, and how.
const DEPRIVATIONS: [(&str, Errno, &[i64]); 7] = [
    ("landlock", Errno::ENOSYS, LANDLOCK),
    ("landlock", Errno::EOPNOTSUPP, LANDLOCK),
    ("landlock", Errno::EPERM, LANDLOCK),
    ("landlock", Errno::EPERM, &[libc::SYS_landlock_restrict_self]),
    ("seccomp", Errno::ENOSYS, &[libc::SYS_seccomp]),
    ("seccomp", Errno::EINVAL, &[libc::SYS_seccomp]),
    ("limits", Errno::EPERM, &[libc::SYS_prlimit64]),
];

/// Asserts that with a layer missing, `require` serves nobody and `try` serves, and both log what is missing.
#[track_caller]
fn assert_noticed(yard: &Yard, layer: &str) {
    let log = yard.home().join("log");
    let options = ["--log", log.to_str().unwrap()];
    for request in DIRECTIONS {
        let _ = fs::remove_file(&log);
        let mut peer = Cell::new("require").starts(yard, &options, request);
        // What the client says meanwhile is not listened to; nor is it told what it could make use of.
        peer.says("C0644 1 new\n1\0").hears_that("this server is not protected as it has to be").sees_exit(1);
        assert_eq!(yard.listing(), ["dir/", "file"], "{layer}");
        let log = fs::read_to_string(&log).unwrap();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("event=abort")).collect();
        assert!(told.len() == 1 && told[0].contains(&format!("{layer}: not active: ")), "{request:?}: {log}");
    }
    let _ = fs::remove_file(&log);
    let mut peer = Cell::new("try").starts(yard, &options, &["-t", "dir"]);
    peer.hears_ok().stores("C0644 1 new", "1").hangs_up().sees_exit(0);
    yard.has("dir/new", "1");
    fs::remove_file(yard.path("dir/new")).unwrap();
    let log = fs::read_to_string(&log).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("event=sandbox")).collect();
    let words = format!("layer={layer} result=missing reason=\"");
    assert!(told.len() == 1 && told[0].contains(&words), "{log}");
}

// covers: security SBX-03
#[test]
fn where_a_layer_is_missing_nothing_is_served_if_it_is_required_and_it_is_logged_if_not() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let Some(yard) = Yard::confined() else { return };
    yard.file("file", "inside").dir("dir");
    for (layer, errno, calls) in DEPRIVATIONS {
        where_the_kernel_says(errno, calls, || assert_noticed(&yard, layer));
    }
    // As a container's profile of some years ago: no lookup in the kernel, and no Landlock.
    Lookup::Forbidden.holds_while(|| {
        where_the_kernel_says(Errno::EPERM, LANDLOCK, || {
            assert_noticed(&yard, "landlock");
        });
    });
    // As systemd's RestrictSUIDSGID=yes: no lookup in the kernel, and nothing is missing.
    Lookup::NoSuchCall.holds_while(|| {
        Cell::new("require").starts(&yard, &[], &["-t", "dir"]).hears_ok().hangs_up().sees_exit(0);
    });
}

/// Puts the thread, and what it starts, into so many layers of Landlock that forbid nothing of use.
fn in_layers(count: usize) {
    for _ in 0..count {
        let ruleset = Ruleset::default().handle_access(AccessFs::MakeBlock).unwrap().create().unwrap();
        let status = ruleset.restrict_self().unwrap();
        assert_eq!(status.ruleset, RulesetStatus::FullyEnforced);
        assert!(matches!(status.landlock, LandlockStatus::Available { .. }));
    }
}

// covers: security SBX-04
#[test]
fn the_sandbox_fits_into_fifteen_others_and_that_a_sixteenth_leaves_no_room_is_noticed() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let Some(yard) = Yard::confined() else { return };
    yard.file("file", "inside").dir("dir");
    std::thread::scope(|scope| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let layered = std::thread::Builder::new().name(name).spawn_scoped(scope, || {
            // Each of them has set no_new_privs, too.
            in_layers(15);
            let mut peer = Cell::new("require").starts(&yard, &[], &["-t", "dir"]);
            peer.hears_ok().stores("C0644 1 new", "1").hangs_up().sees_exit(0);
            fs::remove_file(yard.path("dir/new")).unwrap();
            in_layers(1);
            assert_noticed(&yard, "landlock");
        });
        layered.unwrap();
    });
}

fn report() -> (Option<i32>, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_scp-server")).arg("--sandbox-report").output().unwrap();
    assert_eq!(output.stderr.escape_ascii().to_string(), "");
    let lines = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), lines.lines().map(str::to_owned).collect())
}

// covers: security SBX-03
#[test]
fn the_report_has_a_line_for_each_layer_and_says_why_one_is_not_active() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let (status, lines) = report();
    assert_eq!(status, Some(0));
    for layer in ["openat2", "limits", "landlock", "seccomp"] {
        let mut of_layer = lines.iter().filter(|line| line.starts_with(&format!("{layer}: active")));
        assert!(of_layer.next().is_some() && of_layer.next().is_none(), "{layer}: {lines:?}");
    }
    for (layer, errno, calls) in DEPRIVATIONS {
        where_the_kernel_says(errno, calls, || {
            let (status, lines) = report();
            assert_eq!(status, Some(1), "{lines:?}");
            let inactive: Vec<&String> = lines.iter().filter(|line| line.contains("not active: ")).collect();
            assert!(inactive.len() == 1 && inactive[0].starts_with(layer), "{lines:?}");
        });
    }
}

// covers: security SBX-03
#[test]
fn the_report_says_what_to_do_where_landlock_is_missing() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    for (errno, words) in [(Errno::ENOSYS, "not in this kernel"), (Errno::EOPNOTSUPP, "lsm= list")] {
        where_the_kernel_says(errno, LANDLOCK, || {
            let (_, lines) = report();
            assert!(lines.iter().any(|line| line.contains(words)), "{lines:?}");
        });
    }
}

// covers: security SBX-02, security SBX-04
#[test]
fn a_session_has_no_way_to_more_and_no_other_process_of_the_account_looks_into_it() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let Some(yard) = Yard::of_a_user() else { return };
    let mut peer = Cell::new("require").starts(&yard, &["--max-file-size", "5M"], &["-t", "."]);
    peer.hears_ok();
    let status = peer.account_of("status");
    let is = |name: &str, value: &str| status.lines().any(|line| line.split_whitespace().eq([name, value]));
    assert!(is("NoNewPrivs:", "1") && is("Seccomp:", "2") && is("Threads:", "1"), "{status}");
    let limits = peer.account_of("limits");
    for (limit, bounds) in [
        ("Max core file size", ["0", "0"]),
        ("Max processes", ["0", "0"]),
        ("Max file size", ["5242880", "5242880"]),
        ("Max address space", ["536870912", "536870912"]),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit));
        let found = line.map(|line| line.split_whitespace().take(2).eq(bounds));
        assert_eq!(found, Some(true), "{limit}: {limits}");
    }
    // What it has in /proc is root's, and not the account's.
    let owner = |peer: &Peer| peer.process().join("fd").metadata().unwrap().uid();
    assert_eq!(owner(&peer), 0);
    peer.hangs_up().sees_exit(0);
    if let Some((uid, _)) = yard.user() {
        let mut control = Cell::new("off").starts(&yard, &[], &["-t", "."]);
        control.hears_ok();
        assert_eq!(owner(&control), uid.as_raw());
        control.hangs_up().sees_exit(0);
    }
}
