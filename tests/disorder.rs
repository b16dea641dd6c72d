//! Records that are wrong in their form or in their place.

use crate::peer::Peer;
use crate::yard::Yard;

/// The beginnings by which clients know that the server has left (WinSCP among them).
const LAST_WORDS: [&str; 2] = ["protocol error: ", "error: unexpected filename: "];

const NINETEEN_DIGITS_TOO_MANY: &str = "9223372036854775808";

/// Says something to `scp -r -p -t t`, hears why that was the last of it, and asserts that nothing came of it.
///
/// `openssh` tells what OpenSSH does instead, if it does; what that leads to is not looked at.
#[track_caller]
fn ends_the_session(bytes: impl AsRef<[u8]>, openssh: &str) {
    let yard = Yard::new();
    yard.dir("t").file("t/old", "old").chmod("t", 0o751).times("t/old", 5, 6).times("t", 7, 8);
    let mut peer = Peer::sink(&yard, "-r -p", "t");
    peer.hears_ok().says(bytes.as_ref());
    if !openssh.is_empty() && yard.openssh(openssh) {
        let heard = String::from_utf8_lossy(&peer.hangs_up().hears_the_rest()).into_owned();
        peer.sees_any_end();
        let same = LAST_WORDS.iter().any(|words| heard.starts_with(&format!("\x01scp: {words}")));
        assert!(!same || yard.listing() != ["t/", "t/old"], "this is no difference: \"{heard}\"");
        return;
    }
    let heard = peer.hears_refusal();
    peer.sees_exit(1);
    assert!(LAST_WORDS.iter().any(|words| heard.starts_with(words)), "heard \"{heard}\"");
    yard.holds(["t/", "t/old"]);
    assert_eq!((yard.mode("t"), yard.stamps("t").0), (0o751, 7));
    yard.has("t/old", "old");
}

// covers: security CR-01, security CR-02, security CR-03, security CR-04, security CR-05, security CR-06
// covers: security CR-07, peers 86, clients 3.12, clients 2.8
#[test]
fn a_name_that_is_not_one_component_ends_the_session_and_nothing_is_written() {
    for name in ["../x", "/etc/x", "a/b", "", ".", "..", "/", "a/", "./x", "../../x", "..//", "t/../../x"] {
        for header in ["C0644 2 ", "D0777 0 "] {
            ends_the_session(format!("{header}{name}\nxx\0"), "");
        }
    }
}

// covers: security CR-15, peers 103
#[test]
fn a_nul_in_a_record_ends_the_session() {
    let truncates = "cuts a name at a NUL byte";
    for (bytes, openssh) in [
        (&b"C0644 2 a\0b\nxx\0"[..], truncates),
        (b"C0644 2 a\0\nxx\0", truncates),
        (b"D0755 0 a\0b\n", truncates),
        (b"C06\x0044 2 a\nxx\0", ""),
        (b"C0644 2\0 a\nxx\0", ""),
        (b"T1 0 1\0 0\n", ""),
        (b"E\0\n", "takes everything that begins with E for the end of a directory"),
    ] {
        ends_the_session(bytes, openssh);
    }
}

// covers: security CR-16, security CR-26, security CR-21, peers 102, peers 103, peers H-p
#[test]
fn a_header_that_is_not_mode_size_and_name_ends_the_session() {
    for header in [
        "C",
        "D",
        "C0648 2 a",
        "C 644 2 a",
        "C+644 2 a",
        "C-644 2 a",
        "C0x1ff 2 a",
        "C 2 a",
        "C0644",
        "C0644 ",
        "C0644 2",
        "D0755",
        "D0755 0",
        "C0644\t2 a",
        "C0644 -1 a",
        "C0644 +2 a",
        "C0644  2 a",
        "C0644  a",
        "C0644 0x10 a",
        "C0644 2\ta",
        "C0644 12x34 a",
        "C0644 1e3 a",
        "C0644 2.0 a",
        "C0644 \t2 a",
        "D0755 -1 a",
        "D0755 x a",
        "C0644 a",
        "C０６４４ 2 a",
    ] {
        ends_the_session(format!("{header}\nxx\0"), "");
    }
    ends_the_session("C0000000000644 2 a\nxx\0", "");
    ends_the_session(format!("C{} 2 a\nxx\0", "7".repeat(3000)), "");
}

// covers: security CR-23, peers 103
#[test]
fn a_size_beyond_what_a_file_can_have_ends_the_session() {
    for size in
        [NINETEEN_DIGITS_TOO_MANY, "18446744073709551615", "18446744073709551618", "99999999999999999999999"]
    {
        ends_the_session(format!("C0644 {size} a\n"), "");
        ends_the_session(format!("D0755 {size} a\n"), "");
    }
    ends_the_session(format!("C0644 {} a\n", "9".repeat(3000)), "");
}

// covers: security CR-26, security CR-27, peers 105
#[test]
fn times_that_are_not_four_numbers_end_the_session() {
    let lax = "takes signs, blanks and numbers that are too large in times";
    for (times, openssh) in [
        ("T", ""),
        ("T1", ""),
        ("T1 0", ""),
        ("T1 0 1", ""),
        ("T1 0 1 ", lax),
        ("T1 1000000 1 0", ""),
        ("T1 0 1 1000000", ""),
        ("T1 +0 1 0", lax),
        ("T1 0 1 -0", lax),
        ("T+1 0 1 0", ""),
        ("T1 0  1 0", ""),
        ("T1  0 1 0", lax),
        ("T1 0 1 0 ", ""),
        ("T1 0 1 0 0", ""),
        ("T1 0 1 0x", ""),
        ("T1\t0 1 0", ""),
        ("Tx 0 1 0", ""),
        ("T1 -1 1 0", ""),
        ("T1 0 9223372036854775808 0", lax),
        ("T9223372036854775808 0 1 0", lax),
        ("T18446744073709551617 0 1 0", lax),
        ("T1.5 0 1 0", ""),
    ] {
        ends_the_session(format!("{times}\nC0644 2 a\nxx\0"), openssh);
    }
}

// covers: security CR-29, security CR-30, peers 106, clients 2.17, clients 3.20
#[test]
fn what_is_no_record_at_all_ends_the_session() {
    let echoes = "sends back a first line that is no record, whatever is in it";
    for (bytes, openssh) in [
        (&b"Zabc\n"[..], echoes),
        (b"c0644 2 a\nxx\0", echoes),
        (b"e\n", echoes),
        (b"\0\0\n\r", echoes),
        (b"\x80\n", echoes),
        (b"\r\n", echoes),
        (b"\n", ""),
        (b" C0644 2 a\n", echoes),
        (b"SSH-2.0-x\nC0644 2 a\nxx\0", echoes),
        (b"Efoo\n", "takes everything that begins with E for the end of a directory"),
        (b"E \n", "takes everything that begins with E for the end of a directory"),
    ] {
        ends_the_session(bytes, openssh);
    }
}

// covers: clients 2.17, security CR-29
#[test]
fn a_line_that_begins_with_a_zero_byte_ends_the_session() {
    for surplus in ["\0\n", "\0\0\n\r"] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, "", ".");
        peer.hears_ok().stores("C0644 1 a", "1").says(surplus);
        assert!(peer.hears_refusal().starts_with("protocol error: "));
        peer.sees_exit(1);
        yard.holds(["a"]);
    }
}

// covers: security CR-10, peers 61
#[test]
fn a_name_too_long_for_the_file_system_is_refused_and_the_session_goes_on() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok();
    for header in [format!("C0644 2 {}", "x".repeat(256)), format!("D0755 0 {}", "x".repeat(300))] {
        peer.says_record(header);
        let heard = peer.hears_refusal();
        assert!(heard.ends_with(": File name too long"), "{heard}");
    }
    peer.stores("C0644 1 a", "1").hangs_up().sees_exit(1);
    yard.holds(["a"]);
}

// covers: security CR-11, security CR-12, peers 121
#[test]
fn a_line_has_at_most_4096_bytes_and_is_never_split() {
    for length in [4095, 4096] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, "", ".");
        let zeros = "0".repeat(length - "C0644 2 a\n".len());
        peer.hears_ok().says_record(format!("C0644 {zeros}2 a"));
        if yard.openssh("splits a line of more than 2047 bytes") {
            peer.hangs_up().hears_the_rest();
            peer.sees_exit(1);
            continue;
        }
        peer.hears_ok().says("xx\0").hears_ok().hangs_up().sees_exit(0);
        yard.has("a", "xx");
    }
    for length in [4097, 10_000] {
        let zeros = "0".repeat(length - "C0644 2 a\n".len());
        ends_the_session(format!("C0644 {zeros}2 a\nxx\0"), "");
        let name = "x".repeat(length - "C0644 2 \n".len());
        ends_the_session(format!("C0644 2 {name}\nxx\0"), "splits a line of more than 2047 bytes");
    }
}

// covers: security CR-13, peers 121
#[test]
fn a_line_without_an_end_ends_the_session() {
    ends_the_session(vec![b'C'; 1 << 20], "");
}

// covers: security CR-14
#[test]
fn the_tail_of_a_line_that_is_too_long_is_never_a_record() {
    for limit in [1024, 2047, 2048, 4095, 4096, 8192] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, "", ".");
        let name = "x".repeat(limit - "C0644 3 ".len());
        peer.hears_ok().says(format!("C0644 3 {name}C0644 3 evil\nabc\0")).hangs_up();
        peer.hears_the_rest();
        peer.sees_exit(1);
        if limit == 2047 && yard.openssh("splits a line of more than 2047 bytes") {
            continue;
        }
        yard.holds([]);
    }
}

// covers: security CR-32, security CR-31, peers H-i
#[test]
fn a_name_that_could_deceive_a_terminal_is_refused_in_a_root_and_the_session_goes_on() {
    let names = [
        "a\r",
        "a\x1b[2J",
        "\x07",
        "a\x7f",
        "a\tb",
        "a\u{9b}b",
        "a\u{202e}gpj.exe",
        "a\u{2028}b",
        "\u{2066}x",
        "\x02x",
    ];
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok();
    for name in names {
        if yard.unconfined() {
            yard.openssh("takes control characters in names, as scp-server does without --root");
            peer.stores(format!("C0644 1 {name}"), "1");
            assert!(yard.path(name).exists());
            continue;
        }
        peer.says_record(format!("C0644 1 {name}")).hears_refusal();
        peer.says_record(format!("D0755 0 {name}")).hears_refusal();
    }
    peer.stores("C0644 1 good", "1");
    peer.hangs_up().sees_exit(i32::from(!yard.unconfined()));
    if !yard.unconfined() {
        yard.holds(["good"]);
    }
}

// covers: security CR-25
#[test]
fn the_size_of_a_directory_means_nothing() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok()
        .says_record("D0755 4096 d")
        .hears_ok()
        .says_record("E")
        .hears_ok()
        .hangs_up()
        .sees_exit(0);
    yard.holds(["d/"]);
}

// covers: security SQ-08, peers H-o
#[test]
fn times_that_nothing_follows_end_the_session() {
    let forgets = "forgets times that no file or directory follows";
    for flags in ["-r", ""] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, flags, ".");
        peer.hears_ok().says_record("T1 0 1 0").hears_ok().says_record("E");
        if yard.openssh(forgets) {
            peer.hears_ok().sees_exit(0);
            continue;
        }
        assert!(peer.hears_refusal().starts_with("protocol error: "));
        peer.sees_exit(1);
    }
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().stores("C0644 1 a", "1").says_record("T1 0 1 0").hears_ok().hangs_up();
    peer.hears_the_rest();
    peer.sees_exit(if yard.openssh(forgets) { 0 } else { 1 });
    yard.holds(["a"]);
}

// covers: security SQ-11, clients 3.15, peers 113
#[test]
fn an_error_after_the_contents_discards_them_and_the_session_goes_on() {
    let yard = Yard::new();
    yard.file("a", "the old version");
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 a").hears_ok().says("new\x01C0644 4 evil\n");
    if !peer.hears_whether_ok() {
        peer.hears_refusal();
    }
    peer.hears_nothing().stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["a", "b"]);
    if !yard.openssh("keeps contents that the client says it could not read") {
        yard.has("a", "the old version");
    }
}

// covers: security SQ-12
#[test]
fn a_status_byte_that_is_none_ends_the_session_and_the_old_file_stays() {
    for status in ["X\n", "C0644 4 evil\nevil\0", "\n"] {
        let yard = Yard::new();
        yard.file("a", "the old version");
        let mut peer = Peer::sink(&yard, "", ".");
        peer.hears_ok().says_record("C0644 3 a").hears_ok().says("new").says(status);
        if yard.openssh("waits for the end of a line after a status byte that is none") {
            peer.hangs_up();
        }
        peer.hears_the_rest();
        peer.sees_exit(1);
        yard.holds(["a"]);
        if !yard.openssh("keeps contents after which the client's status is none") {
            yard.has("a", "the old version");
        }
    }
}

// covers: security SQ-13, clients 2.13, peers 108
#[test]
fn an_error_of_the_clients_between_records_is_counted_and_not_answered() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says("\x01scp: x: No such file or directory\n").hears_nothing();
    peer.stores("C0644 1 a", "1").says("\x01C0644 4 evil\n").hangs_up().sees_exit(1);
    yard.holds(["a"]);
}

// covers: security SQ-14, clients 2.13, peers 108
#[test]
fn a_client_that_gives_up_is_not_answered() {
    let yard = Yard::new();
    yard.file("a", "the old version");
    Peer::sink(&yard, "", ".").hears_ok().says("\x02scp: lost connection\n").sees_exit(1);
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 a").hears_ok().says("new\x02scp: it broke\n").sees_exit(1);
    if !yard.openssh("keeps contents after which the client gave up") {
        yard.has("a", "the old version");
    }
    yard.holds(["a"]);
}

// covers: security SQ-19, clients 2.16, clients 2.14
#[test]
fn more_bytes_than_announced_are_no_record() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 a").hears_ok().says("abcdef\n\0");
    peer.hears_the_rest();
    peer.sees_exit(1);
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 b").hears_ok().says("abc\0def\0\n").hears_ok().hears_the_rest();
    peer.sees_exit(1);
    yard.has("b", "abc");
}

// covers: clients 2.14, clients 3.20
#[test]
fn data_that_follow_a_refused_header_are_not_searched_for_records() {
    let yard = Yard::new();
    yard.dir("a");
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says("C0644 30 a\nsome text, then\nC0644 4 evil\nevil\0");
    peer.hears_refusal();
    peer.hears_the_rest();
    peer.sees_exit(1);
    yard.holds(["a/"]);
}
