//! libssh2, libssh, and what is written in Python, Ruby, Rust, PHP and JavaScript.

use super::{a_yard, disconnects, nobody_sees_the_end};
use crate::peer::Peer;
use crate::server::Server;

// covers: clients 2.7, clients 2.10, clients 3.11, clients 3.10, clients 2.15
#[test]
fn libssh2_puts_a_file_whose_end_is_the_end_of_the_stream() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pt 'd/f'");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok();
    if yard.openssh("takes a mode that has not four digits for an error") {
        peer.says_record("C0100644 3 f").hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.says_record("C0100644 3 f").hears_ok().says("abc");
    disconnects(&mut peer).sees_whatever_exit();
    yard.has("d/f", "abc");
    assert_eq!((yard.mode("d/f"), yard.stamps("d/f").0), (0o644, 1_600_000_000));
    // It never sees what becomes of its contents: what can be refused is refused with the header.
    yard.dir("d/taken");
    let mut peer = Peer::asks(&yard, "scp -t 'd/taken/'");
    peer.hears_ok().says_record("C0644 3 ");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -t 'none/f'");
    peer.hears_ok()
        .says_record("C0644 3 f")
        .hears_that("none/f: No such file or directory")
        .hangs_up()
        .sees_exit(1);
}

// covers: clients 2.12, clients 3.4, clients 3.19
#[test]
fn libssh2_gets_a_file_and_leaves_when_it_has_the_bytes() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pf 'a'");
    peer.says_ok().hears_record("T1600000000 0 1600000001 0").says_ok().hears_record("C0644 5 a").says_ok();
    peer.hears_exactly("hello");
    disconnects(&mut peer);
    nobody_sees_the_end(&yard, &mut peer);
}

// covers: clients 2.3, clients 3.13
#[test]
fn libssh_is_one_acknowledgement_behind() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -r 'd'");
    peer.hears_ok().says_record("C0644 3 f").hears_ok().says("abc");
    peer.says("\0C0644 5 g\n").hears_oks(2).says("hello").says("\0D0755 0 new\n").hears_oks(2);
    peer.says_record("C0600 0 h").hears_ok().says("\0E\n").hears_oks(2).hangs_up().sees_exit(0);
    yard.has("d/f", "abc");
    yard.has("d/g", "hello");
    yard.has("d/new/h", "");
}

// covers: clients 3.4
#[test]
fn libssh_gets_a_tree_and_dies_of_times_it_did_not_ask_for() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f -r  't'");
    peer.says_ok().hears_record("D0755 0 t").says_ok().hears_record("C0644 8 f").says_ok();
    peer.hears_exactly("contents").says_ok().hears_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.5, clients 2.15
#[test]
fn scp_py_puts_files_with_times_it_did_not_announce() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -t d");
    peer.hears_ok()
        .says_record("T1600000000 0 1600000000 0")
        .hears_ok()
        .says_record("D0755 0 new")
        .hears_ok();
    peer.stores("C0644 3 f", "abc").says_record("E").hears_ok().hangs_up().sees_exit(0);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.2, clients 3.1, clients 3.2, clients 3.7, clients 2.13
#[test]
fn scp_py_gets_files_record_by_record_and_waits_for_us_to_leave() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -p -f a t/f");
    peer.says_ok();
    for (times, record, contents) in [
        ("T1600000000 0 1600000001 0\n", "C0644 5 a\n", "hello"),
        ("T1600000002 0 1600000003 0\n", "C0644 8 f\n", "contents"),
    ] {
        peer.hears_at_once(times).says_ok().hears_at_once(record).says_ok();
        peer.hears_at_once(contents).hears_at_once(b"\0").says_ok();
    }
    peer.sees_exit(0);
    // It refuses without a line feed and is gone.
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says_ok().hears_record("C0644 5 a").says("\x01unexpected");
    disconnects(&mut peer).sees_exit(1);
}

// covers: clients 3.1, clients 3.2, clients 3.18
#[test]
fn ssh_rs_takes_one_packet_for_one_reply() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -t -q -r -p d");
    peer.hears_at_once(b"\0");
    for record in ["T1600000000 0 1600000000 0", "D0775 0 new", "T1600000000 0 1600000000 0", "C0664 3 f"] {
        peer.says_record(record).hears_at_once(b"\0");
    }
    peer.says("abc").says_ok().hears_at_once(b"\0").says_record("E").hears_at_once(b"\0");
    disconnects(&mut peer).sees_exit(0);
    assert_eq!((yard.mode("d/new"), yard.mode("d/new/f")), (0o775, 0o664));
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f -q -r -p a");
    peer.says_ok()
        .hears_at_once("T1600000000 0 1600000001 0\n")
        .says_ok()
        .hears_at_once("C0644 5 a\n")
        .says_ok();
    peer.hears_at_once("hello").hears_at_once(b"\0").says_ok().sees_exit(0);
}

// covers: clients 2.10, clients 3.2, clients 3.18, clients 3.21
#[test]
fn phpseclib_takes_a_reply_as_a_packet_and_never_says_the_last_byte() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -t 'd/f'");
    peer.hears_at_once(b"\0").says_record("C0644 3 f").hears_at_once(b"\0").says("abc").hangs_up();
    if yard.openssh("takes it for an error when the client leaves instead of sending the last status byte") {
        peer.hears_the_rest();
        peer.sees_exit(1);
    } else {
        peer.hears_the_rest();
        peer.sees_exit(0);
    }
    yard.has("d/f", "abc");
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f 'a'");
    peer.says_ok().hears_at_once("C0644 5 a\n").says_ok().hears_at_once("hello").hears_at_once(b"\0");
    disconnects(&mut peer).sees_whatever_exit();
}

// covers: clients 2.6, clients 2.4, clients 3.9
#[test]
fn net_scp_sends_microseconds_and_wants_an_exit_of_zero() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -v -r -p d");
    peer.hears_ok()
        .says_record("T1600000000 5 1600000001 999999")
        .hears_ok()
        .stores("C0644 1 f", "1")
        .hangs_up();
    peer.sees_stderr();
    peer.sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -f -r -p t none a");
    let heard = peer.says([0; 20]).hangs_up().hears_the_rest();
    peer.sees_exit(1);
    let text = heard.escape_ascii().to_string();
    assert!(
        text.contains("C0644 8 f") && text.contains("C0644 5 a") && text.contains("\\x01scp: none: No such"),
        "{text}"
    );
}

// covers: clients 2.4
#[test]
fn users_of_node_say_a_zero_byte_per_chunk() {
    let yard = a_yard();
    yard.file("big", vec![b'x'; 200_000]);
    let mut peer = Peer::asks(&yard, "scp -f big a");
    peer.says_ok().hears_record("C0644 200000 big").says_ok();
    for _ in 0..5 {
        peer.hears_exactly([b'x'; 40_000]).says_ok();
    }
    // One of the five was the answer to the contents; the next two are those to `a`.
    peer.hears_exactly("\0C0644 5 a\nhello\0").sees_exit(0);
}
