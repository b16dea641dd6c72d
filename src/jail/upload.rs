//! A file that has no name until it is committed.

use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use filetime::set_file_handle_times;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, readlinkat, renameat, renameat2};
use nix::sys::stat::{self, FileStat, SFlag, fchmod, fstat};
use nix::unistd::{
    AccessFlags, UnlinkatFlags, faccessat, fdatasync, fsync, ftruncate, geteuid, linkat, unlinkat,
};

use super::Jail;
use super::dir::{Dir, kind, look_at};
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::{Leave, Replacement, Sync};
use crate::refusal::{Cause, Refusal, Trail};
use crate::request::Keep;

/// How often a random name is tried that turns out to be taken.
const TRIES: usize = 16;

/// Links that an unconfined upload follows to the file that it replaces, as the kernel's own limit.
const LINKS: usize = 40;

/// A file on its way in: written under a temporary name, and given its own only when it is whole. Dropped before, it
/// leaves no trace and the old file is still there.
#[must_use]
#[derive(Debug)]
pub struct Upload<'d> {
    jail: &'d Jail,
    home: Home<'d>,
    name: FileName,
    file: File,
    manner: Manner,
    /// Permission bits of the file that is replaced.
    old_mode: Option<Mode>,
    size: u64,
    trail: Trail,
}

/// The directory that the file will be in.
#[derive(Debug)]
enum Home<'d> {
    Here(&'d OwnedFd),
    /// Where a link led, on the host.
    Elsewhere(OwnedFd),
}

/// How the contents get to their name.
#[derive(Debug)]
enum Manner {
    /// They are under it already: written into the old file.
    InPlace,
    /// Renamed from this name.
    Renamed(FileName),
    /// It is done.
    Settled,
}

impl<'j> Dir<'j> {
    /// Starts an upload of `size` bytes to be called `name`. All that can be known to fail fails here, before the
    /// client sends a byte: libssh2 never reads the reply to the contents.
    ///
    /// # Errors
    /// The rights, the name, the size or the file that is there forbid it, or no file can be made.
    pub fn upload(&self, name: &FileName, size: u64) -> Result<Upload<'_>, Refusal> {
        let trail = self.trail(name);
        self.start(name, size, &trail).map_err(|why| Refusal::new(&trail, why))
    }

    fn start(&self, name: &FileName, size: u64, trail: &Trail) -> Result<Upload<'_>, Cause> {
        self.allow_storing(name)?;
        if let Some(limit) = self.jail.rights.file_size.filter(|&limit| size > limit) {
            return Err(Cause::TooLarge { size, limit });
        }
        let (home, name, old) = self.destination(name)?;
        let plan = match &old {
            None => Plan::Rename,
            Some(_) if self.jail.rights.replacing == Leave::Withheld => return Err(Errno::EEXIST.into()),
            Some(stat) => self.plan(stat, &home, &name)?,
        };
        let (file, manner) = match plan {
            Plan::Rename => create(&home).map(|(file, name)| (file, Manner::Renamed(name)))?,
            Plan::InPlace => (open_in_place(&home, &name)?, Manner::InPlace),
            Plan::RenameIfPossible => match create(&home) {
                Ok((file, name)) => (file, Manner::Renamed(name)),
                Err(Errno::EACCES | Errno::EPERM) => (open_in_place(&home, &name)?, Manner::InPlace),
                Err(errno) => return Err(errno.into()),
            },
        };
        let regular = old.filter(|stat| kind(stat) == SFlag::S_IFREG);
        let old_mode = regular.map(|stat| Mode::new(stat.st_mode).only(Mode::PERMISSIONS));
        Ok(Upload { jail: self.jail, home, name, file, manner, old_mode, size, trail: trail.clone() })
    }

    /// Finds the name that the file will have, and what is there. A link is a name like any other when confined, and
    /// is replaced; on the host it is followed, as OpenSSH does.
    fn destination(&self, name: &FileName) -> Result<(Home<'_>, FileName, Option<FileStat>), Cause> {
        let old = look_at(&self.fd, name)?;
        if self.jail.confines() || old.is_none_or(|stat| kind(&stat) != SFlag::S_IFLNK) {
            return Ok((Home::Here(&self.fd), name.clone(), old));
        }
        let mut dir = self.fd.try_clone()?;
        let mut name = name.clone();
        for _ in 0..LINKS {
            let target = match readlinkat(&dir, name.as_os_str()) {
                Ok(target) => target,
                // Not a link any more: it is what is there.
                Err(Errno::EINVAL | Errno::ENOENT) => {
                    let old = look_at(&dir, &name)?;
                    return Ok((Home::Elsewhere(dir), name, old));
                }
                Err(errno) => return Err(errno.into()),
            };
            let bytes = target.as_bytes();
            let slash = bytes.iter().rposition(|&byte| byte == b'/');
            let (parent, last) = bytes.split_at(slash.map_or(0, |slash| slash.saturating_add(1)));
            let parent = if parent.is_empty() { b"." } else { parent };
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            dir = openat(&dir, OsStr::from_bytes(parent), flags, stat::Mode::empty())?;
            name = FileName::new(last).ok_or(Errno::EISDIR)?;
        }
        Err(Errno::ELOOP.into())
    }

    fn plan(&self, old: &FileStat, home: &Home<'_>, name: &FileName) -> Result<Plan, Cause> {
        let confined = self.jail.confines();
        match kind(old) {
            SFlag::S_IFREG => {}
            SFlag::S_IFLNK => return Ok(Plan::Rename),
            SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            // `scp x host:/dev/null` works.
            SFlag::S_IFCHR if !confined => return Ok(Plan::InPlace),
            _ => return Err(Cause::NotRegular),
        }
        if !confined {
            // OpenSSH opens the old file to write into it; a file that says no is not replaced behind its back.
            faccessat(home.fd(), name.as_os_str(), AccessFlags::W_OK, AtFlags::AT_EACCESS)?;
        }
        let shared = old.st_nlink > 1;
        let foreign = old.st_uid != geteuid().as_raw();
        Ok(match self.jail.storage.replacement {
            Replacement::Always => Plan::Rename,
            // Into a file that has other names, perhaps outside, nothing is written when confined.
            Replacement::Off if confined && shared => Plan::Rename,
            Replacement::Off => Plan::InPlace,
            Replacement::Auto if confined => Plan::Rename,
            Replacement::Auto if shared || foreign => Plan::InPlace,
            Replacement::Auto => Plan::RenameIfPossible,
        })
    }
}

/// How an upload is going to get to its name.
#[derive(Clone, Copy)]
enum Plan {
    InPlace,
    Rename,
    RenameIfPossible,
}

impl Home<'_> {
    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Here(fd) => fd,
            Self::Elsewhere(fd) => fd,
        }
    }
}

impl Upload<'_> {
    /// The file to write the contents to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The words for the file, as the client would write its path.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Tells whether another file gives way to this one.
    pub fn replaces(&self) -> bool {
        self.old_mode.is_some()
    }

    /// Gives the file its mode, its times and its name.
    ///
    /// # Errors
    /// It has not got its name, and the old file is still there; or it has, but not its mode and times.
    pub fn commit(mut self, mode: Mode, keep: Keep, times: Option<&Times>) -> Result<(), Refusal> {
        self.publish(mode, keep, times).map_err(|why| Refusal::new(&self.trail, why))
    }

    fn publish(&mut self, mode: Mode, keep: Keep, times: Option<&Times>) -> Result<(), Cause> {
        if matches!(self.manner, Manner::InPlace) {
            self.cut()?;
        }
        // As OpenSSH: contents without their attributes are better than none, and the client is told.
        let moded = self.set_mode(mode, keep);
        let timed = match times {
            Some(times) => set_file_handle_times(&self.file, Some(times.accessed), Some(times.modified))
                .map_err(Cause::from),
            None => Ok(()),
        };
        let sync = self.jail.storage.sync;
        if sync == Sync::File {
            fdatasync(&self.file)?;
        }
        if let Manner::Renamed(temporary) = &self.manner {
            match self.jail.rights.replacing {
                Leave::Given => rename(self.home.fd(), temporary, &self.name)?,
                Leave::Withheld => rename_to_free(self.home.fd(), temporary, &self.name)?,
            }
            self.manner = Manner::Settled;
            if sync == Sync::File {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                fsync(openat(self.home.fd(), ".", flags, stat::Mode::empty())?)?;
            }
        }
        moded.and(timed)
    }

    /// Takes off what is left of a longer old file. Devices have no length.
    fn cut(&self) -> Result<(), Cause> {
        if kind(&fstat(&self.file)?) == SFlag::S_IFREG {
            ftruncate(&self.file, i64::try_from(self.size).map_err(|_| Errno::EFBIG)?)?;
        }
        Ok(())
    }

    fn set_mode(&self, mode: Mode, keep: Keep) -> Result<(), Cause> {
        let wanted = match (keep, self.old_mode, &self.manner) {
            (Keep::Attributes, _, _) => mode.only(self.jail.kept_bits()),
            // Written into, the old file has kept its bits.
            (Keep::Contents, _, Manner::InPlace) => return Ok(()),
            (Keep::Contents, Some(old), _) => old,
            (Keep::Contents, None, _) => mode.only(Mode::PERMISSIONS & !self.jail.umask),
        };
        Ok(fchmod(&self.file, stat::Mode::from_bits_truncate(wanted.bits()))?)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Manner::Renamed(temporary) = &self.manner {
            // A failure here has nobody left to hear it.
            let _ = unlinkat(self.home.fd(), temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Makes a file under a temporary name, for our eyes only.
///
/// The name is not made from the final one, which may be 255 bytes long already.
fn create(home: &Home<'_>) -> Result<(File, FileName), Errno> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_CREAT
        | OFlag::O_EXCL
        | OFlag::O_NOFOLLOW
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    for _ in 0..TRIES {
        let Some(name) = temporary_name() else { continue };
        match openat(home.fd(), name.as_os_str(), flags, stat::Mode::S_IRUSR | stat::Mode::S_IWUSR) {
            Ok(fd) => return Ok((fd.into(), name)),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EEXIST)
}

/// Opens the old file to write into it: never truncated, so that it is the old one until the last byte has come.
fn open_in_place(home: &Home<'_>, name: &FileName) -> Result<File, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(home.fd(), name.as_os_str(), flags, stat::Mode::empty()).map(File::from)
}

fn rename(dir: &OwnedFd, from: &FileName, to: &FileName) -> Result<(), Errno> {
    renameat(dir, from.as_os_str(), dir, to.as_os_str())
}

/// Renames only to a name that nobody has, also when somebody took it just now.
fn rename_to_free(dir: &OwnedFd, from: &FileName, to: &FileName) -> Result<(), Errno> {
    let (from, to) = (from.as_os_str(), to.as_os_str());
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        // A file system that cannot do it: a second name is refused where one is, and the first one is taken off.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            linkat(dir, from, dir, to, AtFlags::empty())?;
            unlinkat(dir, from, UnlinkatFlags::NoRemoveDir)
        }
        renamed => renamed,
    }
}

/// Makes up a name of the form `.scp-0123456789abcdef`. The standard library's hash keys come from the system's random
/// numbers, and no two are the same in one process.
fn temporary_name() -> Option<FileName> {
    let random = RandomState::new().build_hasher().finish();
    FileName::new(format!("{PREFIX}{random:016x}").as_bytes())
}

const PREFIX: &str = ".scp-";

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
            assert!(is_temporary(&temporary_name().unwrap()));
        }
        for name in
            [".scp-", ".scp-0123", ".scp-0123456789ABCDEF", ".scp-0123456789abcdef0", "scp-0123456789abcdef"]
        {
            assert!(!is_temporary(&FileName::new(name.as_bytes()).unwrap()), "{name}");
        }
    }
}
