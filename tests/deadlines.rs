//! How long a client is waited for. Nothing here measures time: it ends, or it does not.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

const A_WHILE: Duration = Duration::from_millis(300);

fn patient<'y>(yard: &'y Yard, options: &str) -> Server<'y> {
    options.split_whitespace().fold(Server::of(yard), Server::option)
}

// covers: security RES-05
#[test]
fn a_client_that_says_nothing_is_left() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    patient(&yard, "--idle-timeout 1").sink("", ".").hears_ok().sees_exit(1);
    patient(&yard, "--idle-timeout 1").source("", ["a"]).sees_exit(1);
    let mut peer = patient(&yard, "--idle-timeout 1").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().stores("C0644 1 b", "1").sees_exit(1);
    yard.holds(["a", "d/", "d/b"]);
}

// covers: security RES-04
#[test]
fn a_client_that_dribbles_a_line_is_left() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = patient(&yard, "--idle-timeout 1").sink("", ".");
    peer.hears_ok();
    for letter in b"C0644 3" {
        peer.says([*letter]);
        sleep(A_WHILE);
    }
    peer.sees_exit(1);
    yard.holds([]);
}

// covers: security RES-04, security SQ-09
#[test]
fn contents_that_stall_or_dribble_are_let_go_of_and_the_old_file_stays() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "old");
    let mut peer = patient(&yard, "--stall-timeout 1").sink("", ".");
    peer.hears_ok().says_record("C0644 100000 a").hears_ok();
    for _ in 0..5 {
        peer.says("x");
        sleep(A_WHILE);
    }
    peer.sees_exit(1);
    yard.holds(["a"]);
    yard.has("a", "old");
}

// covers: security SQ-17
#[test]
fn a_client_that_never_reads_its_replies_is_left() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = patient(&yard, "--idle-timeout 1 --stall-timeout 1").sink("", ".");
    peer.says_without_listening("T1 0 1 0\n".repeat(300_000)).hears_the_rest();
    peer.sees_exit(1);
}

// covers: security SQ-17, security RES-04
#[test]
fn a_client_that_does_not_take_what_it_asked_for_is_left() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", vec![b'x'; 3_000_000]);
    let mut peer = patient(&yard, "--stall-timeout 1").source("", ["a"]);
    peer.says_ok().hears_record("C0644 3000000 a").says_without_listening("\0");
    sleep(5 * A_WHILE);
    let heard = peer.hears_the_rest();
    peer.sees_exit(1);
    assert!(heard.len() < 3_000_000, "it was all sent");
}

// covers: security RES-04, security RES-09
#[test]
fn a_client_that_takes_what_it_asked_for_is_served_until_the_session_ends() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", vec![b'x'; 8_000_000]);
    let begin = |options: &str| {
        let mut peer = patient(&yard, options).source("", ["a"]);
        peer.says_ok().hears_record("C0644 8000000 a").says_without_listening("\0");
        peer
    };
    let takes = |peer: &mut Peer| peer.hears_count(64 * 1024).len() + peer.hears_the_rest().len();
    let mut peer = begin("--time-limit 1");
    for _ in 0..5 {
        peer.hears_count(64 * 1024);
        sleep(A_WHILE);
    }
    assert!(takes(&mut peer) < 7_000_000, "it was all sent");
    peer.sees_exit(1);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut peer = begin("");
        peer.hears_count(64 * 1024);
        peer.signals(signal);
        assert!(takes(&mut peer) < 7_000_000, "it was all sent");
        peer.sees_exit(1);
    }
    let mut peer = begin("--stall-timeout 1");
    for _ in 0..5 {
        peer.hears_count(64 * 1024);
        sleep(A_WHILE);
    }
    peer.hears_count(8_000_000 - 5 * 64 * 1024);
    peer.hears_ok().says_ok().sees_exit(0);
}

// covers: peers 134
#[test]
fn a_slow_client_that_moves_on_is_not_cut_off() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = patient(&yard, "--idle-timeout 1 --stall-timeout 1").sink("", ".");
    peer.hears_ok().says_record("C0644 30000 a").hears_ok();
    for _ in 0..6 {
        sleep(A_WHILE);
        peer.says([b'x'; 5000]);
    }
    peer.says_ok().hears_ok();
    for name in ["b", "c", "d"] {
        sleep(2 * A_WHILE);
        peer.stores(format!("C0644 1 {name}"), "1");
    }
    peer.hangs_up().sees_exit(0);
    yard.holds(["a", "b", "c", "d"]);
}

// covers: security RES-04
#[test]
fn a_session_has_an_end_if_the_administrator_says_so() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = patient(&yard, "--time-limit 1").sink("", ".");
    peer.hears_ok();
    for _ in 0..10 {
        peer.says("C0644 1 a\n1\0");
        sleep(A_WHILE / 2);
    }
    peer.hears_the_rest();
    peer.sees_exit(1);
    yard.has("a", "1");
}

/// From then on the client is waited for in another way.
const MANY: usize = 30;

#[test]
fn a_client_that_has_said_much_is_waited_for_as_long_as_any_other() {
    let Some(yard) = Yard::confined() else { return };
    let talkative = |options: &str| {
        let mut peer = patient(&yard, options).sink("", ".");
        peer.hears_ok();
        for number in 0..MANY {
            peer.stores(format!("C0644 1 f{number}"), "1");
        }
        peer
    };
    talkative("--idle-timeout 1").sees_exit(1);
    talkative("--time-limit 1").sees_exit(1);
    let mut peer = talkative("--idle-timeout 1");
    for letter in b"C0644 3" {
        peer.says([*letter]);
        sleep(A_WHILE);
    }
    peer.sees_exit(1);
    let mut peer = talkative("--stall-timeout 1");
    peer.says_record("C0644 100000 a").hears_ok().says("x").sees_exit(1);
    let mut peer = talkative("--idle-timeout 1");
    sleep(2 * A_WHILE);
    peer.stores("C0644 1 a", "1");
    sleep(2 * A_WHILE);
    peer.stores("C0644 1 a", "2").hangs_up().sees_exit(0);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut peer = talkative("");
        peer.says_record("C0644 3 a").hears_ok().says("n").signals(signal).sees_exit(1);
    }
    yard.has("a", "2");

    let names: Vec<_> = (0..MANY).map(|number| format!("f{number}")).collect();
    let mut peer = patient(&yard, "--idle-timeout 1").source("", &names);
    peer.says_ok();
    let (last, others) = names.split_last().unwrap();
    for name in others {
        peer.hears_file(format!("C0644 1 {name}"), "1");
    }
    peer.hears_record(format!("C0644 1 {last}")).sees_exit(1);
}

#[test]
fn a_long_session_comes_out_of_a_file_as_well() {
    let Some(yard) = Yard::confined() else { return };
    let session: String = (0..MANY).map(|number| format!("C0644 1 f{number}\n1\0")).collect();
    let script = yard.home().join("session");
    std::fs::write(&script, session).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_scp-server"));
    command.arg("--root").arg(yard.path("")).args(["-t", "."]).stdin(std::fs::File::open(script).unwrap());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), vec![0; 2 * MANY + 1]));
    (0..MANY).for_each(|number| yard.has(format!("f{number}"), "1"));
}
