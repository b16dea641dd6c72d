//! How many sessions an account has at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

const CROWDED: &str = "no more than 2 sessions at a time are allowed here";

fn server<'y>(yard: &'y Yard, text: &str) -> Option<Server<'y>> {
    Server::of(yard).configured(&format!("[default]\n{text}\n"))
}

/// A yard of an account without rights, whose root it may not even write.
fn read_only() -> Option<Yard> {
    let _ = Yard::confined()?;
    let yard = Yard::of_a_user()?;
    yard.file("a", "1");
    yard.chmod("", 0o555);
    Some(yard)
}

#[test]
fn an_account_has_as_many_sessions_as_it_may_have() {
    for yard in [Yard::confined(), read_only()] {
        let Some(yard) = yard else { return };
        yard.file("a", "1");
        let text = "max-sessions = 2";
        let Some(first) = server(&yard, text) else { return };
        let mut first = first.sink("", ".");
        first.hears_ok();
        let mut second = server(&yard, text).unwrap().source("", ["a"]);
        second.says_ok().hears_record("C0644 1 a");
        // Said before anything is: a source would wait for the client's word.
        let mut third = server(&yard, &format!("{text}\nlog = 'stderr'")).unwrap().source("", ["a"]);
        third.hears_that(CROWDED);
        let log = third.sees_stderr();
        assert!(log.contains(&format!("event=abort result=failed reason=\"{CROWDED}\"")), "{log}");
        third.sees_exit(1);
        let mut third = server(&yard, text).unwrap().asks("scp -t a");
        third.hears_that(CROWDED).sees_exit(1);
        // What nobody counts has a seat anyway.
        server(&yard, "").unwrap().sink("", ".").hears_ok().hangs_up().sees_exit(0);
        second.says_ok().hears_exactly("1\0").says_ok().sees_exit(0);
        server(&yard, text).unwrap().source("", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
        first.hangs_up().sees_exit(0);
    }
}

#[test]
fn however_a_session_ends_its_seat_is_free() {
    let Some(yard) = Yard::confined() else { return };
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGABRT] {
        let Some(first) = server(&yard, "max-sessions = 1") else { return };
        let mut first = first.sink("", ".");
        first.hears_ok().says_record("C0644 5 a").hears_ok();
        let mut second = server(&yard, "max-sessions = 1").unwrap().sink("", ".");
        second.hears_that(&CROWDED.replace('2', "1")).sees_exit(1);
        first.signals(signal).sees_any_end();
        let mut third = server(&yard, "max-sessions = 1").unwrap().sink("", ".");
        third.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    }
    let mut none = server(&yard, "max-sessions = 0").unwrap().sink("", ".");
    none.hears_that(&CROWDED.replace('2', "0")).sees_exit(1);
}

#[test]
fn accounts_do_not_take_each_others_seats() {
    let Some(mine) = Yard::confined() else { return };
    let Some(theirs) = Yard::of_a_user() else { return };
    let config = mine.home().join("shared.toml");
    fs::write(&config, "[default]\nmax-sessions = 1\n").unwrap();
    if theirs.user().is_none() {
        tally::skipped("no second account without root");
        return;
    }
    let session = |yard| Server::of(yard).option("--config").option(&config).sink("", ".");
    let mut one = session(&mine);
    one.hears_ok();
    let mut other = session(&theirs);
    other.hears_ok();
    for yard in [&mine, &theirs] {
        session(yard).hears_that(&CROWDED.replace('2', "1")).sees_exit(1);
    }
    one.hangs_up().sees_exit(0);
    other.hangs_up().sees_exit(0);
}

#[test]
fn of_twenty_who_come_together_no_more_stay_than_may() {
    let Some(yard) = Yard::confined() else { return };
    let gate = yard.home().join("gate");
    mkfifo(&gate, Mode::from_bits_truncate(0o600)).unwrap();
    let rounds = 5;
    for (limit, text) in [(5, "max-sessions = 5"), (1, "max-sessions = 1"), (20, "")] {
        let mut stayed = Vec::new();
        for _ in 0..rounds {
            let start = || {
                // All wait until somebody opens the other end.
                let server = server(&yard, text)?.after(&format!(": < {}", gate.display()));
                Some(server.sink("", "."))
            };
            let Some(mut peers) = (0..20).map(|_| start()).collect::<Option<Vec<Peer>>>() else { return };
            let opened = fs::OpenOptions::new().write(true).open(&gate).unwrap();
            let (mut seated, mut refused) = (Vec::new(), 0);
            for mut peer in peers.drain(..) {
                if peer.hears_whether_ok() {
                    seated.push(peer);
                } else {
                    peer.hears_that(&CROWDED.replace('2', &limit.to_string())).sees_exit(1);
                    refused += 1;
                }
            }
            drop(opened);
            // All of them are there at this moment.
            for peer in &mut seated {
                peer.stores("C0644 1 a", "1");
            }
            assert!(seated.len() <= limit, "{} of {limit}", seated.len());
            assert!(!seated.is_empty() && seated.len() + refused == 20);
            stayed.push(seated.len());
            for mut peer in seated {
                peer.hangs_up().sees_exit(0);
            }
        }
        tally::figure(&format!("of 20 who came together, {limit} being allowed, stayed {stayed:?}"));
        if limit == 20 {
            // The control: without a limit there are more than five at a time.
            assert_eq!(stayed, [20; 5]);
        }
    }
}

#[test]
fn without_a_place_to_count_nobody_is_served() {
    let Some(_) = Yard::confined() else { return };
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.user().is_none() {
        tally::skipped("permission bits count for nobody here");
        return;
    }
    let directory = yard.home().join("config");
    fs::create_dir(&directory).unwrap();
    let config = directory.join("c.toml");
    fs::write(&config, "[default]\nmax-sessions = 9\nlog = 'stderr'\n").unwrap();
    // The file in it can be read, its names cannot.
    for (mode, served) in [(0o711, false), (0o755, true)] {
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        let mut peer = Server::of(&yard).option("--config").option(&config).sink("", ".");
        if served {
            peer.hears_ok().hangs_up().sees_stderr();
            peer.sees_exit(0);
            continue;
        }
        peer.hears_that("this server is not set up as it has to be");
        let log = peer.sees_stderr();
        let why = format!("max-sessions needs locks on {}: Permission denied", directory.display());
        assert!(log.contains(&why), "{log}");
        peer.sees_exit(1);
    }
}

#[test]
fn a_seat_is_one_descriptor_more() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    let opened = |text: &str| {
        let mut peer = server(&yard, text)?.source("", ["a"]);
        peer.says_ok().hears_record("C0644 1 a");
        let mut files = peer.open_files();
        peer.says_ok().hears_exactly("1\0").says_ok().sees_exit(0);
        files.retain(|file| file.is_absolute());
        Some(files)
    };
    let (Some(without), Some(with)) = (opened(""), opened("max-sessions = 1")) else { return };
    let more: Vec<_> = with.iter().filter(|file| !without.contains(file)).collect();
    assert_eq!(more, [yard.home()]);
    assert_eq!(with.len(), without.len() + 1);
}
