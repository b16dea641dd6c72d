//! How fast contents may move. That it takes longer under load proves nothing; that it is never faster is what is asked for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

fn sink(yard: &Yard, text: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(&format!("[default]\n{text}\n"))?.sink("", "."))
}

fn source(yard: &Yard, text: &str, name: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(&format!("[default]\n{text}\n"))?.source("", [name]))
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|number| (number % 251) as u8).collect()
}

/// What may be made up for, and a piece: more than that is not before its time, however the machine is loaded.
const AHEAD: f64 = 0.2;

/// Notes what part of a rate was reached, and asserts that it was not more than all of it.
fn judge(what: &str, moved: usize, rate: f64, took: Duration) {
    let reached = moved as f64 / took.as_secs_f64() / rate;
    tally::figure(&format!("{what}: {:.0} % of the rate", 100.0 * reached));
    assert!(moved as f64 <= rate * (took.as_secs_f64() + AHEAD), "{what}: {moved} bytes in {took:?}");
}

// covers: peers 129
#[test]
fn uploads_are_no_faster_than_they_may_be() {
    let Some(yard) = Yard::confined() else { return };
    for (text, rate, count, checksum) in [
        // More than a pipe holds, less, and seen for a checksum.
        ("max-upload-rate = '512K'", 512.0 * 1024.0, 700_000, ""),
        ("max-upload-rate = 2000", 2000.0, 3000, ""),
        ("max-upload-rate = '4M'", 4.0 * 1024.0 * 1024.0, 6_000_000, "checksum = 'sha256'"),
    ] {
        let Some(mut peer) = sink(&yard, &format!("{text}\n{checksum}")) else { return };
        peer.hears_ok();
        let began = Instant::now();
        peer.stores(format!("C0644 {count} a"), bytes(count));
        judge(text, count, rate, began.elapsed());
        peer.hangs_up().sees_exit(0);
        yard.has("a", bytes(count));
    }
}

// covers: peers 129
#[test]
fn downloads_are_no_faster_than_they_may_be() {
    let Some(yard) = Yard::confined() else { return };
    for (text, rate, count, checksum) in [
        ("max-download-rate = '512K'", 512.0 * 1024.0, 700_000, ""),
        ("max-download-rate = 2000", 2000.0, 3000, ""),
        // Moved unseen, and seen.
        ("max-download-rate = '4M'", 4.0 * 1024.0 * 1024.0, 6_000_000, ""),
        ("max-download-rate = '4M'", 4.0 * 1024.0 * 1024.0, 6_000_000, "checksum = 'sha256'"),
    ] {
        yard.file("a", bytes(count));
        let Some(mut peer) = source(&yard, &format!("{text}\n{checksum}"), "a") else { return };
        peer.says_ok().hears_record(format!("C0644 {count} a"));
        let began = Instant::now();
        peer.says_ok().hears_exactly(bytes(count)).hears_ok();
        judge(&format!("{text} {checksum}"), count, rate, began.elapsed());
        peer.says_ok().sees_exit(0);
    }
}

#[test]
fn many_small_files_are_no_faster_than_one_large_one() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, "max-upload-rate = 2000") else { return };
    peer.hears_ok();
    let began = Instant::now();
    for number in 0..30 {
        peer.stores(format!("C0644 100 {number}"), bytes(100));
    }
    judge("30 files of 100 bytes, 2000 in a second", 3000, 2000.0, began.elapsed());
    peer.hangs_up().sees_exit(0);
}

#[test]
fn what_is_refused_in_the_middle_is_drained_at_the_same_pace() {
    let Some(yard) = Yard::confined() else { return };
    // Over the limit only once it is there: the size that it is refused for is the kernel's to know.
    let Some(server) = Server::of(&yard).configured("[default]\nmax-upload-rate = '512K'\n") else { return };
    let mut peer = server.after("ulimit -f 64").sink("", ".");
    peer.hears_ok().says_record("C0644 700000 a").hears_ok();
    let began = Instant::now();
    peer.says(bytes(700_000)).says_ok().hears_refusal();
    judge("a file that the disk does not take", 700_000, 512.0 * 1024.0, began.elapsed());
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["b"]);
}

#[test]
fn the_other_direction_has_a_rate_of_its_own() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", bytes(300_000));
    // At one byte in a second it would not end before the deadline of this test.
    let Some(mut peer) = source(&yard, "max-upload-rate = 1", "a") else { return };
    peer.says_ok().hears_file("C0644 300000 a", bytes(300_000)).sees_exit(0);
    let mut peer = sink(&yard, "max-download-rate = 1").unwrap();
    peer.hears_ok().stores("C0644 300000 b", bytes(300_000)).hangs_up().sees_exit(0);
}

// covers: peers 134
#[test]
fn a_pause_of_ours_is_not_the_clients() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("b", bytes(300));
    let text = "stall-timeout = 1\nidle-timeout = 1\n";
    // Three times as long as contents may stand still, and less of them than would count as progress.
    let Some(mut peer) = sink(&yard, &format!("{text}max-upload-rate = 100")) else { return };
    peer.hears_ok().stores("C0644 300 a", bytes(300)).hangs_up().sees_exit(0);
    let mut peer = source(&yard, &format!("{text}max-download-rate = 100"), "b").unwrap();
    peer.says_ok().hears_file("C0644 300 b", bytes(300)).sees_exit(0);
}

// covers: peers 134
#[test]
fn a_client_has_all_its_time_after_a_pause_of_ours() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, "stall-timeout = 3\nmax-upload-rate = 20") else { return };
    peer.hears_ok().says_record("C0644 110 a").hears_ok().says(bytes(100));
    // Five seconds of them are ours, in which there is nothing that the client could do.
    sleep(Duration::from_millis(5200));
    peer.says(&bytes(110)[100..]).says_ok().hears_ok().hangs_up().sees_exit(0);
    yard.has("a", bytes(110));
}

// covers: security RES-04
#[test]
fn a_client_that_stalls_is_left_at_any_rate() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, "stall-timeout = 1\nmax-upload-rate = 1000") else { return };
    peer.hears_ok().says_record("C0644 500 a").hears_ok().says("not all of it").sees_exit(1);
    yard.holds([]);
}

// covers: security RES-04
#[test]
fn a_pause_ends_with_the_session() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("b", bytes(5000));
    let Some(mut peer) = sink(&yard, "time-limit = 1\nmax-upload-rate = 1") else { return };
    peer.hears_ok().says_record("C0644 5000 a").hears_ok().says(bytes(5000)).sees_exit(1);
    let mut peer = source(&yard, "time-limit = 1\nmax-download-rate = 1", "b").unwrap();
    peer.says_ok().hears_record("C0644 5000 b").says_ok().hears_the_rest();
    peer.sees_exit(1);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut peer = sink(&yard, "max-upload-rate = 1").unwrap();
        peer.hears_ok().says_record("C0644 5000 a").hears_ok().says(bytes(5000)).signals(signal).sees_exit(1);
        let mut peer = source(&yard, "max-download-rate = 1", "b").unwrap();
        peer.says_ok().hears_record("C0644 5000 b").says_ok().hears_exactly(&bytes(5000)[..1]);
        peer.signals(signal).hears_the_rest();
        peer.sees_exit(1);
    }
    yard.holds(["b"]);
}

#[test]
fn a_rate_of_nothing_serves_nobody() {
    let Some(yard) = Yard::confined() else { return };
    for text in ["max-upload-rate = 0", "max-download-rate = '0K'"] {
        let Some(mut peer) = sink(&yard, text) else { return };
        peer.hears_that("this server is not set up as it has to be").sees_exit(1);
    }
}
