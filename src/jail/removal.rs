//! Removing a directory with all that is in it, by descriptor: a link is removed, never followed, and what is mounted in it
//! is left alone.

use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir as Listing, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::name::FileName;

/// A directory that is being emptied.
struct Level {
    fd: OwnedFd,
    names: OwningIter,
    name: FileName,
}

/// Removes `name` from `parent`. Directories that may not be written to are opened up first.
pub(super) fn remove_tree(parent: &OwnedFd, name: &FileName) -> Result<(), Errno> {
    let mut levels = vec![enter(parent, name.clone())?];
    while let Some(level) = levels.last_mut() {
        match level.names.next() {
            Some(entry) => {
                let Some(name) = FileName::new(entry?.file_name().to_bytes()) else { continue };
                match unlinkat(&level.fd, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                    Err(Errno::EISDIR | Errno::EPERM) => {
                        let below = enter(&level.fd, name)?;
                        levels.push(below);
                    }
                    // Somebody else has removed it.
                    Err(Errno::ENOENT) => {}
                    removed => removed?,
                }
            }
            None => {
                let Some(emptied) = levels.pop() else { break };
                let above = levels.last().map_or(parent, |level| &level.fd);
                unlinkat(above, emptied.name.as_os_str(), UnlinkatFlags::RemoveDir)?;
            }
        }
    }
    Ok(())
}

fn enter(parent: &OwnedFd, name: FileName) -> Result<Level, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let fd = match openat2(parent, name.as_os_str(), OpenHow::new().flags(flags).resolve(resolve)) {
        // Without the call, another file system is told by its number.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            let fd = openat(parent, name.as_os_str(), flags, Mode::empty())?;
            if fstat(&fd)?.st_dev != fstat(parent)?.st_dev {
                return Err(Errno::EXDEV);
            }
            fd
        }
        opened => opened?,
    };
    // Ours; if it is not, removing what is in it says so.
    let _ = fchmod(&fd, Mode::S_IRWXU);
    let listing = openat(fd.as_fd(), ".", flags, Mode::empty()).and_then(Listing::from_fd)?;
    Ok(Level { fd, names: listing.into_iter(), name })
}
