//! Patterns, braces and `~` in the client's command line, which no shell has seen.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::peer::Peer;
use crate::yard::Yard;

/// Has everything sent that a command line asks for, and returns the files' and directories' names in order.
fn sent(yard: &Yard, line: &str) -> Vec<String> {
    let mut peer = Peer::asks(yard, line);
    let heard = peer.says([0; 400]).hangs_up().hears_the_rest();
    peer.sees_exit(0);
    names(&heard)
}

/// Picks the names out of what a source says: its files are empty, or hold no line feed.
fn names(heard: &[u8]) -> Vec<String> {
    let text = heard.escape_ascii().to_string();
    let records = text.split("\\n").map(|line| line.rsplit("\\x00").next().unwrap());
    records
        .filter(|record| record.starts_with('C') || record.starts_with('D'))
        .map(|record| record.splitn(3, ' ').nth(2).unwrap().to_owned())
        .collect()
}

/// The one refusal that is the answer to a command line.
fn refused(yard: &Yard, line: &str) -> String {
    let mut peer = Peer::asks(yard, line);
    peer.says_ok();
    let heard = peer.hears_refusal();
    peer.sees_exit(1);
    heard
}

fn yard_of(names: &[&str]) -> Yard {
    let yard = Yard::new();
    for name in names {
        match name.strip_suffix('/') {
            Some(name) => yard.dir(name),
            None => yard.file(name, ""),
        };
    }
    yard
}

// covers: peers 48, peers 49, security CMD-09
#[test]
fn a_pattern_stands_for_the_names_it_matches_in_their_order() {
    let yard =
        yard_of(&["b.txt", "a.txt", "c.log", "ab", ".hidden.txt", "d/", "d/x.txt", "d/y.txt", "[", "é"]);
    for (pattern, expected) in [
        ("*.txt", &["a.txt", "b.txt"][..]),
        ("*.log", &["c.log"]),
        ("?.txt", &["a.txt", "b.txt"]),
        ("[ac].*", &["a.txt", "c.log"]),
        ("[!a].txt", &["b.txt"]),
        ("[a-b].txt", &["a.txt", "b.txt"]),
        ("[[:alpha:]].log", &["c.log"]),
        (".*.txt", &[".hidden.txt"]),
        ("d/*", &["x.txt", "y.txt"]),
        ("*/x.txt", &["x.txt"]),
        ("d/../*.log", &["c.log"]),
        ("./a*", &["a.txt", "ab"]),
        ("a\\b", &["ab"]),
        ("*.log c.log", &["c.log", "c.log"]),
    ] {
        assert_eq!(sent(&yard, &format!("scp -f {pattern}")), expected, "{pattern}");
    }
}

// covers: peers 50, security CMD-09
#[test]
fn a_pattern_that_matches_nothing_is_a_name_that_is_not_there() {
    let yard = yard_of(&["a"]);
    for pattern in ["*.txt", "b*", "nothing/*", "[b]", "[", "[!a]", "a/*", "?.?"] {
        assert_eq!(refused(&yard, &format!("scp -f {pattern}")).split(": ").next(), Some(pattern));
    }
}

// covers: peers 51, security CMD-09, security CMD-03
#[test]
fn a_quoted_pattern_is_a_name_and_so_is_one_that_is_there_itself() {
    let yard = yard_of(&["*", "a", "[b]", "b?", "x[1]/", "x[1]/f", "a$b", "{a,b}"]);
    for (line, expected) in [
        ("'*'", &["*"][..]),
        ("\"*\"", &["*"]),
        ("\\*", &["*"]),
        ("'[b]'", &["[b]"]),
        ("b\\?", &["b?"]),
        ("[b]", &["[b]"]),
        ("x[1]/f", &["f"]),
        ("'a$b'", &["a$b"]),
        ("a\\$b", &["a$b"]),
        ("'{a,b}'", &["{a,b}"]),
        ("x'[1]'/*", &["f"]),
    ] {
        assert_eq!(sent(&yard, &format!("scp -f {line}")), expected, "{line}");
    }
}

// covers: peers 52, peers 40, security CMD-09
#[test]
fn a_pattern_with_r_sends_files_and_directories() {
    let yard = yard_of(&["a1", "a2/", "a2/x", "b"]);
    assert_eq!(sent(&yard, "scp -r -f a*"), ["a1", "a2", "x"]);
    let mut peer = Peer::asks(&yard, "scp -f a*");
    peer.says_ok().hears_file("C0644 0 a1", "").hears_that("a2: not a regular file").sees_exit(1);
}

// covers: security CMD-09, peers H-i
#[test]
fn a_name_that_a_pattern_matches_is_never_an_option_nor_taken_apart() {
    let yard = yard_of(&["-r", "-S", "two words", "a;b", "$(id)", "'", "x/", "x/f"]);
    if yard.openssh("takes a name that the shell put in the place of a pattern for an option") {
        return;
    }
    let mut peer = Peer::asks(&yard, "scp -f *");
    peer.says([0; 100]).hangs_up();
    let heard = peer.hears_the_rest();
    peer.sees_exit(1);
    assert_eq!(names(&heard), ["$(id)", "\\'", "-S", "-r", "a;b", "two words"]);
}

// covers: security CMD-09, peers 90
#[test]
fn a_pattern_never_leaves_the_root() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").link("out", "../outside").link("d/up", "../..").link("etc", "/etc").file("d/f", "");
    for pattern in [
        "../*",
        "../outside/*",
        "/etc/*",
        "/e*/passwd",
        "out/*",
        "etc/pass*",
        "d/../../*",
        "d/up/*",
        "d/up/outside/*",
        "*/secret",
        "o*/secret",
        "../o*/secret",
        "../../*",
    ] {
        assert_eq!(
            refused(&yard, &format!("scp -r -f {pattern}")),
            format!("{pattern}: No such file or directory")
        );
    }
    assert_eq!(sent(&yard, "scp -f /d/f*"), ["f"]);
    assert_eq!(sent(&yard, "scp -f /*/f"), ["f"]);
}

// covers: security CMD-09, clients 2.2, security SQ-23
#[test]
fn a_pattern_for_a_target_has_to_match_one_name() {
    let yard = yard_of(&["one/", "two/", "two2/"]);
    Peer::asks(&yard, "scp -t o*").hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.has("one/a", "1");
    Peer::asks(&yard, "scp -t tw*").hears_that("ambiguous target").sees_exit(1);
    Peer::asks(&yard, "scp -t x*").hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.has("x*", "1");
}

// covers: security CMD-09
#[test]
fn braces_stand_for_their_alternatives_whether_they_are_there_or_not() {
    let Some(yard) = Yard::ours("braces are the shell's affair, and dash has none") else {
        return;
    };
    yard.file("a.txt", "")
        .file("b.txt", "")
        .file("a.log", "")
        .dir("d")
        .file("d/x", "")
        .file("{", "")
        .file("{}", "");
    for (line, expected) in [
        ("{b,a}.txt", &["b.txt", "a.txt"][..]),
        ("{a.{txt,log},d/x}", &["a.txt", "a.log", "x"]),
        ("{,d/}x", &["x"]),
        ("{a}.txt", &[]),
        ("{", &["{"]),
        ("{}", &["{}"]),
        ("{a,b}*.txt", &["a.txt", "b.txt"]),
    ] {
        let mut peer = Peer::asks(&yard, format!("scp -f {line}"));
        let heard = peer.says([0; 100]).hangs_up().hears_the_rest();
        let complete = !heard.contains(&1);
        peer.sees_exit(i32::from(!complete));
        assert_eq!(names(&heard), expected, "{line}");
    }
}

// covers: security CMD-09
#[test]
fn a_tilde_is_where_a_session_starts() {
    let Some(yard) = Yard::not_in_place_of_scp() else {
        return;
    };
    yard.dir("d").file("d/a", "").file("~", "").file("a~", "");
    for (line, expected) in [("~/d/a", "a"), ("'~'", "~"), ("\\~", "~"), ("a~", "a~"), ("~/d/*", "a")] {
        assert_eq!(sent(&yard, &format!("scp -f {line}")), [expected], "{line}");
    }
    Peer::asks(&yard, "scp -t ~/d").hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    yard.has("d/b", "1");
    if yard.openssh("has the shell put another account's home in the place of ~account") {
        return;
    }
    assert_eq!(refused(&yard, "scp -f ~root/x"), "~root/x: No such file or directory");
}

// covers: security CMD-09, clients 2.8
#[test]
fn names_that_are_not_text_are_matched_byte_by_byte() {
    let yard = Yard::new();
    yard.file(OsStr::from_bytes(b"a\xff"), "");
    assert_eq!(sent(&yard, "scp -f a*"), ["a\\xff"]);
}

// covers: security CMD-09, security SRC-14, peers 119
#[test]
fn many_matches_are_all_sent() {
    let yard = Yard::new();
    for number in 0..2000 {
        yard.file(format!("{number:04}"), "");
    }
    let mut peer = Peer::asks(&yard, "scp -f *");
    let heard = peer.says([0; 4001]).hangs_up().hears_the_rest();
    peer.sees_exit(0);
    assert!(names(&heard).into_iter().eq((0..2000).map(|number| format!("{number:04}"))));
}

// covers: security CMD-09, security SRC-06
#[test]
fn patterns_over_links_in_a_circle_come_to_an_end() {
    let yard = yard_of(&["d/", "d/f"]);
    yard.link("d/loop", ".");
    let heard = sent(&yard, "scp -f */*/*/*/*/*/f");
    assert_eq!(heard, ["f"]);
}
