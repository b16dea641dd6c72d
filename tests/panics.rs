//! A defect of ours: whatever the moment, no file is half there, and the client sees nothing but an end.

use std::env;
use std::fs;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use crate::tally;
use crate::yard::Yard;

/// Two files in a directory, one in the place of another, everything sent at once.
const SESSION: &[u8] = b"T1 0 1 0\nD0755 0 d\nC0644 3 a\nnew\0C0644 2 b\nhi\0E\n";

/// More uses of the wire than the session has.
const USES: u32 = 40;

#[test]
fn a_panic_at_any_use_of_the_wire_leaves_no_temporary_and_exit_status_1() {
    let Some(program) = env::var_os("SCP_SERVER_INJECTED_PANIC") else {
        tally::skipped("a build with the feature injected-panic is needed: SCP_SERVER_INJECTED_PANIC");
        return;
    };
    let Some(yard) = Yard::ours("about a build of ours") else { return };
    let mut panics = 0;
    for moment in 1..USES {
        fs::remove_dir_all(yard.path("d")).ok();
        yard.dir("d").file("d/a", "old");
        let log = yard.home().join("log");
        fs::remove_file(&log).ok();
        let mut child = Command::new(&program)
            .arg("--root")
            .arg(yard.path(""))
            .arg("--log")
            .arg(&log)
            .args(["-r", "-p", "-t", "."])
            .env("SCP_SERVER_PANIC", moment.to_string())
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever panics early has gone before the session was written.
        if let Err(error) = child.stdin.take().unwrap().write_all(SESSION) {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "use {moment}");
        }
        let output = child.wait_with_output().unwrap();
        assert!(
            output.stdout.iter().all(|&byte| byte == 0),
            "use {moment}: {:?}",
            output.stdout.escape_ascii()
        );
        assert!(output.stderr.is_empty(), "use {moment}: {:?}", output.stderr.escape_ascii());
        let logged = fs::read_to_string(&log).unwrap();
        let panicked = logged.contains("event=defect");
        panics += u32::from(panicked);
        assert_eq!(output.status.code(), Some(i32::from(panicked)), "use {moment}: {logged}");
        let old_or_new = yard.contents("d/a");
        assert!(old_or_new == b"old" || old_or_new == b"new", "use {moment}: {old_or_new:?}");
        for entry in fs::read_dir(yard.path("d")).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == "a" || name == "b", "use {moment}: {name:?} was left");
        }
    }
    assert!((10..USES - 1).contains(&panics), "{panics} panics: the moments cover the session");
    tally::figure(&format!("{panics} panics injected, one at each use of the wire of a session"));
}
