//! WinSCP, SSH.NET, and PuTTY's pscp.

use super::{a_yard, disconnects};
use crate::peer::Peer;

// covers: clients 2.5, clients 2.9, clients 3.8, clients 3.12
#[test]
fn winscp_puts_a_tree_and_waits_for_the_exit_after_its_last_e() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -p -d -t \"d\"");
    peer.hears_ok();
    peer.says_record("T1600000000 0 1600000001 0").hears_ok().says_record("D0755 0 new").hears_ok();
    peer.says_record("T1600000002 0 1600000003 0").hears_ok().stores("C0640 3 f", "abc");
    peer.says_record("E").hears_ok().says_record("E").hears_ok().sees_exit(0);
    assert_eq!(yard.stamps("d/new"), (1_600_000_000, 1_600_000_001));
    assert_eq!(yard.stamps("d/new/f").0, 1_600_000_002);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.5, clients 2.9, clients 2.13, clients 3.12
#[test]
fn winscp_puts_files_skips_one_and_is_told_of_an_error() {
    let yard = a_yard();
    yard.dir("d/taken");
    let mut peer = Peer::asks(&yard, "scp  -d -t \"d\"");
    peer.hears_ok().says_record("T1600000000 0 1600000001 0").hears_ok().stores("C0644 1 f", "1");
    peer.says("\x01scp: error\n").says_record("T1 0 1 0").hears_ok().says_record("C0644 1 taken");
    assert!(peer.hears_refusal().starts_with("d/taken: "));
    peer.says_record("E").hears_ok().sees_exit(1);
    yard.has("d/f", "1");
}

// covers: clients 2.1, clients 3.7, clients 3.16, clients 3.9
#[test]
fn winscp_gets_a_file_with_all_its_flags_and_its_stdin_open() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -p -d -f \"a\"");
    peer.says_ok()
        .hears_record("T1600000000 0 1600000001 0")
        .says_ok()
        .hears_file("C0644 5 a", "hello")
        .sees_exit(0);
}

// covers: clients 2.13, clients 3.9
#[test]
fn winscp_refuses_a_file_and_cancels_a_transfer() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -d -f \"a\"");
    peer.says_ok().hears_record("C0644 5 a").says("\x01scp: error\n").sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -r -d -f \"t\"");
    peer.says_ok()
        .hears_record("D0755 0 t")
        .says_ok()
        .hears_record("C0644 8 f")
        .says("\x02scp: error\n")
        .sees_exit(1);
}

// covers: clients 2.9, clients 2.6, clients 3.5
#[test]
fn ssh_net_puts_a_file_and_a_tree_with_an_old_date() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -d \"d\"");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok().stores("C0644 1 f", "1");
    disconnects(&mut peer).sees_whatever_exit();
    yard.has("d/f", "1");
    let mut peer = Peer::asks(&yard, "scp -r -p -d -t \"d\"");
    peer.hears_ok().says_record("T-11644473600 0 -11644473600 0");
    if yard.openssh("takes a blank after T, or seconds before 1970, for an error") {
        peer.hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.hears_ok().says_record("D0755 0 new").hears_ok().stores("C0644 1 g", "2");
    peer.says_record("E").hears_ok().says_record("E").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/new/g", "2");
}

// covers: clients 2.12, clients 3.5, clients 3.6
#[test]
fn ssh_net_gets_a_tree() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -prf \"t\"");
    peer.says_ok();
    for record in ["T1600000004 0 1600000005 0", "D0755 0 t", "T1600000002 0 1600000003 0"] {
        peer.hears_record(record).says_ok();
    }
    peer.hears_file("C0644 8 f", "contents").hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.8
#[test]
fn ssh_net_before_2017_names_its_file_in_the_command_only() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t \"d/f\"");
    peer.hears_ok().says_record("C0644 3 ");
    if yard.openssh("takes an empty name for an error even where the name is not used") {
        assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
        peer.sees_exit(1);
        return;
    }
    peer.hears_ok().says("abc\0").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/f", "abc");
    // As its directory, so to speak, it is refused, by OpenSSH too.
    let mut peer = Peer::asks(&yard, "scp -rt \"d\"");
    peer.hears_ok().says_record("D0755 0 .");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -t \"d\"");
    peer.hears_ok().says_record("C0644 3 ");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
}

// covers: clients 3.14
#[test]
fn pscp_gets_a_tree_in_which_something_is_wrong() {
    let yard = a_yard();
    yard.fifo("t/pipe");
    let mut peer = Peer::asks(&yard, "scp -r -f t");
    if yard.openssh("warns in the middle of a tree, at which PuTTY's pscp gives up") {
        peer.says([0; 9]).hangs_up().hears_the_rest();
        peer.sees_exit(1);
        return;
    }
    peer.says_ok().hears_record("D0755 0 t").says_ok().hears_file("C0644 8 f", "contents");
    peer.hears_that("t/pipe: not a regular file").hears_record("E").says_ok().sees_exit(1);
}
