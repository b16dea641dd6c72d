//! `scp -f`: files to the client, and what the client answers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

const NO_SOURCES: [&str; 0] = [];

// covers: peers 2, clients 3.3, clients 3.6, clients 3.7, security SRC-08
#[test]
fn a_file_is_sent_on_the_first_acknowledgement_and_the_session_ends_with_the_last() {
    let yard = Yard::new();
    yard.file("a", "hello").chmod("a", 0o640);
    let mut peer = Peer::source(&yard, "", ["a"]);
    peer.hears_nothing().says_ok();
    peer.hears_record("C0640 5 a").says_ok();
    peer.hears_exactly("hello").hears_ok().says_ok();
    peer.sees_exit(0);
}

// covers: peers 4, security SRC-08
#[test]
fn an_empty_file_and_one_of_a_single_byte_are_sent() {
    let yard = Yard::new();
    yard.file("none", "").file("one", "1");
    let mut peer = Peer::source(&yard, "", ["none", "one"]);
    peer.says_ok().hears_file("C0644 0 none", "").hears_file("C0644 1 one", "1").sees_exit(0);
}

// covers: peers 6, peers 20
#[test]
fn contents_of_every_awkward_size_are_sent_whole() {
    let yard = Yard::new();
    let mut peer = {
        for size in [4095, 4096, 4097, 65_535, 65_536, 65_537, 1_048_577] {
            yard.file(size.to_string(), vec![size as u8; size]);
        }
        Peer::source(&yard, "", ["4095", "4096", "4097", "65535", "65536", "65537", "1048577"])
    };
    peer.says_ok();
    for size in [4095, 4096, 4097, 65_535, 65_536, 65_537, 1_048_577] {
        peer.hears_file(format!("C0644 {size} {size}"), vec![size as u8; size]);
    }
    peer.sees_exit(0);
}

#[test]
fn the_next_file_is_opened_while_the_client_is_busy_with_the_last_and_not_announced_yet() {
    let yard = Yard::new();
    yard.dir("d").file("d/one", "1").file("d/two", "2");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    let first = peer.hears_line();
    let (next, contents, other) =
        if first == "C0644 1 one\n" { ("two", "1", "2") } else { ("one", "2", "1") };
    peer.says_ok().hears_exactly(contents).hears_ok();
    if !yard.openssh("opens the next file when the client has answered") {
        let end = Instant::now() + Duration::from_secs(20);
        while !peer.open_files().iter().any(|file| file.ends_with(next)) {
            assert!(Instant::now() < end, "{:?}", peer.open_files());
            sleep(Duration::from_millis(1));
        }
    }
    peer.hears_nothing().says_ok();
    peer.hears_file(format!("C0644 1 {next}"), other);
    peer.hears_record("E").says_ok().sees_exit(0);
}

// covers: security SRC-08, peers H-p, peers H-v
#[test]
fn a_size_beyond_four_gibibytes_is_announced_and_its_sending_can_be_cut_short() {
    let yard = Yard::new();
    yard.file("big", "");
    std::fs::File::options()
        .write(true)
        .open(yard.path("big"))
        .and_then(|file| file.set_len((1 << 32) + 1))
        .unwrap();
    let mut peer = Peer::source(&yard, "", ["big"]);
    peer.says_ok().hears_record("C0644 4294967297 big").says_ok();
    peer.hears_exactly([0; 100_000]);
    if yard.openssh("dies of SIGPIPE when the client stops reading") {
        peer.stops_listening().hangs_up().sees_any_end();
        return;
    }
    peer.stops_listening().hangs_up().sees_exit(1);
}

// covers: security SRC-08
#[test]
fn a_file_of_proc_is_as_long_as_it_says() {
    let Some(yard) = Yard::in_place_of_scp() else {
        return;
    };
    let mut peer = Peer::source(&yard, "", ["/proc/version"]);
    peer.says_ok().hears_file("C0444 0 version", "").sees_exit(0);
}

// covers: clients 2.2, clients 3.16, peers 2
#[test]
fn several_files_are_sent_in_the_order_asked_under_their_last_names() {
    let yard = Yard::new();
    yard.dir("d").file("d/b", "2").file("a", "1");
    let mut peer = Peer::source(&yard, "", ["d/b", "./a", "d//b", "d/../a"]);
    peer.says_ok();
    for (record, contents) in [("C0644 1 b", "2"), ("C0644 1 a", "1"), ("C0644 1 b", "2"), ("C0644 1 a", "1")]
    {
        peer.hears_file(record, contents);
    }
    peer.sees_exit(0);
}

// covers: clients 3.16, peers 85, security SRC-04
#[test]
fn a_link_is_followed_and_sent_under_its_own_name() {
    let yard = Yard::new();
    yard.file("original", "contents").dir("d").link("d/link", "../original").link("l", "original");
    let mut peer = Peer::source(&yard, "", ["l", "d/link"]);
    peer.says_ok().hears_file("C0644 8 l", "contents").hears_file("C0644 8 link", "contents").sees_exit(0);
}

/// Hears a file and, after it, what became of the path that was asked for before it.
#[track_caller]
fn hears_file_and_refusal(yard: &Yard, peer: &mut Peer, record: &str, contents: &str, refusal: &str) {
    if yard.openssh("says at once what it cannot send, where scp-server waits until the rest is sent") {
        peer.hears_that(refusal).hears_file(record, contents);
    } else {
        peer.hears_file(record, contents).hears_that(refusal);
    }
}

// covers: peers 12, peers 118, clients 3.12, clients 3.14
#[test]
fn an_absent_file_is_an_error_and_the_next_one_is_sent() {
    let yard = Yard::new();
    yard.file("a", "1");
    let mut peer = Peer::source(&yard, "", ["absent", "a"]);
    peer.says_ok();
    hears_file_and_refusal(&yard, &mut peer, "C0644 1 a", "1", "absent: No such file or directory");
    peer.sees_exit(1);
}

// covers: peers 35, security SRC-05
#[test]
fn a_directory_without_r_is_not_a_regular_file_and_the_next_file_is_sent() {
    let yard = Yard::new();
    yard.dir("d").file("d/inner", "x").file("a", "1");
    let mut peer = Peer::source(&yard, "", ["d", "a"]);
    peer.says_ok();
    hears_file_and_refusal(&yard, &mut peer, "C0644 1 a", "1", "d: not a regular file");
    peer.sees_exit(1);
}

// covers: security PT-20, security SRC-02, peers 94
#[test]
fn a_named_pipe_a_socket_and_a_device_are_not_sent_and_nothing_hangs() {
    let yard = Yard::new();
    yard.fifo("pipe").socket("socket").file("a", "1");
    let mut peer = Peer::source(&yard, "", ["pipe", "socket", "a"]);
    peer.says_ok();
    if yard.openssh("says of a socket: No such device or address") {
        peer.hears_that("pipe: not a regular file").hears_that("socket: No such device or address");
        peer.hears_file("C0644 1 a", "1").sees_exit(1);
        return;
    }
    peer.hears_file("C0644 1 a", "1");
    peer.hears_that("pipe: not a regular file").hears_that("socket: not a regular file").sees_exit(1);
    if yard.null_device("null") {
        Peer::source(&yard, "", ["null"]).says_ok().hears_that("null: not a regular file").sees_exit(1);
    }
}

// covers: peers 13, peers 42
#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.file("a", "1").chmod("a", 0o200).file("b", "2");
    let mut peer = Peer::source(&yard, "", ["a", "b"]);
    peer.says_ok();
    hears_file_and_refusal(&yard, &mut peer, "C0644 1 b", "2", "a: Permission denied");
    peer.sees_exit(1);
}

// covers: peers 7, clients 2.8, peers 60, peers H-i
#[test]
fn a_name_is_sent_byte_for_byte() {
    let names: [&[u8]; 10] = [
        b"with blanks",
        b" leading",
        b"trailing ",
        b"C:\\x",
        b"a\\^Jb",
        b"gr\xfcn",
        "文件".as_bytes(),
        b"%s%n",
        b"'",
        b"$(id)",
    ];
    let yard = Yard::new();
    for name in names {
        yard.file(OsStr::from_bytes(name), "1");
    }
    let mut peer = Peer::source(&yard, "", names.map(OsStr::from_bytes));
    peer.says_ok();
    for name in names {
        peer.hears_file([b"C0644 1 ", name].concat(), "1");
    }
    peer.sees_exit(0);
}

// covers: security CR-09, clients 3.19
#[test]
fn the_longest_name_is_sent_whole() {
    let yard = Yard::new();
    let name = "n".repeat(255);
    yard.file(&name, "1");
    let mut peer = Peer::source(&yard, "", [&name]);
    peer.says_ok().hears_file(format!("C0644 1 {name}"), "1").sees_exit(0);
}

// covers: security SRC-01, clients 3.16
#[test]
fn a_line_feed_in_a_files_name_is_spelled_out() {
    let yard = Yard::new();
    yard.file("a\nC0644 4 evil", "1");
    let mut peer = Peer::source(&yard, "", ["a\nC0644 4 evil"]);
    peer.says_ok().hears_file("C0644 1 a\\^JC0644 4 evil", "1").sees_exit(0);
}

// covers: security SRC-12
#[test]
fn the_root_asked_for_as_a_file_is_not_one() {
    let yard = Yard::new();
    let mut peer = Peer::source(&yard, "", ["."]);
    peer.says_ok().hears_that(".: not a regular file").sees_exit(1);
}

// covers: clients 3.1, clients 3.2, clients 3.4, clients 3.5, clients 3.18, clients 3.21
#[test]
fn every_record_is_one_write_and_the_next_waits_for_its_acknowledgement() {
    let yard = Yard::new();
    yard.dir("d").file("d/a", "hello");
    yard.times("d/a", 1_600_000_000, 1_600_000_001).times("d", 1_600_000_002, 1_600_000_003);
    let mut peer = Server::of(&yard).whose_writes_are_seen().source("-p -r", ["d", "absent"]);
    peer.says_ok();
    for record in
        ["T1600000002 0 1600000003 0\n", "D0755 0 d\n", "T1600000000 0 1600000001 0\n", "C0644 5 a\n"]
    {
        peer.hears_at_once(record).hears_nothing().says_ok();
    }
    peer.hears_at_once("hello").hears_at_once(b"\0").hears_nothing().says_ok();
    peer.hears_at_once("E\n").hears_nothing().says_ok();
    peer.hears_at_once("\x01scp: absent: No such file or directory\n").sees_exit(1);
}

// covers: clients 3.4, clients 3.5, clients 3.6
#[test]
fn times_are_sent_only_with_p_and_microseconds_are_zero() {
    let yard = Yard::new();
    yard.file("a", "1").times("a", 1_600_000_000, 7);
    filetime::set_file_mtime(yard.path("a"), filetime::FileTime::from_unix_time(1_600_000_000, 987_654_321))
        .unwrap();
    Peer::source(&yard, "", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
    yard.times("a", 1_600_000_000, 7);
    filetime::set_file_mtime(yard.path("a"), filetime::FileTime::from_unix_time(1_600_000_000, 987_654_321))
        .unwrap();
    let mut peer = Peer::source(&yard, "-p", ["a"]);
    peer.says_ok().hears_record("T1600000000 0 7 0").says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
}

// covers: peers 64
#[test]
fn times_before_1970_are_sent_as_1970() {
    let yard = Yard::new();
    yard.file("a", "1").times("a", -5, -7);
    let mut peer = Peer::source(&yard, "-p", ["a"]);
    peer.says_ok().hears_record("T0 0 0 0").says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
}

// covers: peers 69, peers 70
#[test]
fn the_mode_sent_has_four_digits_and_no_sticky_bit() {
    let yard = Yard::new();
    for (mode, sent, confined) in [(0o7, "0007", "0007"), (0o1600, "0600", "0600"), (0o6755, "6755", "0755")]
    {
        yard.file("a", "1").chmod("a", mode);
        yard.openssh("sends set-id bits, as scp-server does without --root");
        let sent = if yard.unconfined() { sent } else { confined };
        Peer::source(&yard, "", ["a"]).says_ok().hears_file(format!("C{sent} 1 a"), "1").sees_exit(0);
    }
}

// covers: clients 2.4
#[test]
fn acknowledgements_that_come_early_or_in_surplus_are_taken_one_per_record() {
    let yard = Yard::new();
    yard.file("a", "1").file("b", "2");
    let mut peer = Peer::source(&yard, "", ["a", "b"]);
    peer.says([0; 9]).hangs_up();
    peer.hears_exactly("C0644 1 a\n1\0C0644 1 b\n2\0").sees_exit(0);
}

// covers: clients 2.13, security SRC-11, peers 108
#[test]
fn a_client_that_says_1_to_a_record_skips_it_and_the_rest_is_sent() {
    let yard = Yard::new();
    yard.file("a", "1").file("b", "2").dir("d").file("d/c", "3");
    let mut peer = Peer::source(&yard, "-r", ["a", "d", "b"]);
    peer.says_ok().hears_record("C0644 1 a").says("\x01scp: not this one\n");
    peer.hears_record("D0755 0 d").says("\x01nor that\n");
    peer.hears_file("C0644 1 b", "2").sees_exit(1);
}

// covers: clients 2.13
#[test]
fn a_client_that_says_1_to_times_skips_what_they_belong_to() {
    let yard = Yard::new();
    yard.file("a", "1").file("b", "2").times("a", 5, 6).times("b", 7, 8);
    let mut peer = Peer::source(&yard, "-p", ["a", "b"]);
    peer.says_ok().hears_record("T5 0 6 0").says("\x01no\n");
    peer.hears_record("T7 0 8 0").says_ok().hears_file("C0644 1 b", "2").sees_exit(1);
}

// covers: clients 2.13
#[test]
fn a_client_that_says_1_after_the_contents_has_failed_and_the_rest_is_sent() {
    let yard = Yard::new();
    yard.file("a", "1").file("b", "2");
    let mut peer = Peer::source(&yard, "", ["a", "b"]);
    peer.says_ok().hears_record("C0644 1 a").says_ok().hears_exactly("1\0").says("\x01scp: disk full\n");
    peer.hears_file("C0644 1 b", "2").sees_exit(1);
}

// covers: clients 2.13, security SRC-11, peers 115
#[test]
fn a_client_that_stops_the_session_hears_nothing_more() {
    for answer in ["\x02scp: enough\n", "no idea\n", "Xyz\n"] {
        let yard = Yard::new();
        yard.file("a", "1").file("b", "2");
        for when in ["at first", "at the header", "after the contents"] {
            let mut peer = Peer::source(&yard, "", ["a", "b"]);
            if when != "at first" {
                peer.says_ok().hears_record("C0644 1 a");
            }
            if when == "after the contents" {
                peer.says_ok().hears_exactly("1\0");
            }
            peer.says(answer).sees_exit(1);
        }
    }
}

// covers: clients 2.13, clients 2.12
#[test]
fn an_error_text_without_its_line_feed_and_the_end_is_an_error_and_nothing_hangs() {
    for answer in [&b"\x01"[..], b"\x01text", b"\x02", b"\x02text", b"text"] {
        let yard = Yard::new();
        yard.file("a", "1").file("b", "2");
        let mut peer = Peer::source(&yard, "", ["a", "b"]);
        peer.says_ok().hears_record("C0644 1 a").says(answer).hangs_up();
        peer.hears_the_rest();
        peer.sees_exit(1);
    }
}

// covers: clients 2.12, security SRC-11
#[test]
fn a_client_that_leaves_without_the_last_acknowledgement_leaves_nothing_behind() {
    let yard = Yard::new();
    yard.file("a", "1");
    let mut peer = Peer::source(&yard, "", ["a"]);
    peer.says_ok().hears_record("C0644 1 a").says_ok().hears_exactly("1").hangs_up().hears_ok();
    if yard.openssh("takes the end for an error where libssh2 does not send the last acknowledgement") {
        peer.sees_exit(1);
        return;
    }
    peer.sees_exit(0);
}

// covers: security SRC-11, peers 111
#[test]
fn a_client_that_leaves_before_it_has_a_file_has_failed() {
    let yard = Yard::new();
    yard.file("a", "1");
    Peer::source(&yard, "", ["a"]).hangs_up().sees_exit(1);
    Peer::source(&yard, "", ["a"]).says_ok().hears_record("C0644 1 a").hangs_up().sees_exit(1);
}

// covers: clients 3.17, clients 2.1
#[test]
fn with_v_nothing_but_the_protocol_is_on_stdout() {
    let yard = Yard::new();
    yard.file("a", "1");
    let mut peer = Peer::source(&yard, "-v", ["a"]);
    peer.says_ok().hears_file("C0644 1 a", "1");
    peer.sees_stderr();
    peer.sees_exit(0);
    let mut peer = Peer::sink(&yard, "-v", "b");
    peer.hears_ok().stores("C0644 1 b", "2").hangs_up();
    peer.sees_stderr();
    peer.sees_exit(0);
}

// covers: peers 57
#[test]
fn asked_for_nothing_the_source_sends_nothing() {
    let yard = Yard::new();
    let mut peer = Peer::source(&yard, "", NO_SOURCES);
    if yard.openssh("asked to send nothing, ends well and says nothing") {
        peer.says_ok().sees_exit(0);
        return;
    }
    peer.hangs_up().hears_the_rest();
    peer.sees_stderr();
    peer.sees_exit(1);
}

// covers: security SQ-20, peers 133
#[test]
fn a_temporary_of_ours_is_not_listed() {
    let Some(yard) = Yard::confined() else { return };
    let name = "d/.scp-0123456789abcdef";
    yard.dir("d").file(name, "half").file("d/a", "1");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok().hears_file("C0644 1 a", "1");
    peer.hears_record("E").says_ok().sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -f d/.scp*");
    peer.says_ok().hears_that("d/.scp*: No such file or directory").sees_exit(1);
    std::fs::remove_file(yard.path(name)).unwrap();
}

// covers: security SQ-20, security PT-25
#[test]
fn a_temporary_of_ours_is_not_sent_to_one_who_knows_its_name() {
    let Some(yard) = Yard::confined() else { return };
    let name = "d/.scp-0123456789abcdef";
    yard.dir("d").file(name, "half");
    let mut peer = Peer::source(&yard, "", [name]);
    peer.says_ok().hears_that(&format!("{name}: No such file or directory")).sees_exit(1);
    std::fs::remove_file(yard.path(name)).unwrap();
}
