//! What a file has beside its mode and its group, and takes over from the one that it replaces or from its directory: access
//! control lists, the label of a security module, attributes of the user's.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};

use super::Jail;
use crate::attr::Mode;
use crate::name::FileName;
use crate::refusal::Cause;

/// Bytes of names and values that are taken over; a file with more of them is replaced by one with none of its user's.
const MOST: usize = 64 * 1024;

const LIST: &CStr = c"system.posix_acl_access";
const LIST_FOR_NEW: &CStr = c"system.posix_acl_default";

/// Not what gives the contents rights, or vouches for them (security.capability, security.ima), nor what is root's.
const LABELS: [&[u8]; 2] = [b"security.selinux", b"security.SMACK64"];

/// What a replaced file had.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// The list as the kernel writes it; without one, the mode says it all.
    list: Option<Vec<u8>>,
    /// Of a directory: what is made in it begins with this.
    list_for_new: Option<Vec<u8>>,
    others: Vec<(CString, Vec<u8>)>,
}

impl Inheritance {
    /// Reads what the file `name` has; `None` where it cannot be opened for that.
    pub(super) fn of(dir: &OwnedFd, name: &FileName) -> Option<Self> {
        // Access mode 3: for whoever may read and write it, a descriptor that can do neither. So the sandbox of a sink need
        // not allow it to read, a program that is running is no obstacle, and nobody is told that it was written to.
        // (O_ACCMODE has the bit of O_PATH as well in musl.)
        let access = OFlag::O_WRONLY | OFlag::O_RDWR;
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(dir, name.as_os_str(), flags, stat::Mode::empty()).ok().map(Self::read)
    }

    /// Reads what the directory `name` has; `None` where it cannot be opened for that.
    pub(super) fn of_directory(dir: &OwnedFd, name: &FileName) -> Option<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(dir, name.as_os_str(), flags, stat::Mode::empty()).ok().map(Self::read)
    }

    fn read(file: OwnedFd) -> Self {
        let mut found = Self::default();
        // Most files have none, and that is one call.
        let Some(names) = read(MOST, |names| flistxattr(&file, names)) else { return found };
        let mut left = MOST.saturating_sub(names.len());
        for name in
            names.split_inclusive(|&byte| byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        {
            let bytes = name.to_bytes();
            let is_list = name == LIST || name == LIST_FOR_NEW;
            if !is_list && !LABELS.contains(&bytes) && !bytes.starts_with(b"user.") {
                continue;
            }
            let most = if is_list { MOST } else { left };
            match read(most, |value| fgetxattr(&file, name, value)) {
                Some(value) if name == LIST => found.list = Some(value),
                Some(value) if is_list => found.list_for_new = Some(value),
                Some(value) => {
                    left = left.saturating_sub(value.len());
                    found.others.push((name.to_owned(), value));
                }
                None => {}
            }
        }
        found
    }

    /// Gives a new file the list, before its mode is set, which says the last word on the list's mask; `None` takes away
    /// what it has got from its directory.
    ///
    /// # Errors
    /// Somebody may do what nobody could with the old file, if its mode is set as it is.
    pub(super) fn give_list(&self, file: &File) -> Result<(), Cause> {
        set_list(file, LIST, self.list.as_deref()).map_err(Cause::list)
    }

    /// Gives all of it to a new directory, before anything is made in it and before its mode is set.
    ///
    /// # Errors
    /// It has not got the lists.
    pub(super) fn give_to_directory(&self, directory: &File) -> Result<(), Errno> {
        // What is missing of the rest is nobody's to use.
        let _ = self.give_others(directory);
        set_list(directory, LIST_FOR_NEW, self.list_for_new.as_deref())?;
        set_list(directory, LIST, self.list.as_deref())
    }

    /// Gives a new file the rest.
    ///
    /// # Errors
    /// It is without something of the user's. A label that may not be given is the security module's affair.
    pub(super) fn give_others(&self, file: &File) -> Result<(), Cause> {
        let mut given = Ok(());
        for (name, value) in &self.others {
            match fsetxattr(file, name.as_c_str(), value, XattrFlags::empty()) {
                Err(errno) if name.to_bytes().starts_with(b"user.") => {
                    given = Err(Cause::attribute(nix_errno(errno)));
                }
                _ => {}
            }
        }
        given
    }

    /// Tells whether the mode was not all that was said about who may do what.
    pub(super) fn has_list(&self) -> bool {
        self.list.is_some()
    }
}

impl Jail {
    /// Returns the mode of something new without -p: less the umask, and no more than is `allowed` by the default list of the
    /// directory, as with OpenSSH.
    pub(super) fn mode_of_new(&self, mode: Mode, allowed: Option<Mode>) -> Mode {
        mode.only(allowed.map_or(Mode::PERMISSIONS, Mode::bits) & Mode::PERMISSIONS & !self.umask)
    }
}

/// Returns the permission bits that the directory allows to what is made in it, if it has a default list.
pub(super) fn allowed_by(dir: impl AsFd) -> Option<Mode> {
    let list = read(MOST, |value| fgetxattr(&dir, LIST_FOR_NEW, value))?;
    mode_of(&list)
}

/// Sets a list, or takes away one that came from the directory above.
fn set_list(file: &File, name: &CStr, list: Option<&[u8]>) -> Result<(), Errno> {
    let set = match list {
        Some(list) => fsetxattr(file, name, list, XattrFlags::empty()),
        None => fremovexattr(file, name).or_else(|errno| match errno {
            rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP => Ok(()),
            other => Err(other),
        }),
    };
    set.map_err(nix_errno)
}

/// Reads what a call puts into a buffer, if it is there and not more than `most` bytes.
fn read(most: usize, call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Option<Vec<u8>> {
    // Names and lists of the usual length fit.
    let mut buffer = vec![0; most.min(256)];
    let length = match call(&mut buffer) {
        Err(rustix::io::Errno::RANGE) if most > buffer.len() => {
            buffer.resize(most, 0);
            call(&mut buffer).ok()?
        }
        read => read.ok()?,
    };
    buffer.truncate(length);
    Some(buffer)
}

/// Reads a list in the kernel's form (linux/posix_acl_xattr.h): a version, and entries of a tag, permissions and an id.
fn mode_of(list: &[u8]) -> Option<Mode> {
    const OWNER: u16 = 0x01;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let entries = list.strip_prefix(&[2, 0, 0, 0])?;
    let mut bits = 0;
    let mut mask = None;
    for entry in entries.chunks_exact(8) {
        let [tag, tag2, permissions, _, ..] = entry else { return None };
        let permissions = u32::from(permissions & 0o7);
        match u16::from_le_bytes([*tag, *tag2]) {
            OWNER => bits |= permissions << 6,
            GROUP => bits |= permissions << 3,
            MASK => mask = Some(permissions << 3),
            OTHER => bits |= permissions,
            _ => {}
        }
    }
    Some(Mode::new(mask.map_or(bits, |mask| bits & 0o707 | mask)))
}

fn nix_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |&(tag, permissions, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
    }

    #[test]
    fn a_list_comes_to_the_bits_that_its_owner_its_mask_and_the_others_have() {
        let nobody = u32::MAX;
        for (entries, bits) in [
            (&[(1, 7, nobody), (4, 5, nobody), (0x20, 0, nobody)][..], 0o750),
            (&[(1, 7, nobody), (2, 7, 65534), (4, 0, nobody), (0x10, 6, nobody), (0x20, 1, nobody)], 0o761),
            (&[], 0),
        ] {
            assert_eq!(mode_of(&list(entries)), Some(Mode::new(bits)), "{entries:?}");
        }
    }

    #[test]
    fn what_is_no_list_says_nothing() {
        for bytes in [&b""[..], &[2, 0, 0], &[1, 0, 0, 0], b"2000"] {
            assert_eq!(mode_of(bytes), None);
        }
    }
}
