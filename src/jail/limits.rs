//! How much: what a session may still store or send, told before a byte of it is on its way.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use nix::sys::statvfs::fstatvfs;

use super::Jail;
use crate::refusal::Cause;

/// Directories that may be open inside each other; a deeper one is refused, and the transfer goes on.
const DEPTH: u64 = 256;

/// Bytes from which on it is worth asking whether there is room for them: for less, the answer costs as much as trying.
const LARGE: u64 = 1024 * 1024;

/// What the session has stored, or sent. What was refused is not in it.
#[derive(Debug, Default)]
pub(super) struct Used {
    bytes: Cell<u64>,
    files: Cell<u64>,
}

impl Jail {
    /// Returns how many directories may be open inside each other.
    pub fn depth(&self) -> u64 {
        self.limits.depth.unwrap_or(DEPTH).min(DEPTH)
    }

    /// Refuses one more file of `size` bytes if the session has had its share. One that takes the place of another
    /// counts like a new one.
    ///
    /// # Errors
    /// It would be over a limit, which is said with its numbers.
    pub fn allow_one_more(&self, size: u64) -> Result<(), Cause> {
        if let Some(limit) = self.limits.session_files.filter(|&limit| self.used.files.get() >= limit) {
            return Err(Cause::TooMany(limit));
        }
        let Some(limit) = self.limits.session_size else { return Ok(()) };
        let left = limit.saturating_sub(self.used.bytes.get());
        if size > left { Err(Cause::SessionFull { size, left, limit }) } else { Ok(()) }
    }

    /// Counts a file of `size` bytes that was stored, or sent.
    pub fn count_one_more(&self, size: u64) {
        self.used.files.set(self.used.files.get().saturating_add(1));
        self.used.bytes.set(self.used.bytes.get().saturating_add(size));
    }

    /// Refuses what there is certainly no room for.
    pub(super) fn check_space(&self, dir: &OwnedFd, size: u64) -> Result<(), Cause> {
        let kept = self.limits.free_space.unwrap_or(0);
        if size < LARGE && kept == 0 {
            return Ok(());
        }
        let Ok(space) = fstatvfs(dir) else { return Ok(()) };
        let free = space.blocks_available().saturating_mul(space.fragment_size()).saturating_sub(kept);
        if size > free { Err(Cause::NoSpace { size, free, kept }) } else { Ok(()) }
    }
}
