//! sshj, MINA, JSch, trilead, wagon, groovy-ssh, Ant and camel.

use super::{a_yard, disconnects, nobody_sees_the_end};
use crate::peer::Peer;
use crate::server::Server;

// covers: clients 2.5, clients 2.7, clients 2.11
#[test]
fn sshj_puts_a_tree_with_modes_of_its_own_length() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -r -l100 'd'");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok();
    peer.says_record("D0755 0 new").hears_ok().stores("C0600 1 f", "1");
    if !yard.openssh("takes a mode that has not four digits for an error") {
        peer.stores("C044 1 g", "2").stores("C00644 1 h", "3");
    }
    peer.says_record("E").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    assert_eq!(yard.stamps("d/new").0, 1_600_000_000);
}

// covers: clients 3.6, clients 3.14
#[test]
fn sshj_gets_a_tree() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f -q -p -r t");
    peer.says_ok();
    for record in ["T1600000004 0 1600000005 0", "D0755 0 t", "T1600000002 0 1600000003 0"] {
        peer.hears_record(record).says_ok();
    }
    peer.hears_file("C0644 8 f", "contents").hears_record("E").says_ok();
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 2.1, clients 3.8, clients 3.9
#[test]
fn mina_puts_a_tree_and_a_stream_after_which_it_waits_in_vain() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -d -r -p -t -- d");
    peer.hears_ok()
        .says_record("T1600000000 0 1600000000 0")
        .hears_ok()
        .says_record("D0755 0 new")
        .hears_ok();
    peer.stores("C0644 1 f", "1").says_record("E").hears_ok().hangs_up().sees_exit(0);
    // Up to 2.11 it waits for the exit before it sends the end, and gives up waiting after five seconds.
    let mut peer = Peer::asks(&yard, "scp -t -- d/g");
    peer.hears_ok().stores("C0644 1 g", "2").hears_nothing().hangs_up().sees_exit(0);
    yard.has("d/g", "2");
}

// covers: clients 3.6, clients 2.4
#[test]
fn mina_and_pscp_acknowledge_contents_before_our_status_byte() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -f -- a t");
    peer.says_ok().hears_record("C0644 5 a").says_ok().hears_exactly("hello").says_ok().hears_ok();
    peer.hears_record("D0755 0 t")
        .says_ok()
        .hears_record("C0644 8 f")
        .says_ok()
        .hears_exactly("contents")
        .says_ok();
    peer.hears_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.6, clients 2.11
#[test]
fn jsch_puts_a_file_with_a_blank_after_t_and_disconnects() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -p -t 'd/f'");
    peer.hears_ok().says_record("T 1600000000 0 1600000000 0");
    if yard.openssh("takes a blank after T, or seconds before 1970, for an error") {
        peer.hears_that("protocol error: mtime.sec not present").sees_exit(1);
        return;
    }
    peer.hears_ok().says_record("C0644 3 f").hears_ok().says("abc").says_ok().hears_ok();
    disconnects(&mut peer).sees_exit(0);
    assert_eq!(yard.stamps("d/f").0, 1_600_000_000);
    yard.has("d/f", "abc");
}

// covers: clients 2.8
#[test]
fn jsch_on_windows_sends_a_whole_path_with_a_drive_as_the_name() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp  -t d");
    peer.hears_ok().stores("C0644 3 C:\\Users\\x\\f", "abc");
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/C:\\Users\\x\\f", "abc");
}

// covers: clients 2.12, clients 3.2, clients 3.4
#[test]
fn jsch_gets_a_file_and_disconnects() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f 'a'");
    peer.says_ok().hears_at_once("C0644 5 a\n").says_ok().hears_at_once("hello").hears_ok().says_ok();
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 2.9, clients 2.11
#[test]
fn trilead_wagon_and_ganymed_end_with_an_e_and_close_unread() {
    for (command, stored) in [("scp -t -d d", "d/f"), ("scp -t \"d/g\"", "d/g"), ("scp -p -t \"d/h\"", "d/h")]
    {
        let yard = a_yard();
        let mut peer = Peer::asks(&yard, command);
        peer.hears_ok().stores("C0644 3 f", "abc").says_record("E");
        disconnects(&mut peer);
        nobody_sees_the_end(&yard, &mut peer);
        yard.has(stored, "abc");
    }
}

// covers: clients 2.2, clients 2.12, clients 3.4
#[test]
fn trilead_gets_as_many_files_as_it_named() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f a t/f");
    peer.says_ok().hears_file("C0644 5 a", "hello").hears_file("C0644 8 f", "contents");
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 3.4, clients 3.12
#[test]
fn wagon_gets_a_file_and_understands_that_one_is_not_there() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -p -f \"a\"");
    peer.says_ok()
        .hears_record("T1600000000 0 1600000001 0")
        .says_ok()
        .hears_file("C0644 5 a", "hello")
        .sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -p -f \"none\"");
    peer.says_ok().hears_exactly("\x01scp: none: No such file or directory\n").sees_exit(1);
}

// covers: clients 2.9, clients 3.7
#[test]
fn groovy_ssh_ends_with_an_e_and_waits_for_the_exit() {
    let yard = a_yard();
    Peer::asks(&yard, "scp -t d/f")
        .hears_ok()
        .stores("C0644 3 f", "abc")
        .says_record("E")
        .hears_ok()
        .sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -tr d");
    peer.hears_ok()
        .says_record("D0755 0 new")
        .hears_ok()
        .stores("C0644 1 g", "1")
        .says_record("E")
        .hears_ok();
    peer.says_record("E").hears_ok().sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says_ok().hears_file("C0644 5 a", "hello").sees_exit(0);
}

// covers: clients 2.1, clients 2.5, clients 3.14
#[test]
fn ant_camel_asyncssh_and_pscp_put_a_tree() {
    for command in ["scp -r -d -t -p -C d", "scp -r -t d", "scp -t -d -p -r d", "scp -r -p -t d"] {
        let yard = a_yard();
        let mut peer = Peer::asks(&yard, command);
        peer.hears_ok().says_record("D0755 0 new").hears_ok();
        peer.says_record("T1600000000 0 1600000001 0").hears_ok().stores("C0644 3 f", "abc");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        yard.has("d/new/f", "abc");
        assert_eq!(yard.stamps("d/new/f").0, 1_600_000_000, "{command}");
    }
}
