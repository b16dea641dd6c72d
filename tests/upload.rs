//! `scp -t`: single files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

const ABSENT: &str = "No such file or directory";

// covers: peers 1, peers 10, clients 2.15
#[test]
fn a_file_is_stored_under_a_new_name() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", "new");
    peer.hears_ok().stores("C0644 5 whatever", "hello");
    peer.hangs_up().sees_exit(0);
    yard.holds(["new"]);
    yard.has("new", "hello");
}

/// "Text file busy" is what execve(2) says of a program that somebody has open for writing.
#[test]
fn a_program_can_be_executed_by_whoever_has_just_heard_that_it_is_there() {
    let is_busy = |program: &Path| match Command::new(program).status() {
        Ok(status) => {
            assert!(status.success(), "{status}");
            false
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(nix::libc::ETXTBSY), "{error}");
            true
        }
    };
    let yard = Yard::new();
    let program = std::fs::read("/bin/true").unwrap();
    let record = |name: &str| format!("C0755 {} {name}", program.len());
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok();
    let busy = (0..200).filter(|number| {
        let name = format!("program-{number}");
        peer.stores(record(&name), &program);
        is_busy(&yard.path(&name))
    });
    assert_eq!(busy.count(), 0);
    peer.hangs_up().sees_exit(0);
    // It would have been noticed.
    let program = yard.path("program-0");
    let writer = File::options().append(true).open(&program).unwrap();
    assert!(is_busy(&program));
    drop(writer);
}

// covers: peers 8, peers 9, peers 11, peers 23, peers 62
#[test]
fn a_file_goes_into_a_directory_under_its_own_name_however_the_directory_is_spelled() {
    for target in ["d", "d/", "./d", ".//d///", "d/.", "d/../d", "e/../d//", "././d/./"] {
        let yard = Yard::new();
        yard.dir("d").dir("e");
        let mut peer = Peer::sink(&yard, "", target);
        peer.hears_ok().stores("C0644 1 a", "1").stores("C0644 1 b", "2");
        peer.hangs_up().sees_exit(0);
        yard.holds(["d/", "d/a", "d/b", "e/"]);
        yard.has("d/a", "1");
        yard.has("d/b", "2");
    }
}

// covers: peers 9, peers 11, peers 23
#[test]
fn a_target_in_a_directory_or_the_root_itself_can_be_named() {
    for (target, stored) in [("d/x", "d/x"), ("d///x", "d/x"), (".", "a"), ("./", "a"), ("./x", "x")] {
        let yard = Yard::new();
        yard.dir("d");
        let mut peer = Peer::sink(&yard, "", target);
        peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        yard.has(stored, "1");
    }
}

// covers: peers 3, clients 2.15
#[test]
fn an_empty_file_is_its_header_and_a_status_byte() {
    let yard = Yard::new();
    yard.file("old", "something");
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().stores("C0644 0 new", "").stores("C0644 0 old", "");
    peer.hangs_up().sees_exit(0);
    yard.has("new", "");
    yard.has("old", "");
}

// covers: peers 5, peers 20, clients 2.15
#[test]
fn contents_of_every_awkward_size_arrive_whole() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok();
    let sizes = [1, 4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 131_072, 1_048_577];
    for size in sizes {
        let contents = noise(size);
        peer.says_record(format!("C0644 {size} {size}")).hears_ok();
        // Half of them with the status byte in the same packet as the last data.
        match size % 2 {
            0 => peer.says(&contents).says_ok(),
            _ => peer.says([&contents[..], b"\0"].concat()),
        };
        peer.hears_ok();
    }
    peer.hangs_up().sees_exit(0);
    for size in sizes {
        yard.has(size.to_string(), noise(size));
    }
}

/// Bytes without a pattern that a buffer's size could hide in, control bytes and line feeds among them.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

// covers: peers 7, peers 21, peers 22, clients 2.8, security CR-08, security CR-09, security CR-31, security CR-33
// covers: security CR-34, security PT-23, peers 53, peers 60, peers H-i, peers 109
#[test]
fn a_name_is_taken_byte_for_byte() {
    let longest = [b'x'; 255];
    let names: [&[u8]; 28] = [
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"name",
        b"NAME",
        b"...",
        b"..a",
        b" a",
        b"-rf",
        b"~",
        b"*",
        b"a b ",
        b"with blanks",
        b"C:\\dir\\file",
        b"a\\^Jb",
        b"a\\nb",
        b"\xff\xfe",
        b"\xc0\xae\xc0\xae",
        b"gr\xfcn",
        "．．".as_bytes(),
        "grün 文件".as_bytes(),
        b"%s%n",
        b"$(id)",
        b"`id`",
        b"a;b",
        b"'",
        b"\"",
        b".scp-",
        &longest,
    ];
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok();
    for name in names {
        peer.stores([b"C0644 3 ", name].concat(), "abc");
    }
    peer.hangs_up().sees_exit(0);
    assert_eq!(yard.listing().len(), names.len());
    for name in names {
        yard.has(OsStr::from_bytes(name), "abc");
    }
}

// covers: peers 16, peers 17, security SQ-21
#[test]
fn a_shorter_file_leaves_no_tail_of_a_longer_one_and_the_last_of_two_wins() {
    let yard = Yard::new();
    yard.file("a", "a much longer old version");
    let mut peer = Peer::sink(&yard, "", "a");
    peer.hears_ok().stores("C0644 5 x", "first").stores("C0644 3 y", "2nd");
    peer.hangs_up().sees_exit(0);
    yard.holds(["a"]);
    yard.has("a", "2nd");
}

// covers: security SQ-20
#[test]
fn of_two_files_with_one_name_the_last_is_kept() {
    let yard = Yard::new();
    yard.dir("d");
    let mut peer = Peer::sink(&yard, "", "d");
    peer.hears_ok().stores("C0644 5 a", "first").stores("C0644 3 a", "2nd");
    peer.hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a"]);
    yard.has("d/a", "2nd");
}

// covers: peers 36, peers 142, clients 3.10, clients 2.14
#[test]
fn a_file_for_a_directory_that_is_not_there_is_refused_with_its_header() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", "missing/x");
    peer.hears_ok().says_record("C0644 3 x").hears_that(&format!("missing/x: {ABSENT}"));
    peer.hangs_up().sees_exit(1);
    yard.holds([]);
}

// covers: security SQ-22, peers 38, peers 39, peers 116, clients 3.12
#[test]
fn a_target_that_must_be_a_directory_and_is_not_is_refused_before_the_first_acknowledgement() {
    for (target, why) in [("file", "Not a directory"), ("missing", ABSENT)] {
        let yard = Yard::new();
        yard.file("file", "old");
        let mut peer = Peer::sink(&yard, "-d", target);
        peer.hears_that(&format!("{target}: {why}")).sees_exit(1);
        yard.holds(["file"]);
        yard.has("file", "old");
    }
}

// covers: clients 2.1
#[test]
fn a_target_that_must_be_a_directory_and_is_one_is_stored_into() {
    let yard = Yard::new();
    yard.dir("d");
    let mut peer = Peer::sink(&yard, "-d", "d");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a"]);
}

// covers: peers 46, clients 2.14, peers 110, security PT-19
#[test]
fn a_file_does_not_replace_a_directory_and_the_session_goes_on() {
    let yard = Yard::new();
    yard.dir("a").file("a/inner", "here");
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 a");
    assert!(peer.hears_refusal().ends_with("a: Is a directory"));
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["a/", "a/inner", "b"]);
}

// covers: peers H-k, security PT-15
#[test]
fn the_other_name_of_a_replaced_file_keeps_the_old_contents() {
    let mut yard = Yard::new();
    yard.hard_link(yard.outside("secret"), "a");
    yard.looks_outside_again();
    let inode = yard.stat("a").ino();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().stores("C0644 3 a", "new").hangs_up().sees_exit(0);
    yard.has("a", "new");
    if yard.openssh("writes into the old file, whatever other names it has") || yard.unconfined() {
        assert_eq!(yard.stat("a").ino(), inode);
        yard.gives_up_outside();
        return;
    }
    assert_eq!(std::fs::read(yard.outside("secret")).unwrap(), b"the secret\n");
    // The canary has lost a name: the rest of it is as before.
    yard.gives_up_outside();
}

// covers: peers H-a, peers 96
#[test]
fn the_old_version_is_whole_until_the_new_one_is() {
    let yard = Yard::new();
    yard.file("a", "the old version");
    let mut reader = File::open(yard.path("a")).unwrap();
    let mut peer = Peer::sink(&yard, "", "a");
    peer.hears_ok().says_record("C0644 8 a").hears_ok().says("half").hears_nothing();
    if yard.openssh("writes into the old file: a reader meanwhile sees new and old contents mixed") {
        peer.says("half\0").hears_ok().hangs_up().sees_exit(0);
        return;
    }
    yard.has("a", "the old version");
    peer.says("half\0").hears_ok().hangs_up().sees_exit(0);
    yard.has("a", "halfhalf");
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "the old version");
}

// covers: peers 110
#[test]
fn a_new_file_has_no_name_until_it_is_whole() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", "a");
    peer.hears_ok().says_record("C0644 8 a").hears_ok().says("half").hears_nothing();
    let visible = yard.path("a").exists();
    peer.says("half\0").hears_ok().hangs_up().sees_exit(0);
    yard.has("a", "halfhalf");
    if !yard.openssh("gives a file its name before its contents are there") {
        assert!(!visible);
    }
}

// covers: peers H-g
#[test]
fn a_program_that_is_running_can_be_replaced() {
    let yard = Yard::new();
    // Copied by another program: a descriptor of ours, open for writing while a test beside this one forks, makes it busy.
    assert!(Command::new("cp").arg("/bin/sleep").arg(yard.path("program")).status().unwrap().success());
    let mut running = Command::new(yard.path("program")).arg("60").spawn().unwrap();
    let mut peer = Peer::sink(&yard, "", "program");
    peer.hears_ok().says_record("C0755 3 program");
    if yard.openssh("cannot replace a program that is running: Text file busy") {
        peer.hears_that("program: Text file busy").hangs_up().sees_exit(1);
    } else {
        peer.hears_ok().says("new\0").hears_ok().hangs_up().sees_exit(0);
        yard.has("program", "new");
    }
    running.kill().unwrap();
    running.wait().unwrap();
}

// covers: security PT-21
#[test]
fn a_read_only_file_is_replaced_in_a_root_and_refused_in_place_of_scp() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.file("a", "old").chmod("a", 0o444);
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 3 a");
    if yard.unconfined() {
        yard.openssh("refuses to replace a file that is read-only, as scp-server does without --root");
        assert!(peer.hears_refusal().ends_with("a: Permission denied"));
        peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
        yard.has("a", "old");
        return;
    }
    peer.hears_ok().says("new\0").hears_ok().hangs_up().sees_exit(0);
    yard.has("a", "new");
    assert_eq!(yard.mode("a"), 0o444);
}

// covers: security PT-21, clients 3.10
#[test]
fn a_directory_that_cannot_be_written_is_refused_with_the_header_and_the_session_stays_in_step() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.dir("d").chmod("d", 0o555);
    for target in ["d", "d/a"] {
        let mut peer = Peer::sink(&yard, "", target);
        peer.hears_ok();
        for _ in 0..2 {
            peer.says_record("C0644 3 a");
            assert!(peer.hears_refusal().ends_with("d/a: Permission denied"));
        }
        peer.hangs_up().sees_exit(1);
    }
    yard.holds(["d/"]);
}

// covers: security SQ-20, security PT-25
#[test]
fn a_name_of_the_form_of_our_temporaries_is_refused_and_what_has_it_is_left_alone() {
    let Some(yard) = Yard::confined() else { return };
    let name = ".scp-0123456789abcdef";
    yard.file(name, "another session's");
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record(format!("C0644 3 {name}")).hears_refusal();
    peer.says_record(format!("D0755 0 {name}")).hears_refusal();
    peer.stores("C0644 1 .scp-0123456789abcde", "1").stores("C0644 1 .scp-0123456789abcdef0", "2");
    peer.hangs_up().sees_exit(1);
    yard.has(name, "another session's");
    let mut peer = Peer::sink(&yard, "", name);
    let heard = peer.hangs_up().hears_the_rest();
    // Refused at once, or acknowledged and never asked for anything: nothing is written in either case.
    peer.sees_exit(if heard == b"\0" { 0 } else { 1 });
    yard.has(name, "another session's");
    std::fs::remove_file(yard.path(name)).unwrap();
}

// covers: security PT-25
#[test]
fn the_temporary_of_an_upload_cannot_be_named_as_a_target() {
    let Some(yard) = Yard::confined() else { return };
    let mut slow = Peer::sink(&yard, "", "a");
    slow.hears_ok().says_record("C0644 8 a").hears_ok().says("half").hears_nothing();
    let listing = yard.listing();
    let [name] = listing.as_slice() else { panic!("one temporary, not {listing:?}") };
    let mut peer = Peer::sink(&yard, "", name);
    let heard = peer.says("C0644 4 a\nevil\0").hangs_up().hears_the_rest();
    peer.sees_exit(1);
    assert!(heard.ends_with(b"\n"), "{}", heard.escape_ascii());
    slow.says("half\0").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["a"]);
    yard.has("a", "halfhalf");
}

// covers: clients 3.8
#[test]
fn after_one_file_the_sink_waits_for_the_next_until_the_client_hangs_up() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", "a");
    peer.hears_ok().stores("C0644 1 a", "1").hears_nothing();
    peer.stores("C0644 1 a", "2").hears_nothing();
    peer.hangs_up().sees_exit(0);
    yard.has("a", "2");
}

// covers: clients 3.2, clients 3.18
#[test]
fn each_reply_is_one_write() {
    let yard = Yard::new();
    yard.dir("taken");
    let mut peer = Server::of(&yard).whose_writes_are_seen().sink("-r", ".");
    peer.hears_at_once(b"\0");
    peer.says_record("C0644 1 a").hears_at_once(b"\0");
    peer.says("1\0").hears_at_once(b"\0");
    peer.says_record("D0755 0 d").hears_at_once(b"\0");
    peer.says_record("E").hears_at_once(b"\0");
    peer.says_record("C0644 1 taken").hears_at_once("\x01scp: ./taken: Is a directory\n");
    peer.hangs_up().sees_exit(1);
}

// covers: security CR-25, security CR-24
#[test]
fn a_size_may_have_leading_zeros() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().stores("C0644 0000002 a", "ab").hangs_up().sees_exit(0);
    yard.has("a", "ab");
}

// covers: clients 2.2, security SQ-23, clients 3.12
#[test]
fn two_targets_or_none_are_ambiguous() {
    for targets in [&["a", "b"][..], &[]] {
        let yard = Yard::new();
        let mut peer = Server::of(&yard).runs(["-t"].iter().chain(targets));
        peer.hears_that("ambiguous target").sees_exit(1);
        yard.holds([]);
    }
}
