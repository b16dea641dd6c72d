//! What makes names and contents outlive a power cut, and what makes sure that contents have been taken at all.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{fsync, syncfs};

use super::Jail;

/// Makes the names in `dir` durable; `inside` is a descriptor of one of them.
///
/// A directory that may be written to but not read (a drop box of mode 0300) cannot be opened for that: there, all of its
/// file system is made durable, which takes longer and keeps the promise.
pub(super) fn settle_names(dir: &OwnedFd, inside: BorrowedFd<'_>) -> Result<(), Errno> {
    match fsync(dir) {
        // Pinned by O_PATH only.
        Err(Errno::EBADF) => {}
        settled => return settled,
    }
    match open_readable(dir) {
        Ok(readable) => fsync(readable),
        Err(Errno::EACCES) => syncfs(inside),
        Err(errno) => Err(errno),
    }
}

/// The file systems that a session has stored something on, which need not be the root's alone: each by a descriptor that
/// syncfs(2) takes, as it does not take those of `O_PATH`.
#[derive(Debug, Default)]
pub(super) struct Disks(RefCell<Vec<(u64, OwnedFd)>>);

impl Disks {
    /// Notes that the directory `dir` of the file system `device` has got a new name, by which `inside` was opened.
    pub(super) fn note(&self, device: u64, dir: &OwnedFd, inside: BorrowedFd<'_>) -> io::Result<()> {
        let mut disks = self.0.borrow_mut();
        if disks.iter().all(|&(known, _)| known != device) {
            let held = match open_readable(dir) {
                // Not where it can be helped: a program that is open for writing cannot be started.
                Err(Errno::EACCES) => inside.try_clone_to_owned()?,
                opened => opened?,
            };
            disks.push((device, held));
        }
        Ok(())
    }

    /// Makes everything on them durable.
    pub(super) fn settle(&self) -> io::Result<()> {
        for (_, held) in self.0.borrow().iter() {
            syncfs(held)?;
        }
        Ok(())
    }
}

/// The last file system that was written to, and whether it is one in a process.
#[derive(Debug, Default)]
pub(super) struct Lately(Cell<Option<(u64, bool)>>);

impl Jail {
    /// Has contents written when they come where the kernel would do it later and not tell that less was taken than it
    /// gave: FUSE with a cache for writing loses the end of a short write, and close(2) and fsync(2) say that all is
    /// well. Seen with fuse-overlayfs, which containers without root are made of, on a full disk.
    pub(super) fn write_at_once(&self, device: u64, file: &File) {
        let in_a_process = match self.lately.0.get() {
            Some((known, in_a_process)) if known == device => in_a_process,
            _ => fstatfs(file).is_ok_and(|found| found.filesystem_type() == FUSE),
        };
        self.lately.0.set(Some((device, in_a_process)));
        if in_a_process {
            // Without alignment, which such file systems do not ask for; one that cannot do it writes as it can.
            let _ = fcntl(file, FcntlArg::F_SETFL(OFlag::O_DIRECT));
        }
    }
}

/// FUSE_SUPER_MAGIC of linux/magic.h; virtiofs has the same.
const FUSE: FsType = FsType(0x6573_5546);

fn open_readable(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
