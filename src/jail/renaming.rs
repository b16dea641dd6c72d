//! Names given in one step, in one directory. By rustix, as nix knows renameat2(2) only with GNU's C library.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::renameat;
use rustix::fs::{RenameFlags, renameat_with};

use crate::name::FileName;

/// Gives what is called `from` the name `to`, whoever has it.
pub(super) fn replace(dir: &OwnedFd, from: &FileName, to: &FileName) -> Result<(), Errno> {
    renameat(dir, from.as_os_str(), dir, to.as_os_str())
}

/// The same, if nobody has it, also when somebody took it just now: `EEXIST`. Not every file system can do it: `EINVAL`,
/// `ENOSYS`.
pub(super) fn take(dir: &OwnedFd, from: &FileName, to: &FileName) -> Result<(), Errno> {
    rename_with(dir, from, to, RenameFlags::NOREPLACE)
}

/// Gives each the other's name. Not every file system can do it.
pub(super) fn exchange(dir: &OwnedFd, from: &FileName, to: &FileName) -> Result<(), Errno> {
    rename_with(dir, from, to, RenameFlags::EXCHANGE)
}

fn rename_with(dir: &OwnedFd, from: &FileName, to: &FileName, flags: RenameFlags) -> Result<(), Errno> {
    let renamed = renameat_with(dir, from.as_os_str(), dir, to.as_os_str(), flags);
    renamed.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}
