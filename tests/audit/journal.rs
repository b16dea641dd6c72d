//! systemd's journal, and the system's log.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use super::reader::{Entry, can_read, log_of, of, only, read, to};
use super::{HOSTILE, account};
use crate::mounts;
use crate::tally;
use crate::yard::Yard;

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Takes an entry of the native protocol apart: `KEY=value` and a line feed, or `KEY`, a line feed, the length in eight
/// bytes, the value and a line feed.
fn decode(mut datagram: &[u8]) -> Entry {
    let mut pairs = Vec::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|&byte| byte == b'\n').expect("each field has an end");
        let line = &datagram[..end];
        datagram = &datagram[end + 1..];
        let (key, value) = match line.iter().position(|&byte| byte == b'=') {
            Some(sign) => (&line[..sign], line[sign + 1..].to_vec()),
            None => {
                let (length, rest) = datagram.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                let value = rest[..length].to_vec();
                assert_eq!(rest[length], b'\n');
                datagram = &rest[length + 1..];
                (line, value)
            }
        };
        let letter = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        assert!(key.iter().all(letter) && key[0].is_ascii_uppercase(), "{}", key.escape_ascii());
        pairs.push((String::from_utf8(key.to_vec()).unwrap(), value));
    }
    Entry::new(pairs)
}

/// Stores a file, asks for a hostile name, and has a request cut.
fn plays(yard: &Yard, log: &str, before: &str) {
    let starts = || {
        let server = to(yard, log).option("--sandbox").option("require").option("--audit").option("require");
        server.option("--checksum").option("sha256").with_mounts(before)
    };
    let mut peer = starts().sink("", ".");
    peer.hears_ok().stores("C0644 5 a=b c", "hello").hangs_up().sees_exit(0);
    for name in HOSTILE {
        use std::os::unix::ffi::OsStrExt;
        let mut peer = starts().source("", [std::ffi::OsStr::from_bytes(name)]);
        peer.says_ok().hears_the_rest();
        peer.sees_exit(1);
    }
    let mut peer = starts().asks([&b"scp -f "[..], &[b'\xff'; 60_000]].concat());
    peer.says([0; 3]).hears_the_rest();
    peer.sees_exit(1);
}

#[test]
fn the_journal_gets_each_value_in_a_field_of_its_own() {
    let Some(yard) = Yard::confined() else { return };
    if !mounts::can_mount() {
        return;
    }
    let socket = yard.home().join("run/systemd/journal/socket");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let journal = UnixDatagram::bind(&socket).unwrap();
    let reading = std::thread::spawn(move || {
        let (mut entries, mut datagram) = (Vec::new(), vec![0; 1 << 20]);
        journal.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        while entries.len() < 3 + 3 * HOSTILE.len() + 3 {
            let length = journal.recv(&mut datagram).unwrap();
            assert!(length <= 64 * 1024);
            entries.push(decode(&datagram[..length]));
        }
        entries
    });
    plays(&yard, "journal", &format!("mount --bind '{}' /run", yard.home().join("run").display()));
    let entries = reading.join().unwrap();
    let of =
        |event: &str| entries.iter().filter(|entry| entry.text("SCP_EVENT") == event).collect::<Vec<_>>();
    let [stored] = of("store").try_into().unwrap();
    stored.says(
        "SYSLOG_FACILITY=4 SYSLOG_IDENTIFIER=scp-server PRIORITY=6 SCP_BYTES=5 SCP_MODE=0644 SCP_PORT=40000",
    );
    stored.says(&format!("SCP_USER={} SCP_FROM=2001:db8::7 SCP_DIRECTION=upload SCP_RESULT=ok", account()));
    stored.says("SCP_SHA256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!(stored.bytes("SCP_PATH"), b"./a=b c");
    assert!(stored.text("MESSAGE").contains("event=store"));
    let refused = of("refuse");
    assert_eq!(refused.len(), HOSTILE.len() + 1);
    for entry in &entries {
        for key in entry.keys() {
            assert!(entry.bytes(key).utf8_chunks().all(|chunk| chunk.invalid().is_empty()), "{key}");
            assert!(!entry.bytes(key).iter().any(u8::is_ascii_control), "{key} of {entry:?}");
        }
    }
    only_warnings(&refused);
    assert!(of("begin").last().unwrap().text("SCP_REQUEST").ends_with("..."));
}

fn only_warnings(entries: &[&Entry]) {
    entries.iter().for_each(|entry| entry.says("PRIORITY=4 SCP_RESULT=refused"));
}

/// A real journald, in a mount namespace of its own; `journalctl` there says what has come.
#[test]
fn a_real_journald_finds_an_event_by_its_fields() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    if !mounts::can_mount() {
        return;
    }
    if !Path::new(JOURNALD).exists() {
        return tally::skipped("no systemd-journald");
    }
    // Its sockets are made by itself; what it reads of the kernel's log is not asked for.
    let script = r#"
        set -e
        mount -t tmpfs none /run
        mkdir -p /run/log/journal "$1/dev"
        "$2" 2> /dev/null > /dev/null &
        journald=$!
        trap 'kill $journald' EXIT
        for turn in $(seq 200); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
        ln -s /run/systemd/journal/dev-log "$1/dev/log"
        say() {
            printf 'C0644 5 a\302\205b \377\n' |
                "$3" --root "$1/root" --sandbox require --audit require --log "$4" --log-format "$5" -t none/x ||
                true
            printf 'C0644 5 a b\nhello\0' |
                "$3" --root "$1/root" --sandbox require --audit require --log "$4" --log-format "$5" -t .
        }
        say "$1" "" "$3" journal json > /dev/null
        mount --bind "$1/dev" /dev
        say "$1" "" "$3" syslog line > /proc/self/fd/1
        umount /dev
        journalctl --sync
        journalctl --no-pager -o json SCP_EVENT=store > "$1/stored"
        journalctl --no-pager -o json SCP_EVENT=refuse > "$1/refused"
        journalctl --no-pager -o cat _TRANSPORT=syslog SYSLOG_IDENTIFIER=scp-server > "$1/pairs"
    "#;
    let output = Command::new("timeout")
        .args(["60", "unshare", "--mount", "/bin/sh", "-c", script, "sh"])
        .arg(yard.home())
        .arg(JOURNALD)
        .arg(env!("CARGO_BIN_EXE_scp-server"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    yard.has("a b", "hello");
    let found = |file: &str| fs::read_to_string(yard.home().join(file)).unwrap();
    let stored = found("stored");
    assert_eq!(stored.lines().count(), 1, "{stored}");
    for part in [r#""SCP_PATH":"./a b""#, r#""SCP_BYTES":"5""#, r#""SCP_INSIDE":"a b""#, r#""PRIORITY":"6""#]
    {
        assert!(stored.contains(part), "{part} in {stored}");
    }
    assert_eq!(found("refused").lines().count(), 1);
    let pairs = read("pairs", &yard.home().join("pairs"));
    only(&pairs, "store").says("bytes=5 result=ok");
    assert_eq!((of(&pairs, "begin").len(), of(&pairs, "refuse").len(), of(&pairs, "end").len()), (2, 1, 2));
    tally::figure("a real journald was asked for fields, and for what came by its syslog socket");
    let _ = fs::remove_file(log_of(&yard));
}

// covers: security LOG-01, security LOG-02
#[test]
fn the_system_log_gets_no_line_that_it_would_cut() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    if !mounts::can_mount() {
        return;
    }
    fs::create_dir(yard.home().join("dev")).unwrap();
    let daemon = UnixDatagram::bind(yard.home().join("dev/log")).unwrap();
    daemon.set_nonblocking(true).unwrap();
    let deep = [b'\xff'; 250].repeat(16);
    let mut longest = 0;
    for format in ["line", "json"] {
        let mount = format!("mount --bind '{}' /dev", yard.home().join("dev").display());
        let server = to(&yard, "syslog").option("--log-format").option(format).with_mounts(&mount);
        let mut peer = server.asks([&b"scp -f "[..], &deep, b" /", &deep].concat());
        peer.says([0; 3]).hears_the_rest();
        peer.sees_exit(1);
        let (mut lines, mut datagram) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(length) = daemon.recv(&mut datagram) {
            longest = longest.max(length);
            let line = String::from_utf8(datagram[..length].to_vec()).unwrap();
            let (head, text) = line.split_once("]: ").unwrap();
            assert!(head.starts_with('<') && head.contains(" scp-server["), "{head}");
            lines.push(text.to_owned());
        }
        fs::write(log_of(&yard), lines.join("\n")).unwrap();
        let found = read(if format == "line" { "pairs" } else { format }, &log_of(&yard));
        assert_eq!((found.len(), of(&found, "refuse").len()), (4, 2), "{found:#?}");
    }
    assert!((4000..=8000).contains(&longest), "{longest}");
    tally::figure(&format!("the longest event that syslog was given had {longest} bytes"));
}
