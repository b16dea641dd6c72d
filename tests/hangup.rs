//! Clients that leave: at every byte, and with their ears first.

use std::ops::RangeInclusive;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

/// A valid session of `scp -r -p -t .`: a file, and a directory with two; eleven replies after the ready byte.
const SESSION: &[u8] =
    b"T1000 0 1001 0\nC0640 5 a\nhello\0T2000 0 2001 0\nD0750 0 d\nC0644 0 empty\n\0C0600 3 b\nxyz\0E\n";
const REPLIES: usize = 1 + 10;

fn assert_all_arrived(yard: &Yard) {
    yard.holds(["a", "d/", "d/b", "d/empty"]);
    assert_eq!(yard.stamps("a"), (1000, 1001));
    assert_eq!(yard.stamps("d").0, 2000);
    assert_eq!((yard.mode("a"), yard.mode("d"), yard.mode("d/b")), (0o640, 0o750, 0o600));
    yard.has("a", "hello");
    yard.has("d/b", "xyz");
    yard.has("d/empty", "");
}

// covers: security SQ-16, clients 2.3, peers 101
#[test]
fn a_session_in_one_write_is_served_like_any_other() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r -p", ".");
    peer.says(SESSION).hangs_up().hears_oks(REPLIES).sees_exit(0);
    assert_all_arrived(&yard);
}

// covers: security SQ-16, peers 101
#[test]
fn a_session_byte_by_byte_is_served_like_any_other() {
    let yard = Yard::new();
    let mut peer = Server::of(&yard).who_reads_piecemeal().sink("-r -p", ".");
    peer.says_in_pieces(SESSION, 1).hangs_up().hears_oks(REPLIES).sees_exit(0);
    assert_all_arrived(&yard);
}

// covers: security SQ-16, peers 101
#[test]
fn a_session_in_pieces_of_three_bytes_is_served_like_any_other() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r -p", ".");
    peer.says_in_pieces(SESSION, 3).hangs_up().hears_oks(REPLIES).sees_exit(0);
    assert_all_arrived(&yard);
}

/// Where in `SESSION` the end is one: what a client may say before it leaves for good, to have exit status 0.
///
/// That is between two top-level records, or in place of a file's status byte.
fn ends_well(offset: usize) -> bool {
    let after = |part: &[u8]| SESSION.windows(part.len()).position(|w| w == part).unwrap() + part.len();
    let whole: RangeInclusive<usize> = after(b"hello")..=after(b"hello\0");
    offset == 0 || whole.contains(&offset) || offset == SESSION.len()
}

// covers: security SQ-15, security SQ-09, security SQ-10, security SQ-03, security SQ-08, peers 109, peers H-q
// covers: clients 2.10, peers 110
#[test]
fn at_whatever_byte_a_client_leaves_a_file_is_whole_or_as_before() {
    for offset in 0..=SESSION.len() {
        let yard = Yard::new();
        yard.file("a", "the old version").dir("d").file("d/b", "the old b").file("d/empty", "the old one");
        let mut peer = Peer::sink(&yard, "-r -p", ".");
        peer.says(&SESSION[..offset]).hangs_up();
        let heard = peer.hears_the_rest();
        if yard.openssh(
            "leaves files in pieces when the client leaves, and some sessions end well that were cut short",
        ) {
            peer.sees_any_end();
            continue;
        }
        peer.sees_exit(i32::from(!ends_well(offset)));
        // Whatever is said at last, it comes after the acknowledgements that are due.
        let text = heard.iter().position(|&byte| byte != 0).map_or(&heard[heard.len()..], |at| &heard[at..]);
        assert!(text.is_empty() || text.starts_with(b"\x01scp: "), "{offset}: {}", heard.escape_ascii());
        yard.holds(["a", "d/", "d/b", "d/empty"]);
        for (name, old, new, position) in [
            ("a", &b"the old version"[..], &b"hello"[..], b"hello".as_slice()),
            ("d/empty", b"the old one", b"", b"empty\n"),
            ("d/b", b"the old b", b"xyz", b"xyz"),
        ] {
            let whole = SESSION.windows(position.len()).position(|w| w == position).unwrap() + position.len();
            yard.has(name, if offset >= whole { new } else { old });
        }
    }
}

// covers: security SQ-09, peers 109, peers H-a, clients 3.11
#[test]
fn contents_cut_short_leave_the_old_file_and_no_trace() {
    for sent in [0, 1, 99_999] {
        let yard = Yard::new();
        yard.file("old", "the old version");
        for (name, before) in [("old", true), ("new", false)] {
            let mut peer = Peer::sink(&yard, "", ".");
            peer.hears_ok()
                .says_record(format!("C0644 100000 {name}"))
                .hears_ok()
                .says(vec![b'x'; sent])
                .hangs_up();
            peer.hears_the_rest();
            peer.sees_exit(1);
            if yard.openssh("leaves pieces of a file that was cut short, mixed with what was there before") {
                continue;
            }
            assert_eq!(yard.path(name).exists(), before);
        }
        if !yard.openssh("leaves pieces of a file that was cut short, mixed with what was there before") {
            yard.holds(["old"]);
            yard.has("old", "the old version");
        }
    }
}

// covers: security SQ-10, clients 2.10, clients 2.15, clients 3.11
#[test]
fn the_end_in_place_of_the_status_byte_completes_the_file() {
    for (size, contents) in [(5, "hello"), (0, "")] {
        let yard = Yard::new();
        yard.file("a", "the old version").chmod("a", 0o600);
        let mut peer = Peer::sink(&yard, "-p", "a");
        peer.hears_ok().says_record("T1000 0 2000 0").hears_ok();
        peer.says_record(format!("C0640 {size} a")).hears_ok().says(contents).hangs_up();
        if yard
            .openssh("takes it for an error when the client leaves instead of sending the last status byte")
        {
            peer.hears_the_rest();
            peer.sees_exit(1);
            continue;
        }
        let heard = peer.hears_the_rest();
        assert!(matches!(heard.as_slice(), b"" | b"\0"), "{}", heard.escape_ascii());
        peer.sees_exit(0);
        assert_eq!(yard.stamps("a"), (1000, 2000));
        assert_eq!(yard.mode("a"), 0o640);
        yard.has("a", contents);
    }
}

// covers: security SQ-03, peers H-q
#[test]
fn the_end_inside_a_directory_keeps_what_is_finished_and_is_an_error() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().stores("C0644 1 a", "1").hangs_up();
    peer.hears_the_rest();
    peer.sees_exit(if yard.openssh("ends well when the client leaves inside a directory") { 0 } else { 1 });
    yard.holds(["d/", "d/a"]);
    yard.has("d/a", "1");
}

// covers: security SQ-18, clients 2.11, peers 112
#[test]
fn a_client_that_does_not_listen_still_gets_its_file_stored_and_nobody_dies_of_a_signal() {
    for deaf_from in ["the start", "the header", "the contents"] {
        let yard = Yard::new();
        let contents = vec![b'x'; 300_000];
        let mut peer = Peer::sink(&yard, "-r", ".");
        if deaf_from != "the start" {
            peer.hears_ok();
        } else {
            peer.stops_listening();
        }
        peer.says("C0644 300000 a\n");
        if deaf_from == "the header" {
            peer.stops_listening();
        }
        peer.says(&contents);
        if deaf_from == "the contents" {
            peer.hears_ok().stops_listening();
        }
        peer.says_ok().hangs_up();
        if yard.openssh("dies of SIGPIPE when the client stops listening") {
            peer.sees_any_end();
            continue;
        }
        peer.sees_whatever_exit();
        yard.holds(["a"]);
        yard.has("a", &contents);
    }
}

// covers: security SQ-18, clients 2.11, peers 112
#[test]
fn a_client_that_left_after_its_first_file_has_that_file() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 1 a").hears_ok().stops_listening().says("1\0").hangs_up();
    if yard.openssh("dies of SIGPIPE when the client stops listening") {
        peer.sees_any_end();
        return;
    }
    peer.sees_whatever_exit();
    yard.has("a", "1");
}

// covers: peers 112, peers 111, clients 2.12
#[test]
fn a_source_whose_client_does_not_listen_ends_without_a_signal() {
    let Some(yard) = Yard::ours("dies of SIGPIPE") else {
        return;
    };
    yard.file("a", vec![b'x'; 300_000]);
    for deaf_from in ["the start", "the header", "the contents"] {
        let mut peer = Peer::source(&yard, "-p", ["a", "a"]);
        if deaf_from == "the start" {
            peer.stops_listening().says_ok().hangs_up().sees_exit(1);
            continue;
        }
        peer.says_ok().hears_line();
        if deaf_from == "the header" {
            peer.stops_listening().says_ok().hangs_up().sees_exit(1);
            continue;
        }
        peer.says_ok().hears_line();
        peer.says_ok().hears_exactly("xxx").stops_listening().hangs_up().sees_exit(1);
    }
}

// covers: security SRC-11, clients 2.12
#[test]
fn at_whatever_answer_a_clients_end_comes_the_source_ends_too() {
    let yard = Yard::new();
    yard.dir("d").file("d/a", "hello");
    for answers in 0..=6 {
        let mut peer = Peer::source(&yard, "-r -p", ["d"]);
        peer.says(vec![0; answers]).hangs_up();
        peer.hears_the_rest();
        peer.sees_exit(1);
    }
    let mut peer = Peer::source(&yard, "-r -p", ["d"]);
    peer.says([0; 7]).hangs_up().hears_the_rest();
    peer.sees_exit(0);
}
