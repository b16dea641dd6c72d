//! Logs that cannot be written, from the beginning or any more: under `try` nobody notices, under `require` nothing is
//! served that is not on record.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::reader::{can_read, log_of, of, only, read, to};
use crate::file_systems::mounted::{memory, where_there_is};
use crate::mounts;
use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

const UNRECORDED: &str = "this server cannot keep its record";

fn audited<'y>(yard: &'y Yard, log: &Path, audit: &str) -> Server<'y> {
    to(yard, log).option("--audit").option(audit).option("--sandbox").option("require")
}

/// Asserts that nothing is served that cannot be put on record, neither way.
#[track_caller]
fn refuses(starts: impl Fn(&str) -> Server<'static>, yard: &Yard) {
    starts("require").sink("", ".").hears_that(UNRECORDED).sees_exit(1);
    yard.holds(["there"]);
    let mut peer = starts("require").source("", ["there"]);
    peer.says_ok().hears_that(UNRECORDED).sees_exit(1);
}

/// Asserts that transfers are as ever, both ways.
#[track_caller]
fn serves(starts: impl Fn(&str) -> Server<'static>, yard: &Yard) {
    let mut peer = starts("try").sink("", ".");
    peer.hears_ok().stores("C0644 3 new", "new").says_record("C0644 1 ..").hears_refusal();
    peer.sees_exit(1);
    yard.has("new", "new");
    fs::remove_file(yard.path("new")).unwrap();
    starts("try").source("", ["there"]).says_ok().hears_file("C0644 5 there", "there").sees_exit(0);
}

/// A yard for as long as the tests run, so that ways to start a server in it can be handed on.
fn yard() -> Option<&'static Yard> {
    Yard::confined().map(|yard| {
        yard.file("there", "there");
        &*Box::leak(Box::new(yard))
    })
}

/// Looks at a leaked yard as its end would.
fn ends(yard: &'static Yard) {
    yard.assert_outside_unchanged();
    yard.holds(["there"]);
    fs::remove_dir_all(yard.home()).unwrap();
}

fn fifo(yard: &Yard, name: &str) -> std::path::PathBuf {
    let path = yard.home().join(name);
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    path
}

/// Opens a FIFO's reading end, which does not wait for the other one.
fn reader(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).unwrap()
}

// covers: security LOG-03, peers H-w
#[test]
fn a_log_that_is_dead_from_the_beginning_stops_nothing_or_everything() {
    let Some(yard) = yard() else { return };
    // A file that may not grow any more: RLIMIT_FSIZE counts for a log as well.
    let long = yard.home().join("long");
    fs::write(&long, vec![b'\n'; 1 << 20]).unwrap();
    let unread = fifo(yard, "unread");
    let full = fifo(yard, "full");
    let full_end = reader(&full);
    let mut filler = OpenOptions::new();
    let mut filler = filler.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&full).unwrap();
    while std::io::Write::write(&mut filler, &[b'x'; 4096]).is_ok() {}
    let stderr = Path::new("stderr");
    let cases: [(&str, &Path, &'static str); 9] = [
        ("a directory that is not there", Path::new("/nowhere/at/all"), ":"),
        ("a directory", Path::new("/"), ":"),
        ("a file that takes nothing", Path::new("/proc/version"), ":"),
        ("a full device", Path::new("/dev/full"), ":"),
        ("a file at its limit", &long, "ulimit -f 512"),
        ("a FIFO without a reader", &unread, ":"),
        ("a FIFO without room", &full, ":"),
        ("a standard error that takes nothing", stderr, "2> /dev/full"),
        ("a standard error without room", stderr, "2>> ../full"),
    ];
    let mut held = 0;
    for (what, log, before) in cases {
        println!("{what}");
        let starts = |audit: &str| {
            let server = audited(yard, log, audit);
            if log == stderr { server.with_streams(before) } else { server.after(before) }
        };
        serves(starts, yard);
        if what.ends_with("without room") {
            // Waited for, so one way is enough.
            starts("require").sink("", ".").hears_that(UNRECORDED).sees_exit(1);
        } else {
            refuses(starts, yard);
        }
        held += 1;
    }
    // Required, and none chosen.
    let starts = |audit: &str| Server::of(yard).option("--audit").option(audit);
    serves(starts, yard);
    refuses(starts, yard);
    drop((full_end, filler));
    tally::figure(&format!("{} logs that are dead from the beginning, with try and with require", held + 1));
    ends(yard);
}

#[test]
fn a_log_that_the_account_may_not_write_is_dead() {
    let Some(yard) = Yard::of_a_user().filter(|yard| !yard.unconfined()) else { return };
    fs::write(log_of(&yard), "").unwrap();
    fs::set_permissions(log_of(&yard), Permissions::from_mode(0o400)).unwrap();
    if yard.user().is_none() {
        return tally::skipped("whoever runs the tests owns the log");
    }
    audited(&yard, &log_of(&yard), "require").sink("", ".").hears_that(UNRECORDED).sees_exit(1);
    let mut peer = audited(&yard, &log_of(&yard), "try").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
}

/// Goes on after the log has died: under `try` as if nothing were, under `require` to the next answer.
#[track_caller]
fn goes_on(peer: &mut Peer, audit: &str) {
    if audit == "try" {
        peer.stores("C0644 1 b", "b").stores("C0644 1 c", "c").hangs_up().sees_exit(0);
    } else {
        peer.says_record("C0644 1 b").hears_ok().says("b\0").hears_that(UNRECORDED).sees_exit(1);
    }
}

// covers: security LOG-03, peers H-w
#[test]
fn a_log_that_dies_in_the_middle_ends_a_session_only_where_it_is_required() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let log = fifo(&yard, "fifo");
    for audit in ["try", "require"] {
        let mut end = reader(&log);
        let mut peer = audited(&yard, &log, audit).sink("", ".");
        peer.hears_ok().stores("C0644 1 a", "a");
        // What was acknowledged is on record.
        let mut read = vec![0; 64 * 1024];
        let length = end.read(&mut read).unwrap();
        fs::write(log_of(&yard), &read[..length]).unwrap();
        only(&self::read("line", &log_of(&yard)), "store").says("path=./a");
        drop(end);
        goes_on(&mut peer, audit);

        // A refusal is an event, too; and a directory.
        for record in ["C0644 1 \x1b", "D0755 0 d"] {
            let end = reader(&log);
            let mut peer = audited(&yard, &log, audit).sink("-r", ".");
            peer.hears_ok();
            drop(end);
            peer.says_record(record);
            match (audit, record) {
                ("require", _) => peer.hears_that(UNRECORDED).sees_exit(1),
                (_, "D0755 0 d") => peer.hears_ok().says_record("E").hears_ok().hangs_up().sees_exit(0),
                _ => {
                    peer.hears_refusal();
                    peer.hangs_up().sees_exit(1)
                }
            };
        }

        // A source: the file whose event is lost is the last one that is sent.
        let end = reader(&log);
        let mut peer = audited(&yard, &log, audit).source("", ["a", "a"]);
        peer.says_ok().hears_file("C0644 1 a", "a").hears_record("C0644 1 a");
        drop(end);
        peer.says_ok();
        if audit == "try" {
            peer.hears_exactly("a\0").says_ok().sees_exit(0);
        } else {
            peer.hears_exactly("a\0").hears_that(UNRECORDED).sees_exit(1);
        }
    }
}

// covers: security LOG-03
#[test]
fn a_required_log_that_is_slow_loses_nothing_and_one_that_stands_still_ends_the_session() {
    let Some(yard) = Yard::confined().filter(|_| can_read()) else { return };
    let log = fifo(&yard, "fifo");
    let mut end = reader(&log);
    // Two pages, so that some lines fill it.
    fcntl(end.as_fd(), FcntlArg::F_SETPIPE_SZ(8192)).unwrap();
    let slow = thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            match end.read(&mut piece) {
                Ok(0) if all.is_empty() => {}
                Ok(0) => return all,
                Ok(length) => all.extend(&piece[..length]),
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    let mut peer = audited(&yard, &log, "require").sink("", ".");
    peer.hears_ok();
    for file in 0..200 {
        peer.stores(format!("C0644 1 {file}"), "x");
    }
    peer.hangs_up().sees_exit(0);
    fs::write(log_of(&yard), slow.join().unwrap()).unwrap();
    let found = read("line", &log_of(&yard));
    assert_eq!((of(&found, "store").len(), of(&found, "end").len()), (200, 1));

    let end = reader(&log);
    fcntl(end.as_fd(), FcntlArg::F_SETPIPE_SZ(8192)).unwrap();
    let mut peer = audited(&yard, &log, "require").sink("", ".");
    peer.hears_ok();
    let mut stored = 0;
    loop {
        peer.says_record("C0644 1 still").hears_ok().says("x\0");
        if !peer.hears_whether_ok() {
            break;
        }
        stored += 1;
    }
    peer.hears_that(UNRECORDED).sees_exit(1);
    assert!((1..200).contains(&stored), "{stored}");
}

// covers: security LOG-03, peers H-w
#[test]
fn a_full_disk_is_survived_by_transfers_and_by_the_log() {
    if !can_read() {
        return;
    }
    for (format, audit) in [("json", "try"), ("line", "try"), ("json", "require")] {
        let disk = |yard: &Yard| yard.home().join("disk");
        where_there_is(
            |yard| {
                fs::create_dir(disk(yard)).unwrap();
                memory(&disk(yard), "size=64k")
            },
            |yard, _| goes_on_beside_a_full_disk(yard, &disk(yard), format, audit),
        );
    }
}

fn goes_on_beside_a_full_disk(yard: &Yard, disk: &Path, format: &str, audit: &str) {
    fs::write(disk.join("filler"), [0; 57_344]).unwrap();
    let mut peer =
        audited(yard, &disk.join("log"), audit).option("--log-format").option(format).sink("", ".");
    peer.hears_ok();
    let mut stored = 0;
    while stored < 200 {
        peer.says_record(format!("C0644 1 {}", stored % 10)).hears_ok().says("x\0");
        if !peer.hears_whether_ok() {
            break;
        }
        stored += 1;
    }
    let keep = |part: &[u8]| fs::write(log_of(yard), part).unwrap();
    let log = fs::read(disk.join("log")).unwrap();
    let whole = log.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    keep(&log[..whole]);
    let found = of(&read(format, &log_of(yard)), "store").len();
    tally::figure(&format!(
        "{format}, {audit}: the disk was full after {found} lines, {stored} files stored"
    ));
    if audit == "require" {
        // Not one file was acknowledged that is not on record.
        assert!(stored < 200 && found == stored, "{found} on record, {stored} acknowledged");
        peer.hears_that(UNRECORDED).sees_exit(1);
        return;
    }
    assert!(stored == 200 && (1..200).contains(&found), "{found} of {stored} on record");
    // There is room again.
    fs::remove_file(disk.join("filler")).unwrap();
    peer.stores("C0644 1 after", "x");
    let log = fs::read(disk.join("log")).unwrap();
    keep(&log[whole..][log[whole..].iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1)..]);
    // The line that has no end is one by itself.
    let after = if log.len() > whole { read(format, &log_of(yard)) } else { Vec::new() };
    only(&after, "store").says("path=./after");
    peer.hangs_up().sees_exit(0);
}

// covers: security LOG-03
#[test]
fn a_daemon_that_is_missing_dies_or_stands_still_is_a_dead_log() {
    let Some(yard) = Yard::confined() else { return };
    if !mounts::can_mount() {
        return;
    }
    for (log, below, socket) in [("syslog", "/dev", "log"), ("journal", "/run", "systemd/journal/socket")] {
        let place = yard.home().join(log);
        let socket = place.join(socket);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let mount = format!("mount --bind '{}' {below}", place.display());
        let starts = |audit: &str| audited(&yard, Path::new(log), audit).with_mounts(&mount);
        let stores_one = || {
            let mut peer = starts("try").sink("", ".");
            peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        };
        // Missing; not a socket; one that nobody holds.
        for state in ["missing", "a file", "left"] {
            match state {
                "a file" => fs::write(&socket, "").unwrap(),
                "left" => drop(UnixDatagram::bind(&socket).unwrap()),
                _ => {}
            }
            stores_one();
            starts("require").sink("", ".").hears_that(UNRECORDED).sees_exit(1);
            let _ = fs::remove_file(&socket);
        }
        // It goes in the middle, and another one comes: of that this session knows nothing.
        for audit in ["try", "require"] {
            let daemon = UnixDatagram::bind(&socket).unwrap();
            let mut peer = starts(audit).sink("", ".");
            peer.hears_ok().stores("C0644 1 a", "a");
            drop(daemon);
            fs::remove_file(&socket).unwrap();
            let daemon = UnixDatagram::bind(&socket).unwrap();
            goes_on(&mut peer, audit);
            drop(daemon);
            fs::remove_file(&socket).unwrap();
        }
        // It stands still.
        let daemon = UnixDatagram::bind(&socket).unwrap();
        let mut peer = starts("try").sink("", ".");
        peer.hears_ok();
        for _ in 0..1500 {
            peer.stores("C0644 1 a", "a");
        }
        peer.hangs_up().sees_exit(0);
        starts("require").sink("", ".").hears_that(UNRECORDED).sees_exit(1);
        drop(daemon);
    }
}
