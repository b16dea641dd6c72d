//! `--sync`: what is on the disk, in which order, before anybody is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::peer::Peer;
use crate::server::{Packets, Server};
use crate::tally;
use crate::yard::Yard;

/// Plays a session under strace, all of it said at once, and returns the calls with the paths of descriptors.
fn trace(yard: &Yard, options: &[&str], script: &str) -> Option<Vec<String>> {
    if Command::new("strace").arg("-V").output().is_err() {
        tally::skipped("strace is not here");
        return None;
    }
    let file = yard.home().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "64", "-o"]).arg(&file).arg(env!("CARGO_BIN_EXE_scp-server"));
    command.arg("--root").arg(yard.path("")).args(options).args(["-r", "-t", "."]);
    let mut peer = Peer::start(command, Packets::default());
    let heard = peer.says(script).hangs_up().hears_the_rest();
    peer.sees_exit(0);
    assert!(heard.iter().all(|&reply| reply == 0), "{}", heard.escape_ascii());
    Some(fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect())
}

/// Asserts that the calls come in this order, each by its name and by what its line has in it.
#[track_caller]
fn follow_each_other(calls: &[String], wanted: &[(&str, &str)]) {
    let mut rest = calls.iter();
    for (call, part) in wanted {
        let is_it = |line: &&String| line.contains(&format!(" {call}(")) && line.contains(part);
        assert!(rest.any(|line| is_it(&line)), "no {call} of {part} in its place: {calls:#?}");
    }
}

const ACK: (&str, &str) = ("write", r#", "\0", 1"#);

// covers: security RP-08
#[test]
fn a_file_and_each_name_on_its_way_are_durable_before_they_are_acknowledged() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "old");
    let script = "C0644 3 old\nnew\0D0755 0 d\nD0755 0 e\nC0644 3 f\nnew\0E\nE\n";
    let Some(calls) = trace(&yard, &["--sync", "file"], script) else { return };
    follow_each_other(
        &calls,
        &[
            ACK,
            ACK,
            ("fdatasync", "/root/.scp-"),
            ("renameat", r#""old""#),
            ("fsync", "/root>)"),
            ACK,
            ("mkdirat", r#""d""#),
            ("fsync", "/root>)"),
            ACK,
            ("mkdirat", r#""e""#),
            ("fsync", "/root/d>)"),
            ACK,
            ACK,
            ("fdatasync", "/root/d/e/.scp-"),
            ("renameat", r#""f""#),
            ("fsync", "/root/d/e>)"),
            ACK,
            ("fsync", "/root/d/e>)"),
            ACK,
            ("fsync", "/root/d>)"),
            ACK,
        ],
    );
}

#[test]
fn a_tree_is_durable_before_the_end_of_it_is_acknowledged() {
    let Some(yard) = Yard::confined() else { return };
    for _ in 0..2 {
        let script = "D0755 0 d\nD0755 0 e\nC0644 3 f\nnew\0E\nE\n";
        let Some(calls) = trace(&yard, &["--sync", "file", "--commit", "tree"], script) else { return };
        follow_each_other(
            &calls,
            &[
                ("mkdirat", ".scp-"),
                ACK,
                ("mkdirat", r#""e""#),
                ("fsync", "/root/.scp-"),
                ACK,
                ("fdatasync", "/e/.scp-"),
                ("renameat", r#""f""#),
                ("fsync", "/e>)"),
                ACK,
                ("fsync", "/e>)"),
                ACK,
                ("fsync", "/root/.scp-"),
                ("renameat2", r#""d""#),
                ("fsync", "/root>)"),
                ACK,
            ],
        );
    }
}

#[test]
fn a_session_waits_for_the_disk_once_when_all_has_come() {
    let Some(yard) = Yard::confined() else { return };
    let script = "C0644 3 a\nnew\0D0755 0 d\nC0644 3 f\nnew\0E\n";
    for (options, times) in [(&["--sync", "session", "--pipeline", "off"][..], 1), (&["--sync", "none"], 0)] {
        let Some(calls) = trace(&yard, options, script) else { return };
        let waits =
            |call: &&String| ["fsync(", "fdatasync(", "syncfs("].iter().any(|name| call.contains(name));
        assert_eq!(calls.iter().filter(waits).count(), times, "{calls:#?}");
        if times > 0 {
            follow_each_other(
                &calls,
                &[("renameat", r#""f""#), ACK, ACK, ("syncfs", "/root"), ("exit_group", "0")],
            );
        }
    }
}

#[test]
fn a_session_without_a_file_system_of_its_own_makes_every_one_durable_that_it_wrote_to() {
    let Some(yard) = Yard::confined() else { return };
    if !crate::mounts::can_mount() {
        return;
    }
    yard.dir("mnt").dir("unused");
    let file = yard.home().join("trace");
    let (root, trace) = (yard.path("").display().to_string(), file.display());
    let mounts = format!(
        "mount -t tmpfs none '{root}/mnt'; mount -t tmpfs none '{root}/unused'; \
         set -- strace -y -o '{trace}' \"$0\" \"$@\"; exec \"$@\"",
    );
    let mut peer = Server::of(&yard).option("--sync").option("session").with_mounts(&mounts).sink("-r", ".");
    peer.says("C0644 1 a\n1\0D0755 0 mnt\nC0644 1 b\n2\0C0644 1 c\n3\0E\nD0755 0 unused\nE\n").hangs_up();
    peer.hears_the_rest();
    peer.sees_exit(0);
    let trace = fs::read_to_string(&file).unwrap();
    let settled: Vec<_> = trace.lines().filter(|line| line.starts_with("syncfs(")).collect();
    assert_eq!(settled.len(), 2, "{settled:?}");
    assert!(settled[0].contains("/root>") && settled[1].contains("/root/mnt>"), "{settled:?}");
}

/// Without the right to read a directory it cannot be opened to be made durable: all of its file system is.
#[test]
fn a_drop_box_that_may_not_be_read_takes_durable_files_and_directories() {
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.unconfined() {
        return tally::skipped("about an option of ours");
    }
    for sync in ["file", "session"] {
        yard.dir("box").file("box/old", "old").chmod("box", 0o300);
        let mut peer = Server::of(&yard).option("--sync").option(sync).sink("-r", "box");
        peer.hears_ok().stores("C0644 3 old", "new").stores("C0644 3 fresh", "new");
        peer.says_record("D0755 0 d").hears_ok().stores("C0644 3 f", "new").says_record("E").hears_ok();
        peer.hangs_up().sees_exit(0);
        let mut peer = Server::of(&yard)
            .option("--sync")
            .option(sync)
            .option("--commit")
            .option("tree")
            .sink("-r", "box");
        peer.hears_ok().says_record("D0755 0 tree").hears_ok().stores("C0644 3 f", "new");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        fs::set_permissions(yard.path("box"), PermissionsExt::from_mode(0o700)).unwrap();
        for name in ["old", "fresh", "d/f", "tree/f"] {
            yard.has(format!("box/{name}"), "new");
        }
        fs::remove_dir_all(yard.path("box")).unwrap();
    }
}

#[test]
fn the_root_itself_may_be_a_drop_box() {
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.unconfined() {
        return tally::skipped("about an option of ours");
    }
    for sync in ["file", "session"] {
        yard.chmod("", 0o300);
        let mut peer = Server::of(&yard).option("--sync").option(sync).sink("", "f");
        peer.hears_ok().stores("C0644 3 f", "new").hangs_up().sees_exit(0);
        yard.chmod("", 0o700).has("f", "new");
    }
}

/// Uploads three small files under strace, and returns all calls and the client's screen.
fn three_files(yard: &Yard, faults: &[&str]) -> (Vec<String>, String) {
    let file = yard.home().join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&file).args(faults.iter().flat_map(|fault| ["-e", fault]));
    command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
    command.args(["--pipeline", "on", "-r", "-t", "."]);
    let mut peer = Peer::start(command, Packets::default());
    let script = "D0755 0 d\nC0644 1 first\n1\0C0644 1 second\n2\0C0644 1 third\n3\0E\n";
    peer.says(script).hangs_up().hears_the_rest();
    let screen = peer.sees_stderr();
    peer.sees_any_end();
    let calls: Vec<String> = fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
    (calls, screen)
}

/// Returns the calls that belong to the second file: from where the first one has its name and is closed.
fn of_the_second(calls: &[String]) -> Vec<String> {
    let closed = |name: &str| {
        let named = calls.iter().position(|call| call.contains(" rename") && call.contains(name)).unwrap();
        named + 1 + calls[named..].iter().position(|call| call.contains(" close(")).unwrap()
    };
    let second = calls[closed("\"first\"")..closed("\"second\"")].iter();
    // A build for debugging looks whether a descriptor is there before it closes it.
    let second = second.filter(|call| !call.contains("F_GETFD"));
    second.map(|call| call.split_once(' ').unwrap().1.trim_start().to_owned()).collect()
}

fn names(calls: &[String]) -> Vec<&str> {
    calls.iter().map(|call| call.split_once('(').unwrap().0).collect()
}

/// What docs/performance.md lists, the calls on the wire aside.
const SMALL_FILE: [&str; 8] =
    ["newfstatat", "openat", "flock", "newfstatat", "write", "fchmod", "renameat", "close"];

/// The same in a directory that the session has made.
const SMALL_FILE_IN_NEW: [&str; 5] = ["openat", "write", "fchmod", "renameat2", "close"];

#[test]
fn a_small_file_costs_the_calls_that_the_documents_list_and_no_more() {
    let Some(yard) = Yard::confined() else { return };
    if !crate::cell::there_is_strace() {
        return;
    }
    let kind = statfs(&yard.path("")).unwrap().filesystem_type();
    if ![EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&kind) {
        return tally::skipped("another file system has more to ask");
    }
    assert_eq!(names(&of_the_second(&three_files(&yard, &[]).0)), SMALL_FILE_IN_NEW);
    for name in ["first", "second", "third"] {
        fs::remove_file(yard.path("d").join(name)).unwrap();
    }
    assert_eq!(names(&of_the_second(&three_files(&yard, &[]).0)), SMALL_FILE);
}

#[test]
fn a_file_system_that_may_tell_late_that_there_is_no_room_is_asked_before_the_file_has_its_name() {
    let Some(yard) = Yard::confined() else { return };
    if !crate::cell::there_is_strace() {
        return;
    }
    let unknown = "inject=fstatfs:error=ENOSYS";
    let (calls, screen) = three_files(&yard, &[unknown]);
    let second = of_the_second(&calls);
    assert_eq!(screen, "");
    let [before, after] = [&SMALL_FILE[..5], &SMALL_FILE[5..]];
    assert_eq!(names(&second), [before, &["fcntl", "close"], after].concat());

    let to_the_answer = calls.iter().position(|call| call.contains("\"third\"")).unwrap();
    let closes = calls[..to_the_answer].iter().filter(|call| call.contains(" close(")).count();
    fs::remove_dir_all(yard.path("d")).unwrap();
    // The last but one is the question; the last one closes the file.
    let full = format!("inject=close:error=EDQUOT:when={}", closes - 1);
    assert_eq!(three_files(&yard, &[unknown, &full]).1, "scp: ./d/second: Quota exceeded\n");
    yard.holds(["d/", "d/first", "d/third"]);
}
