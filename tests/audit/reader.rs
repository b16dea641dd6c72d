//! A log that other programs have read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// What the program calls its own formats.
pub const FORMATS: [&str; 3] = ["line", "json", "xferlog"];

/// An event: keys and the bytes of their values.
#[derive(Clone, Debug)]
pub struct Entry(BTreeMap<String, Vec<u8>>);

impl Entry {
    /// Makes an entry of keys and values.
    pub fn new(pairs: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Returns a value, or an empty text if there is none.
    pub fn text(&self, key: &str) -> String {
        self.bytes(key).escape_ascii().to_string()
    }

    /// Returns the bytes of a value.
    pub fn bytes(&self, key: &str) -> &[u8] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Tells whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns all keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Asserts values: `path=a bytes=3 mode=` (the last one is not there).
    #[track_caller]
    pub fn says(&self, values: &str) {
        for pair in values.split_whitespace() {
            let (key, value) = pair.split_once('=').unwrap();
            assert_eq!(self.text(key), value, "{key} of {self:?}");
            assert_eq!(self.has(key), !value.is_empty(), "{key} of {self:?}");
        }
    }
}

/// Returns where the log of a yard is.
pub fn log_of(yard: &Yard) -> PathBuf {
    yard.home().join("log")
}

/// The program, logging to a file in the yard, for a client of whom sshd tells.
pub fn logging<'y>(yard: &'y Yard, format: &str) -> Server<'y> {
    to(yard, log_of(yard)).option("--log-format").option(format)
}

/// The program, logging somewhere.
pub fn to<'y>(yard: &'y Yard, destination: impl AsRef<Path>) -> Server<'y> {
    let server = Server::of(yard).option("--log").option(destination.as_ref());
    server.variable("SSH_CONNECTION", "2001:db8::7 40000 2001:db8::1 22")
}

/// Tells whether there is somebody to read logs.
pub fn can_read() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        tally::skipped("no python3 to read logs");
    }
    there
}

/// Reads a log in one of the formats, or `pairs`: lines without a date.
#[track_caller]
pub fn read(format: &str, log: &Path) -> Vec<Entry> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");
    let output = Command::new("python3")
        .args(["-c", include_str!("reader.py"), format])
        .args([log, Path::new(document)])
        .output()
        .unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{format}: {wrong}");
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |pair: &str| {
        let (key, hex) = pair.split_once('=').unwrap();
        (key.to_owned(), bytes(hex))
    };
    text.lines().map(|line| Entry::new(line.split(' ').map(pair))).collect()
}

/// Reads the yard's log, and takes it away.
#[track_caller]
pub fn take(format: &str, yard: &Yard) -> Vec<Entry> {
    let entries = read(format, &log_of(yard));
    std::fs::remove_file(log_of(yard)).unwrap();
    entries
}

/// Returns the entries of one event.
pub fn of<'e>(entries: &'e [Entry], event: &str) -> Vec<&'e Entry> {
    entries.iter().filter(|entry| entry.text("event") == event).collect()
}

/// Returns the only entry of an event.
#[track_caller]
pub fn only<'e>(entries: &'e [Entry], event: &str) -> &'e Entry {
    match of(entries, event).as_slice() {
        [entry] => entry,
        found => panic!("{} entries of {event} in {entries:#?}", found.len()),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
