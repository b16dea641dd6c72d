//! go-scp, povsister, hnakamur, dtylman, tmc, minikube, packer and terraform.

use super::a_yard;
use crate::peer::Peer;
use crate::server::Server;

// covers: clients 2.3, clients 2.1
#[test]
fn go_scp_sends_its_header_and_contents_before_it_listens() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -qt \"d/f\"");
    peer.says("C0644 3 f\n").says("abc").says_ok().hangs_up().hears_oks(3).sees_exit(0);
    yard.has("d/f", "abc");
    if !yard.openssh("takes a mode that has not four digits for an error") {
        let mut peer = Peer::asks(&yard, "scp -qt \"d/g\"");
        peer.says("C644 3 g\nabc\0").hangs_up().hears_oks(3).sees_exit(0);
        assert_eq!(yard.mode("d/g"), 0o644);
    }
}

// covers: clients 3.1, clients 3.7, clients 3.5
#[test]
fn go_scp_gets_a_file_and_waits_for_the_exit_with_its_stdin_open() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pf \"a\"");
    peer.says_ok().hears_record("T1600000000 0 1600000001 0").says_ok();
    peer.hears_record("C0644 5 a").hears_nothing().says_ok().hears_exactly("hello\0").says_ok().sees_exit(0);
}

// covers: clients 2.7, clients 2.9
#[test]
fn povsister_sends_modes_of_go_and_an_e_after_a_single_file() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -q -t 'd/f'");
    peer.hears_ok();
    if yard.openssh("takes a mode that has not four digits for an error") {
        peer.says_record("C040000755 3 f").hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.says_record("C040000755 3 f")
        .hears_ok()
        .says("abc\0")
        .hears_ok()
        .says_record("E")
        .hears_ok()
        .sees_exit(0);
    assert_eq!(yard.mode("d/f"), 0o755);
    let mut peer = Peer::asks(&yard, "scp -q -t -r -v 'd'");
    peer.hears_ok().says_record("D020000000755 0 new").hears_ok().stores("C0644 1 g", "1");
    peer.says_record("E").hears_ok().says_record("E").hears_ok().hangs_up().sees_stderr();
    peer.sees_exit(0);
    assert_eq!(yard.mode("d/new"), 0o755);
}

// covers: clients 3.2, clients 3.5, clients 3.6
#[test]
fn povsister_gets_a_tree_by_reads_of_fixed_size() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -q -f -r -p 't'");
    peer.says_ok();
    for record in
        ["T1600000004 0 1600000005 0\n", "D0755 0 t\n", "T1600000002 0 1600000003 0\n", "C0644 8 f\n"]
    {
        peer.hears_at_once(record).says_ok();
    }
    peer.hears_at_once("contents")
        .hears_at_once(b"\0")
        .says_ok()
        .hears_at_once("E\n")
        .says_ok()
        .hangs_up()
        .sees_exit(0);
}

// covers: clients 2.3, clients 2.6
#[test]
fn hnakamur_sends_microseconds_and_contents_before_the_acknowledgement() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -tpr 'd'");
    peer.says_record("T1600000000 123456 1600000001 654321").says_record("D0755 0 new");
    peer.says("C0644 3 f\nabc\0").says_record("E").hangs_up().hears_oks(6).sees_exit(0);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.4
#[test]
fn hnakamur_and_net_scp_acknowledge_an_error() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -fp 'none'");
    peer.says_ok().hears_that("none: No such file or directory").says_ok().sees_exit(1);
}

// covers: clients 2.17, clients 2.3, clients 3.8
#[test]
fn dtylman_relies_on_our_exit_after_what_it_takes_for_an_acknowledgement() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t d");
    peer.says("C0644 3 f\nabc").says("\0\0\n\r").hears_oks(3).hears_the_rest();
    peer.sees_exit(1);
    yard.has("d/f", "abc");
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says("\0\0\n\r").hears_record("C0644 5 a").says("\0\0\n\r").hears_exactly("hello\0").sees_exit(1);
}

// covers: clients 2.3
#[test]
fn tmc_minikube_and_a_shells_printf_say_everything_at_once() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t d");
    peer.says("C0644 3 f\nabc\0").hangs_up().hears_oks(3).sees_exit(0);
    yard.has("d/f", "abc");
    // The same people fetch with as many zeros as it takes.
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says([0; 4]).hangs_up().hears_exactly("C0644 5 a\nhello\0").sees_exit(0);
}

// covers: clients 2.3, clients 3.17
#[test]
fn packer_and_terraform_fall_behind_by_an_acknowledgement_per_directory() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -rvt d");
    peer.says_record("D0755 0 one").hears_ok().says_record("D0755 0 two").hears_ok();
    peer.says_record("C0644 3 f").hears_ok().says("abc").says_ok().hears_ok();
    peer.says_record("E").says_record("D0700 0 three").hears_ok().says_record("E").says_record("E");
    peer.says_record("C0644 1 g").hears_ok().says("1\0").hangs_up().hears_oks(5).sees_stderr();
    peer.sees_exit(0);
    yard.has("d/one/two/f", "abc");
    yard.has("d/g", "1");
}

// covers: clients 3.17, clients 3.4
#[test]
fn packer_gets_a_tree_with_v() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -vrf t");
    peer.says_ok()
        .hears_record("D0755 0 t")
        .says_ok()
        .hears_file("C0644 8 f", "contents")
        .hears_record("E")
        .says_ok();
    peer.sees_stderr();
    peer.sees_exit(0);
}
