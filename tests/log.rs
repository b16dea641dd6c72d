//! The administrator's log: one line per event that nobody can forge, and no transfer that waits for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use crate::mounts;
use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// Names and texts that would be more than one line, another line, or something else than a line.
const NASTY: [&[u8]; 9] = [
    b"x\rNov 25 00:00:00 host sshd[1]: Accepted publickey for root",
    b"\x1b]0;title\x07\x1b[2J",
    b"\x9b2J",
    "\u{202e}txt.exe".as_bytes(),
    b"\xff\xfe invalid",
    b"quote\" event=end copied=1 refused=0",
    b"back\\nslash",
    b"%s%n%99999d",
    &[b'y'; 255],
];

fn logging<'y>(yard: &'y Yard) -> Server<'y> {
    let server = Server::of(yard).option("--log").option(yard.home().join("log"));
    server.variable("SSH_CONNECTION", "192.0.2.7 40000 192.0.2.1 22")
}

/// Takes the log, and asserts that each line is printable ASCII, says who, and has one event.
#[track_caller]
fn lines(yard: &Yard) -> Vec<String> {
    let path = yard.home().join("log");
    let log = fs::read(&path).unwrap();
    assert!(log.ends_with(b"\n"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(&path).unwrap();
    let log = String::from_utf8(log).expect("ASCII");
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    for line in &lines {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        assert!(line.len() < 1500, "{} bytes: {line}", line.len());
        let (_, message) = line.split_once(" scp-server[").unwrap_or_else(|| panic!("{line}"));
        let (_, message) = message.split_once("]: ").unwrap();
        let (session, message) = message.strip_prefix("session=").unwrap().split_once(' ').unwrap();
        assert!(session.len() == 16 && session.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line}");
        let who = format!("user=\"{me}\" from=\"192.0.2.7\" port=40000 protocol=scp ");
        assert!(message.starts_with(&who), "{line}");
        assert_eq!(outside_of_quotes(message).matches("event=").count(), 1, "{line}");
    }
    lines
}

/// Leaves out what stands in quotes.
fn outside_of_quotes(line: &str) -> String {
    let (mut quoted, mut escaped, mut left) = (false, false, String::new());
    for letter in line.chars() {
        match letter {
            '"' if !escaped => quoted = !quoted,
            _ if !quoted => left.push(letter),
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    assert!(!quoted, "a quote without an end: {line}");
    left
}

fn of<'l>(lines: &'l [String], event: &str) -> Vec<&'l String> {
    lines.iter().filter(|line| outside_of_quotes(line).contains(&format!("event={event}"))).collect()
}

// covers: security LOG-01, peers H-w, peers 98
#[test]
fn whatever_a_name_holds_an_event_is_one_line_that_only_we_could_write() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = logging(&yard).sink("-r", ".");
    peer.hears_ok();
    let mut stored = 0;
    for name in NASTY {
        peer.says_record([b"C0644 1 ", name].concat());
        if peer.hears_whether_ok() {
            stored += 1;
            peer.says("x\0").hears_ok();
        } else {
            peer.hears_refusal();
        }
    }
    peer.hangs_up().sees_exit(1);
    let found = lines(&yard);
    assert_eq!((of(&found, "begin").len(), of(&found, "end").len()), (1, 1), "{found:#?}");
    assert_eq!(of(&found, "store").len(), stored, "{found:#?}");
    assert_eq!(of(&found, "refuse").len(), NASTY.len() - stored, "{found:#?}");
    assert!(found.iter().any(|line| line.contains(r"\x9b2J")));

    let mut peer = logging(&yard).source("-r", ["."]);
    peer.says([0; 200]).hears_the_rest();
    peer.sees_exit(0);
    assert_eq!(of(&lines(&yard), "send").len(), stored);
}

// covers: security LOG-02
#[test]
fn what_the_client_asks_for_complains_of_or_makes_up_is_a_line_like_any_other() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    for name in NASTY {
        // The path argument.
        let line = [b"scp -f '", name, b"'"].concat();
        let mut peer = logging(&yard).asks(&line);
        peer.says([0; 3]).hears_the_rest();
        peer.sees_exit(1);
        let found = lines(&yard);
        assert_eq!((of(&found, "begin").len(), of(&found, "refuse").len()), (1, 1), "{found:#?}");
        // The client's own complaint, to a sink and to a source.
        let complaint = [b"\x01", name, b"\n"].concat();
        let mut peer = logging(&yard).sink("", ".");
        peer.hears_ok().says(&complaint).hangs_up().sees_exit(1);
        assert_eq!(of(&lines(&yard), "complaint").len(), 1);
        let mut peer = logging(&yard).source("", ["a"]);
        peer.says_ok().hears_record("C0644 1 a").says(&complaint).hangs_up().hears_the_rest();
        peer.sees_exit(1);
        assert_eq!(of(&lines(&yard), "complaint").len(), 1);
        // No record at all, and no request.
        let mut peer = logging(&yard).sink("", ".");
        peer.hears_ok().says_record([b"Z", name].concat()).hears_refusal();
        peer.sees_exit(1);
        assert_eq!(of(&lines(&yard), "abort").len(), 1);
        let mut peer = logging(&yard).asks([b"id '", name, b"'"].concat());
        peer.sees_stderr();
        peer.sees_exit(1);
        assert_eq!(of(&lines(&yard), "reject").len(), 1);
    }
    // Longer than a line may be.
    let mut peer = logging(&yard).asks([&b"scp -f "[..], &[b'z'; 60_000]].concat());
    peer.says([0; 3]).hears_the_rest();
    peer.sees_exit(1);
    assert!(of(&lines(&yard), "begin")[0].contains("..."));
}

// covers: security LOG-05
#[test]
fn an_attempt_to_get_out_is_one_security_event_with_account_address_and_path() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("out", "../outside/d").link("up", "..").file("a", "1");
    let attempts: [(&str, &[&str], &str); 6] = [
        ("-r", &["-f", "out/inner"], r#"path="out/inner""#),
        ("-r", &["-f", "../outside/secret"], r#"path="../outside/secret""#),
        ("-r", &["-t", "up/outside"], r#"path="up/outside""#),
        ("-r", &["-f", "a", "up/\x1b[2J", "a"], r#"path="up/\x1b[2J""#),
        ("-p", &["-t", "out/new"], r#"path="out/new""#),
        ("-d", &["-t", "up/outside"], r#"path="up/outside""#),
    ];
    for (flag, words, path) in attempts {
        let mut peer = logging(&yard).runs([&[flag], words].concat());
        let says = if words[0] == "-t" { "C0644 1 inner\n" } else { "\0\0\0\0\0\0" };
        peer.says(says).hangs_up().hears_the_rest();
        peer.sees_exit(1);
        let found = lines(&yard);
        let events = of(&found, "security");
        assert!(events.len() == 1 && events[0].contains(path), "{words:?}: {found:#?}");
        assert!(events[0].contains("from=\"192.0.2.7\""), "{words:?}: {found:#?}");
    }
    // A directory record through a link is one as well; a name that is only absent is none.
    let mut peer = logging(&yard).sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 out").hears_refusal();
    peer.hangs_up().sees_exit(1);
    assert_eq!(of(&lines(&yard), "security").len(), 1);
    let mut peer = logging(&yard).source("", ["absent"]);
    peer.says_ok().hears_refusal();
    peer.sees_exit(1);
    assert_eq!(of(&lines(&yard), "security").len(), 0);
}

// covers: security LOG-04
#[test]
fn contents_are_in_no_line_and_no_line_is_on_the_wire() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "what is in the file");
    let mut peer = logging(&yard).sink("", ".");
    peer.hears_ok().stores("C0644 7 b", "opaque\n").says_record("C0644 6 c").hears_ok().says("opaque");
    peer.says("\x01no more\n").hears_refusal();
    peer.hangs_up().sees_exit(1);
    let mut peer = logging(&yard).source("", ["a"]);
    peer.says_ok().hears_file("C0644 19 a", "what is in the file").sees_exit(0);
    let found = lines(&yard).concat();
    assert!(!found.contains("opaque") && !found.contains("what is in the file"), "{found}");
}

// covers: security LOG-03
#[test]
fn a_log_file_that_cannot_be_written_stops_no_transfer() {
    let Some(yard) = Yard::confined() else { return };
    for log in ["/nowhere/at/all", "/dev/full", "/", "/proc/version"] {
        let mut peer = Server::of(&yard).option("--log").option(log).sink("", ".");
        peer.hears_ok().stores("C0644 1 a", "1").says_record("C0644 1 ..").hears_refusal();
        peer.sees_exit(1);
        Server::of(&yard)
            .option("--log")
            .option(log)
            .source("", ["a"])
            .says_ok()
            .hears_file("C0644 1 a", "1")
            .sees_exit(0);
    }
}

/// The program, in whose /dev there is nothing but what the yard's `dev` holds.
fn with_the_yards_log<'y>(yard: &'y Yard) -> Server<'y> {
    let dev = yard.home().join("dev");
    if !dev.exists() {
        fs::create_dir(&dev).unwrap();
    }
    let server = Server::of(yard).with_mounts(&format!("mount --bind '{}' /dev", dev.display()));
    server.option("--log").option("syslog").option("--sandbox").option("try")
}

/// Stores files, so many that no queue has room for a line about each.
fn stores_many(peer: &mut Peer) {
    for number in 0..1500 {
        peer.stores(format!("C0644 1 {}", number % 10), "x");
    }
}

// covers: security LOG-03
#[test]
fn a_system_log_that_is_missing_full_or_restarted_stops_no_transfer() {
    let Some(yard) = Yard::confined() else { return };
    if !mounts::can_mount() {
        return;
    }
    let socket = yard.home().join("dev/log");
    // Missing.
    let mut peer = with_the_yards_log(&yard).sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    // Not a socket, and one that nobody holds.
    fs::write(&socket, "").unwrap();
    let mut peer = with_the_yards_log(&yard).sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    fs::remove_file(&socket).unwrap();
    drop(UnixDatagram::bind(&socket).unwrap());
    let mut peer = with_the_yards_log(&yard).sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    fs::remove_file(&socket).unwrap();
    // Full: nobody reads.
    let log = UnixDatagram::bind(&socket).unwrap();
    let mut peer = with_the_yards_log(&yard).sink("", ".");
    peer.hears_ok();
    stores_many(&mut peer);
    log.set_nonblocking(true).unwrap();
    let mut line = [0; 4096];
    let (mut lines, mut last) = (0, String::new());
    while let Ok(length) = log.recv(&mut line) {
        last = line[..length].escape_ascii().to_string();
        assert!(last.starts_with('<') && last.contains("event="), "{last}");
        lines += 1;
    }
    tally::figure(&format!("{lines} of 1501 lines had room in the system's log"));
    assert!((1..1500).contains(&lines), "{lines} lines, the last: {last}");
    // There is room again, and then it is restarted.
    peer.stores("C0644 1 heard", "x");
    let length = log.recv(&mut line).unwrap();
    assert!(line[..length].windows(5).any(|part| part == b"heard"));
    drop(log);
    peer.stores("C0644 1 b", "x");
    fs::remove_file(&socket).unwrap();
    let log = UnixDatagram::bind(&socket).unwrap();
    peer.stores("C0644 1 c", "x").hangs_up().sees_exit(0);
    drop(log);
    yard.has("c", "x");
}
