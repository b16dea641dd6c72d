//! The machine's time zones, out of its own files alone.
//!
//! The library would follow `TZ` and `TZDIR`, which a client sets where sshd's `AcceptEnv` lets it: it could choose the day and
//! the hour, with a zone of its own, and have endless files read before there is a sandbox.

use std::fs::File;
use std::io::Read;

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where systems have them.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// What the machine's own zone is a copy of, or a link to.
const LOCAL: &str = "/etc/localtime";

/// More than any of them has.
const SIZE: u64 = 1 << 20;

/// Returns the machine's own zone; UTC where it has none, as the C library does.
#[expect(clippy::disallowed_methods, reason = "a path of the system's, not the client's")]
pub fn local() -> TimeZone {
    let mut bytes = Vec::new();
    let read = File::open(LOCAL).and_then(|file| file.take(SIZE).read_to_end(&mut bytes));
    read.ok().and_then(|_| TimeZone::tzif("localtime", &bytes).ok()).unwrap_or(TimeZone::UTC)
}

/// Finds a zone by its name; large and small letters are alike.
pub fn called(name: &str) -> Option<TimeZone> {
    let found = DIRECTORIES.into_iter().find_map(|path| TimeZoneDatabase::from_dir(path).ok());
    found.and_then(|zones| zones.get(name).ok())
}
