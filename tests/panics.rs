//! A defect of ours: whatever the moment, no file is half there, and the client sees nothing but an end.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use crate::tally;
use crate::yard::Yard;

/// Two files in a directory, one in the place of another; each piece is answered before the next one is said.
const SESSION: [&[u8]; 7] =
    [b"T1 0 1 0\n", b"D0755 0 d\n", b"C0644 3 a\n", b"new\0", b"C0644 2 b\n", b"hi\0", b"E\n"];

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
        let replies = converse(&mut child);
        let output = child.wait_with_output().unwrap();
        // One of them may have been given ahead, and not be asked for any more.
        let replies = [replies, output.stdout].concat();
        assert!(replies.iter().all(|&byte| byte == 0), "use {moment}: {}", replies.escape_ascii());
        assert!(output.stderr.is_empty(), "use {moment}: {}", output.stderr.escape_ascii());
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

/// Says one piece after the other until the session or the program is over, and returns the replies.
fn converse(child: &mut Child) -> Vec<u8> {
    let (mut mouth, mut ears) = (child.stdin.take().unwrap(), child.stdout.as_mut().unwrap());
    let mut replies = Vec::new();
    let mut hear = |ears: &mut dyn Read| {
        let mut reply = [0];
        let heard = ears.read(&mut reply).unwrap();
        replies.extend_from_slice(&reply[..heard]);
        heard > 0
    };
    if hear(&mut ears) {
        // Whoever panics has gone before the piece is written, or before it is answered.
        SESSION.iter().all(|piece| mouth.write_all(piece).is_ok() && hear(&mut ears));
    }
    replies
}
