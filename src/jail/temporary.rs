//! Names of files in transfer: made up, recognised, and cleared away when their session is dead.

use std::collections::hash_map::RandomState;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::lookup::{kind, look_at};
use super::{Identity, removal};
use crate::name::FileName;

/// A file under a made-up name.
pub(super) struct Temporary {
    pub(super) file: File,
    pub(super) name: FileName,
    pub(super) locked: bool,
}

/// What it means that a file system has no locks, for the log.
pub(super) const NO_LOCKS: &str =
    "this file system has no locks: what killed sessions leave behind is not cleared away";

const PREFIX: &str = ".scp-";
const LASTING_PREFIX: &str = ".scp-old-";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// How often a random name is tried that turns out to be taken.
const TRIES: usize = 16;

/// Seconds after which a file of our form is nobody else's: a day.
const OLD: u64 = 24 * 60 * 60;

/// Entries of a directory that are looked at for stale temporaries: a session does not begin by reading a million.
const LOOKED_AT: usize = 4096;

/// Makes a file under a temporary name, for our eyes only, and locks it for as long as the session lives.
///
/// The name is not made from the final one, which may be 255 bytes long already.
pub(super) fn create(dir: &OwnedFd) -> Result<Temporary, Errno> {
    for _ in 0..TRIES {
        let Some(name) = make_up() else { continue };
        match create_unlocked(dir, &name) {
            Ok(file) => {
                if let Some(locked) = keep(&file) {
                    return Ok(Temporary { file, name, locked });
                }
                // Whoever took it for stale has removed it by now, or does not get to it any more.
                let _ = unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EEXIST)
}

/// The same without a lock, for one that is no temporary any more before anybody could think it stale; and if somebody
/// does, it is gone.
pub(super) fn create_unlocked(dir: &OwnedFd, name: &FileName) -> Result<File, Errno> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_CREAT
        | OFlag::O_EXCL
        | OFlag::O_NOFOLLOW
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    openat(dir, name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
}

/// Locks a new file, and tells whether it could be, if it is still there: another session may have taken it for a stale
/// one in the moment before.
fn keep(file: &File) -> Option<bool> {
    let locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => return None,
        // Where there are no locks nothing is cleared away either.
        Err(TryLockError::Error(_)) => false,
        Ok(()) => true,
    };
    fstat(file).is_ok_and(|stat| stat.st_nlink > 0).then_some(locked)
}

/// Removes what sessions of the same account have left behind that were killed. A file whose session lives is locked,
/// and left alone. `readable` is the directory once more, opened to be listed.
pub(super) fn clear_away(dir: &OwnedFd, readable: OwnedFd) {
    let Ok(listing) = Listing::from_fd(readable) else { return };
    let names = listing.into_iter().take(LOOKED_AT).map_while(Result::ok);
    for name in names.filter_map(|entry| FileName::new(entry.file_name().to_bytes())).filter(is_temporary) {
        // What cannot be removed now is for a later session.
        let _ = remove_if_stale(dir, &name);
    }
}

fn remove_if_stale(dir: &OwnedFd, name: &FileName) -> Result<(), Errno> {
    let Some(stat) = look_at(dir, name)?.filter(is_ours) else { return Ok(()) };
    let is_tree = kind(&stat) == SFlag::S_IFDIR;
    let access = if is_tree { OFlag::O_RDONLY | OFlag::O_DIRECTORY } else { OFlag::O_WRONLY };
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(dir, name.as_os_str(), flags, Mode::empty())?);
    let same = Identity::of(&fstat(&file)?) == Identity::of(&stat);
    if !same || file.try_lock().is_err() {
        return Ok(());
    }
    if is_tree {
        removal::remove_tree(dir, name)?;
    } else {
        unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
    }
    Ok(())
}

/// A file of ours has the mode that we made it with. One that was killed between getting its final mode and its name has
/// another, as somebody else's file of that name would have: it has to be old as well.
fn is_ours(stat: &FileStat) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let age = now.saturating_sub(u64::try_from(stat.st_mtime).unwrap_or(u64::MAX));
    let untouched = match kind(stat) {
        SFlag::S_IFREG => stat.st_mode & 0o7777 == 0o600,
        SFlag::S_IFDIR => stat.st_mode & 0o777 == 0o700,
        _ => return false,
    };
    stat.st_uid == geteuid().as_raw() && (untouched || age > OLD)
}

/// Makes up a name of the form `.scp-0123456789abcdef`. The standard library's hash keys come from the system's random
/// numbers, and no two are the same in one process.
pub(super) fn make_up() -> Option<FileName> {
    made_up(PREFIX)
}

/// Makes up a name for something that nobody may clear away, whatever becomes of us.
pub(super) fn make_up_lasting() -> Option<FileName> {
    made_up(LASTING_PREFIX)
}

/// One for each file that comes: written digit by digit, which takes a tenth of the time that `format!` takes.
fn made_up(prefix: &str) -> Option<FileName> {
    let random = RandomState::new().build_hasher().finish();
    let mut digits = [b'0'; 16];
    for (place, digit) in (0..16).rev().zip(&mut digits) {
        let half = usize::try_from(random.wrapping_shr(4_u32.wrapping_mul(place)) & 15).ok()?;
        *digit = *DIGITS.get(half)?;
    }
    FileName::new(&[prefix.as_bytes(), &digits].concat())
}

/// Tells whether a name is one that we make up. Names of exactly this form are ours alone.
pub(super) fn is_temporary(name: &FileName) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_name_is_recognised_and_nothing_else_is() {
        for _ in 0..100 {
            assert!(is_temporary(&make_up().unwrap()));
            assert!(!is_temporary(&make_up_lasting().unwrap()));
        }
        for name in
            [".scp-", ".scp-0123", ".scp-0123456789ABCDEF", ".scp-0123456789abcdef0", "scp-0123456789abcdef"]
        {
            assert!(!is_temporary(&FileName::new(name.as_bytes()).unwrap()), "{name}");
        }
    }
}
