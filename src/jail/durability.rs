//! What makes names and contents outlive a power cut.

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{fsync, syncfs};

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

fn open_readable(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
