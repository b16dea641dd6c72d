//! How many sessions an account has at once.
//!
//! A session holds a lock on one byte for as long as its process lives, however it ends; each account has bytes of its own.
//! What the locks are on has to be there on every machine, be readable by whoever is served, and be nobody's but root's: it
//! is the directory of the configuration file, which no editor replaces as it does the file. An account without rights
//! gets no exclusive lock on what it may only read. Shared ones are enough: whoever has one and then sees nobody else on
//! the same byte has it alone, because everybody who comes later sees him.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::Mode;

/// Bytes for each account, one for each of its sessions; no limit is larger.
const SEATS: u64 = 1024 * 1024;

/// How often it is looked for a seat. Two who go for the same one both leave it and look again, so that one that is taken
/// may be free in a moment.
const LOOKS: usize = 12;

/// The longest pause before the next look, in microseconds: much longer than it takes to sit down.
const PAUSE: u64 = 8000;

/// One of an account's seats, until it is dropped, or the process ends.
#[must_use]
#[derive(Debug)]
pub struct Seat {
    _locked: OwnedFd,
}

/// Takes one of the first `limit` seats of the account with this number; none if all are taken.
///
/// # Errors
/// The directory cannot be read or locked.
pub fn take(directory: &Path, account: u32, limit: u64) -> Result<Option<Seat>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = openat(AT_FDCWD, directory, flags, Mode::empty())?;
    let (row, limit) = (u64::from(account).saturating_mul(SEATS), limit.min(SEATS));
    for _ in 0..LOOKS {
        if let Some(seat) = free(&directory, row, limit)?
            && sit(&directory, seat)?
        {
            return Ok(Some(Seat { _locked: directory }));
        }
        sleep(Duration::from_micros(random().checked_rem(PAUSE).unwrap_or_default()));
    }
    Ok(None)
}

/// Finds a seat that nobody is on, beginning anywhere, so that not all go for the same one.
fn free(directory: &OwnedFd, row: u64, limit: u64) -> Result<Option<u64>, Errno> {
    let begin = random().checked_rem(limit).unwrap_or_default();
    for number in (begin..limit).chain(0..begin) {
        let seat = row.saturating_add(number);
        if !is_taken(directory, seat)? {
            return Ok(Some(seat));
        }
    }
    Ok(None)
}

/// Sits down on a seat, and tells whether it is one's own: whoever finds that he shares it leaves it.
fn sit(directory: &OwnedFd, seat: u64) -> Result<bool, Errno> {
    lock(directory, seat, libc::F_RDLCK)?;
    let shared = is_taken(directory, seat)?;
    if shared {
        lock(directory, seat, libc::F_UNLCK)?;
    }
    Ok(!shared)
}

/// Tells whether somebody else is on a seat.
fn is_taken(directory: &OwnedFd, seat: u64) -> Result<bool, Errno> {
    // Asked for, not set: an exclusive lock would be in anybody's way.
    let mut found = byte(seat, libc::F_WRLCK)?;
    fcntl(directory, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn lock(directory: &OwnedFd, seat: u64, kind: i32) -> Result<(), Errno> {
    fcntl(directory, FcntlArg::F_OFD_SETLK(&byte(seat, kind)?)).map(drop)
}

/// Describes a lock on one byte.
fn byte(seat: u64, kind: i32) -> Result<libc::flock, Errno> {
    Ok(libc::flock {
        l_type: kind.try_into().map_err(|_| Errno::EINVAL)?,
        l_whence: libc::SEEK_SET.try_into().map_err(|_| Errno::EINVAL)?,
        l_start: seat.try_into().map_err(|_| Errno::EOVERFLOW)?,
        l_len: 1,
        // Of an open file, not of a process.
        l_pid: 0,
    })
}

/// The standard library's hash keys come from the system's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_seats_as_the_limit_says_for_each_account() {
        let directory = std::env::temp_dir();
        // Accounts that nobody has.
        let (one, other) = (4_000_000_001, 4_000_000_002);
        let mut seats: Vec<Seat> =
            (0..3).map(|_| take(&directory, one, 3).unwrap().expect("there is a seat")).collect();
        assert!(take(&directory, one, 3).unwrap().is_none());
        let neighbour = take(&directory, other, 1).unwrap();
        assert!(neighbour.is_some() && take(&directory, other, 1).unwrap().is_none());
        seats.pop();
        assert!(take(&directory, one, 3).unwrap().is_some());
        assert!(take(&directory, one, 0).unwrap().is_none());
        assert!(take(&directory, u32::MAX, u64::MAX).unwrap().is_some());
    }

    #[test]
    fn of_two_who_sit_down_at_once_none_stays_who_sees_the_other() {
        let open = || openat(AT_FDCWD, &std::env::temp_dir(), OFlag::O_RDONLY, Mode::empty()).unwrap();
        let (one, other, seat) = (open(), open(), u64::from(u32::MAX).saturating_mul(SEATS));
        // Both have found it free.
        assert!(!is_taken(&one, seat).unwrap() && !is_taken(&other, seat).unwrap());
        lock(&one, seat, libc::F_RDLCK).unwrap();
        assert!(!sit(&other, seat).unwrap());
        // He has left it, and the first one has it alone.
        assert!(!is_taken(&one, seat).unwrap() && is_taken(&other, seat).unwrap());
        drop(one);
        assert!(sit(&other, seat).unwrap());
    }

    #[test]
    fn a_place_that_cannot_be_locked_is_an_error() {
        assert_eq!(take(Path::new("/nowhere"), 1, 1).err(), Some(Errno::ENOENT));
        assert_eq!(take(Path::new("/proc/self/status"), 1, 1).err(), Some(Errno::ENOTDIR));
    }
}
