//! What makes names and contents outlive a power cut, and what makes sure that contents have been taken at all.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{fsync, syncfs};

use super::Jail;
use crate::policy::Sync;
use crate::refusal::Cause;

/// What is to be done when a directory has got a new name, all that can be known to fail being done before.
#[must_use]
pub(super) enum Settling<'f> {
    /// Nothing: not wanted, or done when the session ends.
    Nothing,
    /// The directory is made durable.
    Here(BorrowedFd<'f>),
    /// So it is, by a descriptor that was opened for that.
    Opened(OwnedFd),
    /// All of the file system is.
    Everything(BorrowedFd<'f>),
}

impl<'f> Settling<'f> {
    /// Gets ready to make a new name in `dir` durable; `inside` is a descriptor of what it stands for.
    ///
    /// A directory that may be written to but not read (a drop box of mode 0300) cannot be opened for that: there, all of
    /// its file system is made durable, which takes longer and keeps the promise.
    fn of(dir: &'f OwnedFd, inside: BorrowedFd<'f>) -> Result<Self, Errno> {
        if fcntl(dir, FcntlArg::F_GETFL)? & OFlag::O_PATH.bits() == 0 {
            return Ok(Self::Here(dir.as_fd()));
        }
        match open_readable(dir) {
            Ok(readable) => Ok(Self::Opened(readable)),
            Err(Errno::EACCES) => Ok(Self::Everything(inside)),
            Err(errno) => Err(errno),
        }
    }

    /// Makes the name durable, now that it is there.
    pub(super) fn settle(self) -> Result<(), Cause> {
        match self {
            Self::Nothing => Ok(()),
            Self::Here(dir) => fsync(dir),
            Self::Opened(dir) => fsync(dir),
            Self::Everything(inside) => syncfs(inside),
        }
        .map_err(Cause::Unsettled)
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

/// The last file system that was written to, and when it takes contents.
#[derive(Debug, Default)]
pub(super) struct Lately(Cell<Option<(u64, Taking)>>);

/// When a file system takes what is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taking {
    /// In the call: what write(2) has taken has its room on the disk.
    AtOnce,
    /// Perhaps later. That there was no room is told once, when a descriptor of the file is closed.
    Later,
    /// The same of one in a process.
    InProcess,
}

impl Taking {
    fn of(file: &File) -> Self {
        match fstatfs(file).map(|found| found.filesystem_type()) {
            Ok(FUSE) => Self::InProcess,
            // Those that do nothing when a descriptor is closed: their file_operations in Linux have no `flush`.
            Ok(EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC | TMPFS_MAGIC) => Self::AtOnce,
            _ => Self::Later,
        }
    }
}

impl Jail {
    /// Gets ready to make a new name in the directory `dir` durable, now or when the session ends, as `--sync` has it.
    /// `inside` is what it stands for.
    pub(super) fn ready_to_settle<'f>(
        &self,
        dir: &'f OwnedFd,
        device: u64,
        inside: BorrowedFd<'f>,
    ) -> Result<Settling<'f>, Cause> {
        match self.storage.sync {
            Sync::None => Ok(Settling::Nothing),
            Sync::File => Ok(Settling::of(dir, inside)?),
            Sync::Session => {
                self.disks.note(device, dir, inside)?;
                Ok(Settling::Nothing)
            }
        }
    }

    /// Tells when contents are taken by the file system that was written to last, if it is this one.
    pub(super) fn taking_on(&self, device: u64) -> Option<Taking> {
        self.lately.0.get().filter(|&(known, _)| known == device).map(|(_, taking)| taking)
    }

    /// Has contents written when they come where the kernel would do it later and not tell that less was taken than it
    /// gave: FUSE with a cache for writing loses the end of a short write, and close(2) and fsync(2) say that all is
    /// well. Seen with fuse-overlayfs, which containers without root are made of, on a full disk. Returns when they are
    /// taken.
    pub(super) fn write_at_once(&self, device: u64, file: &File) -> Taking {
        let taking = self.taking_on(device).unwrap_or_else(|| Taking::of(file));
        self.lately.0.set(Some((device, taking)));
        if taking == Taking::InProcess {
            // Without alignment, which such file systems do not ask for; one that cannot do it writes as it can.
            let _ = fcntl(file, FcntlArg::F_SETFL(OFlag::O_DIRECT));
        }
        taking
    }
}

/// XFS_SUPER_MAGIC of linux/magic.h, which nix has not with every C library.
const XFS_SUPER_MAGIC: FsType = FsType(0x5846_5342);

/// FUSE_SUPER_MAGIC of linux/magic.h; virtiofs has the same.
const FUSE: FsType = FsType(0x6573_5546);

/// Opens a directory that is pinned by `O_PATH` for what takes a descriptor of another kind.
pub(super) fn open_readable(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
