//! How much a session may store and send.

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

fn sink(yard: &Yard, text: &str, flags: &str, target: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(&format!("[default]\n{text}\n"))?.sink(flags, target))
}

fn source(yard: &Yard, text: &str, flags: &str, sources: &[&str]) -> Option<Peer> {
    Some(Server::of(yard).configured(&format!("[default]\n{text}\n"))?.source(flags, sources))
}

// covers: peers 128, peers 129, peers 131
#[test]
fn a_session_stores_no_more_bytes_than_it_may() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "x".repeat(4096));
    let Some(mut peer) = sink(&yard, "max-session-size = '4K'", "-r", ".") else { return };
    let kilobytes = |count: usize| vec![b'x'; 1024 * count];
    peer.hears_ok().says_record("C0644 4097 a");
    peer.hears_that("./a: 4.0 KiB of 4.0 KiB left in this session, 4.0 KiB needed");
    peer.says_record("C0644 42047897 big.iso");
    peer.hears_that("./big.iso: 4.0 KiB of 4.0 KiB left in this session, 40.1 MiB needed");
    // What was refused has not used anything up, and neither has what did not come.
    peer.says_record("C0644 3072 a").hears_ok().says(kilobytes(3)).says("\x01no more\n");
    peer.hears_that("./a: not stored: the sender could not read it to the end");
    // A smaller file in the place of a larger one counts like a new one.
    peer.stores("C0644 1024 old", kilobytes(1)).stores("C0644 0 empty", "");
    peer.says_record("C0644 3073 b")
        .hears_that("./b: 3.0 KiB of 4.0 KiB left in this session, 3.0 KiB needed");
    peer.says_record("D0755 0 d").hears_ok().stores("C0644 2048 b", kilobytes(2)).says_record("E").hears_ok();
    peer.stores("C0644 1024 c", kilobytes(1)).says_record("C0644 1 d2");
    peer.hears_that("./d2: 0 bytes of 4.0 KiB left in this session, 1 bytes needed");
    peer.stores("C0644 0 nothing", "").hangs_up().sees_exit(1);
    yard.holds(["c", "d/", "d/b", "empty", "nothing", "old"]);
}

// covers: peers 129, peers 130
#[test]
fn a_session_sends_no_more_than_it_may() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("a", "x".repeat(1500)).file("b", "y".repeat(600)).file("c", "z".repeat(500));
    let Some(mut peer) = source(&yard, "max-session-size = 2000", "", &["a", "b", "c"]) else { return };
    peer.says_ok().hears_file("C0644 1500 a", "x".repeat(1500)).hears_file("C0644 500 c", "z".repeat(500));
    peer.hears_that("b: 500 bytes of 2.0 KiB left in this session, 600 bytes needed").sees_exit(1);

    let mut peer = source(&yard, "max-session-files = 2", "-r", &["b", "d", "a", "c"]).unwrap();
    peer.says_ok().hears_file("C0644 600 b", "y".repeat(600));
    peer.hears_record("D0755 0 d").says_ok().hears_record("E").says_ok();
    peer.hears_file("C0644 1500 a", "x".repeat(1500));
    peer.hears_that("c: no more than 2 files are allowed in a session").sees_exit(1);
}

// covers: peers 130
#[test]
fn a_session_stores_no_more_files_than_it_may() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, "max-session-files = 3\nnames = ['[a-d]']", "-r", ".") else { return };
    peer.hears_ok().stores("C0644 1 a", "1").says_record("C0644 1 x");
    peer.hears_that("./x: this name is not allowed here");
    peer.says_record("D0755 0 d").hears_ok().stores("C0644 1 a", "1").stores("C0644 1 a", "2");
    peer.says_record("C0644 0 b").hears_that("./d/b: no more than 3 files are allowed in a session");
    // Directories are not files.
    peer.says_record("D0755 0 e").hears_ok().says_record("E").hears_ok().says_record("E").hears_ok();
    peer.says_record("C0644 0 c").hears_that("./c: no more than 3 files are allowed in a session");
    peer.hangs_up().sees_exit(1);
    yard.holds(["a", "d/", "d/a", "d/e/"]);
}

// covers: peers 128
#[test]
fn what_is_to_stay_free_is_not_for_uploads() {
    let Some(yard) = Yard::confined() else { return };
    // More than any file system has.
    let Some(mut peer) = sink(&yard, "min-free-space = '4096T'", "", ".") else { return };
    peer.hears_ok().says_record("C0644 5 a");
    peer.hears_that("./a: 5 bytes needed, 0 bytes free beside 4.0 PiB to be left");
    peer.hangs_up().sees_exit(1);
    let space = nix::sys::statvfs::statvfs(&yard.path("")).unwrap();
    let free = space.blocks_available() * space.fragment_size();
    // Others use the same file system meanwhile.
    let kept = free - 256 * 1024 * 1024;
    let mut peer = sink(&yard, &format!("min-free-space = {kept}"), "", ".").unwrap();
    peer.hears_ok().stores("C0644 5 a", "hello").says_record(format!("C0644 {} b", 1_u64 << 30));
    let heard = peer.hears_refusal();
    assert!(heard.starts_with("./b: 1.0 GiB needed, ") && heard.contains(" to be left"), "{heard}");
    peer.hangs_up().sees_exit(1);
    yard.holds(["a"]);
}

// covers: peers 138
#[test]
fn directories_are_in_each_other_as_far_as_they_may() {
    let Some(yard) = Yard::confined() else { return };
    let words = "directories are nested too deeply: no more than 2 in each other are allowed";
    let Some(mut peer) = sink(&yard, "max-depth = 2", "-r", ".") else { return };
    peer.hears_ok().says_record("D0755 0 a").hears_ok().says_record("D0755 0 b").hears_ok();
    peer.says_record("D0755 0 c").hears_that(&format!("./a/b/c: {words}")).stores("C0644 1 f", "1");
    peer.says_record("E").hears_ok().says_record("E").hears_ok().hangs_up().sees_exit(1);
    yard.holds(["a/", "a/b/", "a/b/f"]);
    yard.dir("a/b/c").file("a/b/c/g", "2");
    let mut peer = source(&yard, "max-depth = 2", "-r", &["a"]).unwrap();
    peer.says_ok().hears_record("D0755 0 a").says_ok().hears_record("D0755 0 b").says_ok();
    peer.hears_file("C0644 1 f", "1").hears_that(&format!("a/b/c: {words}")).hears_record("E").says_ok();
    peer.hears_record("E").says_ok().sees_exit(1);
    let mut peer = source(&yard, "max-depth = 0", "-r", &["a"]).unwrap();
    let none = words.replace('2', "0");
    peer.says_ok().hears_that(&format!("a: {none}")).sees_exit(1);
}
