//! What the log says: every field true, in every format, whatever a name holds, and with as many sessions as there are.

/// Logs that cannot be written, from the beginning or any more.
mod dead;
/// systemd's journal, and the system's log.
mod journal;
/// A log that other programs have read.
mod reader;
/// The log beside what the stock client did, through a real sshd.
mod sshd;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use nix::unistd::{User, getuid};

use crate::tally;
use crate::yard::Yard;
use reader::{Entry, FORMATS, can_read, log_of, logging, of, only, read, take};

/// Names that would be more than one line, another line, or something else than a line.
const HOSTILE: [&[u8]; 14] = [
    b"x\nNov 25 00:00:00 host sshd[1]: Accepted publickey for root",
    b"x\r\n{\"event\":\"store\"}",
    b"\x1b]0;title\x07\x1b[2J\x7f",
    b"c1 \xc2\x9b2J \xc2\x85",
    b"\x9b2J \xff\xfe invalid",
    "\u{202e}txt.exe\u{2066}\u{200f}".as_bytes(),
    "\u{2028}line\u{2029}paragraph".as_bytes(),
    b"quote\" event=end result=ok \"",
    b"back\\nslash \\x41 \\u{41} \\",
    b"%s%n%99999d",
    b" blanks  at both ends ",
    b"half a character \xe2\x80",
    "plain: \u{e9}\u{1f600}".as_bytes(),
    &[b'\xff'; 255],
];

fn account() -> String {
    User::from_uid(getuid()).unwrap().unwrap().name
}

// covers: peers 136
#[test]
fn every_field_of_an_upload_and_a_refusal_is_there_and_true() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    for format in ["line", "json"] {
        yard.file("old", "12345678").dir("d").dir("there");
        let mut peer = logging(&yard, format).sink("-r -p", ".");
        peer.hears_ok().says_record("D0755 0 d").hears_ok().stores("C0640 5 new", "hello").says_record("E");
        peer.hears_ok().says_record("D0700 0 made").hears_ok().says_record("E").hears_ok();
        peer.stores("C0604 3 old", "123").says_record(b"C0644 1 a\x1b").hears_refusal();
        peer.says("\x01scp: c: no such file\n").hangs_up();
        // Nothing of the log is on the wire or on the screen.
        peer.sees_exit(1);
        let found = take(format, &yard);
        let who = format!("user={} from=2001:db8::7 port=40000 protocol=scp direction=upload", account());
        for entry in &found {
            entry.says(&who);
            entry.says("key= rule= sha256=");
            assert_eq!(entry.text("session"), found[0].text("session"));
            assert_eq!(entry.text("session").len(), 16);
        }
        let begin = only(&found, "begin");
        begin.says("pipeline=off");
        assert_eq!(begin.text("request"), "-r -p -t .");
        only(&found, "enter").says("path=./d inside=d result=ok");
        only(&found, "mkdir").says("path=./made inside=made result=ok");
        let [new, old] = of(&found, "store").try_into().unwrap();
        new.says("path=./d/new inside=d/new bytes=5 mode=0640 replaced=no result=ok reason=");
        old.says("path=./old inside=old bytes=3 mode=0604 replaced=yes result=ok reason=");
        assert!(new.text("duration").parse::<f64>().unwrap() < 60.0);
        let refused = only(&found, "refuse");
        refused.says("result=refused inside= bytes=");
        assert_eq!(refused.bytes("path"), b"./a\x1b");
        assert_eq!(refused.text("reason"), "control characters in the name are not allowed");
        assert!(only(&found, "complaint").text("reason").ends_with("c: no such file"));
        let end = only(&found, "end");
        end.says("copied=4 refused=2 bytes=8 result=partial pipeline=off layers=limits,landlock,seccomp");
        assert_eq!(found.len(), 8, "{found:#?}");
        fs::remove_dir_all(yard.path("d")).unwrap();
        fs::remove_dir_all(yard.path("made")).unwrap();
        fs::remove_dir_all(yard.path("there")).unwrap();
    }
}

#[test]
fn every_field_of_a_download_is_there_and_true() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    yard.dir("d").file("d/a", "hello").chmod("d/a", 0o640).link("out", "../outside/secret").file("b", "");
    for format in ["line", "json"] {
        // The root's own spelling is understood too, and is not the path inside.
        let whole = yard.path("d/a");
        let mut peer = logging(&yard, format).source("", [whole.as_os_str(), "b".as_ref(), "out".as_ref()]);
        peer.says_ok().hears_file("C0640 5 a", "hello").hears_file("C0644 0 b", "").hears_refusal();
        peer.sees_exit(1);
        let found = take(format, &yard);
        let [a, b] = of(&found, "send").try_into().unwrap();
        a.says("inside=d/a bytes=5 mode=0640 result=ok replaced= direction=download from=2001:db8::7");
        assert_eq!(a.bytes("path"), whole.as_os_str().as_bytes());
        b.says("path=b inside=b bytes=0 mode=0644");
        only(&found, "security").says("path=out inside= result=refused");
        only(&found, "end").says("copied=2 refused=1 bytes=5 result=partial");
        assert_eq!(found.len(), 5, "{found:#?}");
    }
}

#[test]
fn a_file_that_is_not_whole_is_one_event_with_the_bytes_that_came_or_went() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    yard.file("old", "old").file("big", vec![b'x'; 8 << 20]);
    let mut peer = logging(&yard, "json").sink("", ".");
    peer.hears_ok().says_record("C0644 10 old").hears_ok().says("1234").hangs_up().hears_the_rest();
    peer.sees_exit(1);
    let found = take("json", &yard);
    only(&found, "incomplete").says("path=./old bytes=4 result=failed mode= replaced=yes");
    assert!(only(&found, "abort").text("reason").contains("protocol error"));
    only(&found, "abort").says("result=failed bytes=4 layers=limits,landlock,seccomp");
    yard.has("old", "old");

    // The sender's own word that it has failed: a refusal as well.
    let mut peer = logging(&yard, "json").sink("", ".");
    peer.hears_ok().says_record("C0644 2 old").hears_ok().says("12\x01read error\n").hears_refusal();
    peer.hangs_up().sees_exit(1);
    let found = take("json", &yard);
    only(&found, "incomplete").says("path=./old bytes=2 result=failed");
    only(&found, "refuse").says("path=./old");
    only(&found, "end").says("copied=0 refused=1 bytes=2");

    let mut peer = logging(&yard, "json").source("", ["big"]);
    peer.says_ok().hears_record("C0644 8388608 big").says_ok().hears_count(1000);
    peer.stops_listening().sees_exit(1);
    let found = take("json", &yard);
    let entry = only(&found, "incomplete");
    entry.says("path=big result=failed mode=0644");
    let sent: u64 = entry.text("bytes").parse().unwrap();
    assert!((1000..8 << 20).contains(&sent), "{sent}");
    only(&found, "abort").says("result=failed");
}

// covers: security LOG-01, security LOG-02, peers H-i
#[test]
fn hostile_names_are_read_back_byte_for_byte_from_every_format() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    for name in HOSTILE {
        yard.file(OsStr::from_bytes(name), "1");
    }
    let mut read_back = 0;
    for format in FORMATS {
        let mut peer = logging(&yard, format).source("-r", ["."]);
        peer.says([0; 100]).hears_the_rest();
        peer.sees_exit(0);
        let names =
            take(format, &yard).into_iter().filter(|entry| entry.has("bytes") && !entry.has("copied"));
        let found: BTreeSet<Vec<u8>> = names.map(|entry| entry.bytes("path").to_vec()).collect();
        let before: &[u8] = if format == "xferlog" { b"/" } else { b"./" };
        let expected: BTreeSet<Vec<u8>> = HOSTILE.map(|name| [before, name].concat()).into();
        assert_eq!(found, expected, "{format}");
        read_back += found.len();
        // Asked for, and refused.
        for name in HOSTILE.into_iter().filter(|name| !name.contains(&b'\n')) {
            let mut peer = logging(&yard, format).sink("", OsStr::from_bytes(&[b"none/", name].concat()));
            peer.hears_ok().says_record("C0644 1 x").hangs_up().hears_the_rest();
            peer.sees_exit(1);
            let found = take(format, &yard);
            if format != "xferlog" {
                assert_eq!(only(&found, "refuse").bytes("path"), [b"none/", name].concat());
                assert!(only(&found, "begin").bytes("request").ends_with(name));
                read_back += 2;
            }
        }
    }
    tally::figure(&format!("{read_back} hostile names and requests read back from logs, byte for byte"));
}

// covers: peers 135
#[test]
fn a_transfer_log_has_a_line_for_each_file_and_for_nothing_else() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let mut peer = logging(&yard, "xferlog").sink("-r", ".");
    peer.hears_ok()
        .says_record("D0755 0 d")
        .hears_ok()
        .stores("C0644 5 a b", "hello")
        .says_record("E")
        .hears_ok();
    peer.says_record("C0644 1 ..").hears_refusal();
    peer.sees_exit(1);
    let [file] = <[Entry; 1]>::try_from(take("xferlog", &yard)).unwrap();
    let user = account();
    file.says(&format!(
        "seconds=0 from=2001:db8::7 bytes=5 type=b action=_ direction=i access=r user={user}"
    ));
    file.says("protocol=scp method=0 id=* status=c");
    assert_eq!(file.bytes("path"), b"/d/a b");
    let mut peer = logging(&yard, "xferlog").source("-r", ["d", "absent"]);
    peer.says([0; 20]).hears_the_rest();
    peer.sees_exit(1);
    let [file] = <[Entry; 1]>::try_from(take("xferlog", &yard)).unwrap();
    file.says("bytes=5 direction=o status=c");
    let mut peer = logging(&yard, "xferlog").sink("", ".");
    peer.hears_ok().says_record("C0644 10 cut").hears_ok().says("1234").hangs_up().hears_the_rest();
    peer.sees_exit(1);
    let [file] = <[Entry; 1]>::try_from(take("xferlog", &yard)).unwrap();
    file.says("bytes=4 path=/cut direction=i status=i");
}

#[test]
fn the_checksum_is_that_of_what_came_or_was_sent() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let mut compared = 0;
    for size in [0_usize, 1, 4096, 65_535, 65_536, 300_001, 3 << 20] {
        let contents: Vec<u8> = (0..size).map(|place| (place * 7 + place / 251) as u8).collect();
        let summed = || logging(&yard, "json").option("--checksum").option("sha256");
        let mut peer = summed().sink("", ".");
        peer.hears_ok().stores(format!("C0644 {size} f"), &contents).hangs_up().sees_exit(0);
        let stored = only(&take("json", &yard), "store").text("sha256");
        let mut peer = summed().source("", ["f"]);
        peer.says_ok().hears_file(format!("C0644 {size} f"), &contents).sees_exit(0);
        let sent = only(&take("json", &yard), "send").text("sha256");
        let output = Command::new("sha256sum").arg(yard.path("f")).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap();
        assert_eq!((stored.as_str(), sent.as_str()), (&sum[..64], &sum[..64]), "{size} bytes");
        compared += 2;
    }
    tally::figure(&format!("{compared} checksums are those of sha256sum"));
}

#[test]
fn twenty_sessions_write_whole_lines_into_one_file() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    const FILES: usize = 50;
    for format in FORMATS {
        // A long name makes lines longer than a page, which a file system writes in pieces.
        let long = "n".repeat(255);
        let target = vec![long.as_str(); 15].join("/");
        fs::create_dir_all(yard.path(&target)).unwrap();
        thread::scope(|scope| {
            for number in 0..20 {
                let (yard, target) = (&yard, &target);
                scope.spawn(move || {
                    let mut peer = logging(yard, format).sink("", target);
                    peer.hears_ok();
                    for file in 0..FILES {
                        peer.stores(format!("C0644 1 {number}-{file}"), "x");
                    }
                    peer.hangs_up().sees_exit(0);
                });
            }
        });
        let found = take(format, &yard);
        let files = found.iter().filter(|entry| entry.text("bytes") == "1").count();
        assert_eq!(files, 20 * FILES, "{format}");
        if format != "xferlog" {
            let sessions: BTreeSet<String> = found.iter().map(|entry| entry.text("session")).collect();
            assert_eq!((sessions.len(), found.len()), (20, 20 * (FILES + 2)), "{format}");
        }
        tally::figure(&format!("20 sessions at once: {} whole lines of {format}", found.len()));
    }
}

#[test]
fn a_line_that_a_session_before_left_unfinished_is_not_continued() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    fs::write(log_of(&yard), "{\"event\":\"sto").unwrap();
    let mut peer = logging(&yard, "json").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    let log = fs::read_to_string(log_of(&yard)).unwrap();
    let (unfinished, rest) = log.split_once('\n').unwrap();
    assert_eq!(unfinished, "{\"event\":\"sto");
    fs::write(log_of(&yard), rest).unwrap();
    assert_eq!(take("json", &yard).len(), 3);
}

#[test]
fn a_log_that_is_rotated_by_renaming_is_written_to_its_end() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let mut peer = logging(&yard, "json").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1");
    let rotated = yard.home().join("log.1");
    fs::rename(log_of(&yard), &rotated).unwrap();
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    assert!(!log_of(&yard).exists());
    assert_eq!(of(&read("json", &rotated), "store").len(), 2);
    // And copied and truncated, it goes on at its beginning.
    let mut peer = logging(&yard, "json").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1");
    fs::OpenOptions::new().write(true).open(log_of(&yard)).unwrap().set_len(0).unwrap();
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    assert_eq!(fs::metadata(log_of(&yard)).unwrap().permissions().mode() & 0o777, 0o600);
    only(&take("json", &yard), "store").says("path=./b");
}

#[test]
fn a_value_too_long_is_cut_where_everybody_sees_it() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let request = [&b"scp -f "[..], &[b'\xff'; 60_000]].concat();
    for format in ["line", "json"] {
        let mut peer = logging(&yard, format).asks(&request);
        peer.says([0; 3]).hears_the_rest();
        peer.sees_exit(1);
        let found = take(format, &yard);
        let begin = only(&found, "begin");
        match format {
            "json" => {
                begin.says("cut=request");
                assert_eq!(begin.bytes("request"), &request[..4096]);
            }
            _ => assert!(begin.bytes("request") == [&request[..1024], b"..."].concat()),
        }
    }
}

#[test]
fn the_document_describes_the_events_and_keys_that_there_are() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md")).unwrap();
    let rows = |columns: usize| -> BTreeSet<&str> {
        let rows = document.lines().filter(|line| line.starts_with("| `"));
        let rows = rows.map(|line| line.split(" | ").collect::<Vec<_>>()).filter(|row| row.len() == columns);
        rows.map(|row| row[0].trim_start_matches("| `").split('`').next().unwrap()).collect()
    };
    let source =
        |file: &str| fs::read_to_string(format!("{}/src/audit/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = source("event.rs");
    let words =
        text.lines().filter(|line| line.contains("=> \"")).map(|line| line.split('"').nth(1).unwrap());
    assert_eq!(rows(3), words.collect::<BTreeSet<_>>());
    // Keys stand in the source as the first argument of what adds a field.
    let text = source("fields.rs");
    let mut keys: BTreeSet<&str> = ["word", "text", "number", "seconds", "push"]
        .iter()
        .flat_map(|adds| text.split(&format!("{adds}(\"")).skip(1).collect::<Vec<_>>())
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    keys.extend(["time", "pid", "cut", "path_hex"]);
    assert_eq!(rows(4), keys);
}
