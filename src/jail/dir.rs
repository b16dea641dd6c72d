//! What can be done with one name in one directory.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use filetime::FileTime;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{self, FileStat, SFlag, fstat};

use super::durability::open_readable;
use super::gate::Passage;
use super::inheritance::allowed_by;
use super::lookup::{kind, look_at};
use super::protect::Guard;
use super::temporary::{self, is_temporary};
use super::{Identity, Jail};
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::Leave;
use crate::refusal::{Cause, Refusal, Trail, Words};

/// Bytes of a route from the root beyond which links in a directory are not followed any more: PATH_MAX.
const ROUTE: usize = 4096;

/// A directory, pinned: renamed or moved, it stays the one that was found.
#[derive(Debug)]
pub struct Dir<'j> {
    pub(super) jail: &'j Jail,
    pub(super) fd: OwnedFd,
    pub(super) identity: Identity,
    /// Found out when something is first put in: most directories on the way to a file are only gone through.
    guard: OnceCell<Option<Guard>>,
    /// How it was reached from the root, for links in it that lead elsewhere inside.
    pub(super) route: Option<Vec<u8>>,
    pub(super) trail: Trail,
    pub(super) origin: Origin,
    /// Whether stale temporaries have been looked for.
    cleared: Cell<bool>,
    /// What its default list allows to what is made in it, if it has one.
    allowed: OnceCell<Option<Mode>>,
    /// What it is called, if its own name was taken.
    pub(super) renamed: Option<FileName>,
    /// Whether it is only gone through, and nothing may be done to itself.
    pub(super) passed: Cell<bool>,
}

/// Where a directory comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// It was there.
    Found,
    /// This session has made it: nothing is in it but what the session puts there.
    Made,
    /// So it has, and in a tree that has not got its name yet.
    Staged,
}

/// What can be sent.
#[derive(Debug)]
pub enum Entry<'j> {
    /// A directory.
    Directory(Dir<'j>, Attributes),
    /// A regular file.
    File(Contents),
}

/// A file open for reading, and what it was when it was opened.
#[derive(Debug)]
pub struct Contents {
    /// The file.
    pub file: File,
    /// Bytes in it.
    pub size: u64,
    /// Its mode and times.
    pub attributes: Attributes,
}

/// Mode and times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attributes {
    /// Permission bits, and set-id bits where the client may know them.
    pub mode: Mode,
    /// Times of the last change and access.
    pub times: Times,
}

impl Entry<'_> {
    /// Opens special files harmlessly: without waiting for a fifo's other end, without becoming a terminal's owner.
    pub(super) const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);
}

impl<'j> Entry<'j> {
    pub(super) fn new(
        jail: &'j Jail,
        fd: OwnedFd,
        route: impl FnOnce() -> Option<Vec<u8>>,
        words: Words<'_>,
    ) -> Result<Self, Cause> {
        let stat = fstat(&fd)?;
        jail.refuse_pseudo_file_system(&fd, &stat)?;
        let attributes = Attributes::of(&stat, jail.confines());
        match kind(&stat) {
            SFlag::S_IFDIR => Ok(Self::Directory(
                Dir::new(jail, fd, &stat, route(), words.trail().into_owned()),
                attributes,
            )),
            SFlag::S_IFREG => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                Ok(Self::File(Contents { file: fd.into(), size, attributes }))
            }
            _ => Err(Cause::NotRegular),
        }
    }
}

impl Attributes {
    fn of(stat: &FileStat, confined: bool) -> Self {
        // OpenSSH's FILEMODEMASK tells set-id bits too.
        let told = if confined { Mode::PERMISSIONS } else { 0o6777 };
        let time = |seconds| FileTime::from_unix_time(seconds, 0);
        Self {
            mode: Mode::new(stat.st_mode).only(told),
            times: Times { modified: time(stat.st_mtime), accessed: time(stat.st_atime) },
        }
    }
}

impl<'j> Dir<'j> {
    pub(super) fn new(
        jail: &'j Jail,
        fd: OwnedFd,
        stat: &FileStat,
        route: Option<Vec<u8>>,
        trail: Trail,
    ) -> Self {
        let (identity, guard) = (Identity::of(stat), OnceCell::new());
        Self {
            jail,
            fd,
            identity,
            guard,
            route,
            trail,
            origin: Origin::Found,
            cleared: Cell::new(false),
            allowed: OnceCell::new(),
            renamed: None,
            passed: Cell::new(false),
        }
    }

    /// Returns the words for an entry of the directory, as the client would write its path.
    pub fn trail(&self, name: &FileName) -> Trail {
        self.trail.join(name)
    }

    /// Returns the words for the directory itself.
    pub fn own_trail(&self) -> &Trail {
        &self.trail
    }

    /// Returns what the directory is called, if its own name was taken.
    pub fn renamed(&self) -> Option<&FileName> {
        self.renamed.as_ref()
    }

    /// Returns which directory it is, whatever it is called.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Says why there is no directory of this name to go into. A link that leads nowhere, or outside, is nothing.
    pub fn lack_of(&self, name: &FileName) -> Refusal {
        let errno = match look_at(&self.fd, name) {
            Ok(Some(stat)) if kind(&stat) != SFlag::S_IFLNK => Errno::ENOTDIR,
            _ => Errno::ENOENT,
        };
        Refusal::new(&self.trail(name), errno)
    }

    /// Opens an entry to be sent.
    ///
    /// # Errors
    /// It is gone, may not be read, leads outside, or is neither a file nor a directory.
    pub fn fetch(&self, name: &FileName) -> Result<Entry<'j>, Refusal> {
        self.fetch_name(name).map_err(|why| Refusal::new(&self.trail(name), why))
    }

    fn fetch_name(&self, name: &FileName) -> Result<Entry<'j>, Cause> {
        let words = self.trail.entry(name);
        if self.jail.rights.fetching == Leave::Withheld {
            return Err(Cause::Unauthorised("downloads are"));
        }
        // Most entries are files that no rule is about: nobody asks for their route.
        let passage = match self.jail.has_rules() {
            true => self.jail.passage(self.route_to(name).as_deref())?,
            false => Passage::Free,
        };
        passage.admit(match self.open_here(name, Entry::FLAGS) {
            Ok(fd) => Entry::new(self.jail, fd, || self.route_to(name), words),
            Err(Errno::ELOOP) => {
                let route = self.route_to(name).ok_or(Errno::ENAMETOOLONG)?;
                self.follow(&route, Entry::FLAGS)
                    .and_then(|fd| Entry::new(self.jail, fd, || Some(route), words))
            }
            Err(Errno::ENXIO | Errno::ENODEV) => Err(Cause::NotRegular),
            Err(errno) => Err(errno.into()),
        })
    }

    /// Clears stale temporaries away before the first upload into a directory that was there.
    pub(super) fn clear_away_once(&self) {
        // A new directory has nothing stale in it.
        if self.origin == Origin::Found
            && !self.cleared.replace(true)
            && let Ok(readable) = open_readable(&self.fd)
        {
            self.allowed.get_or_init(|| allowed_by(&readable));
            temporary::clear_away(&self.fd, readable);
        }
    }

    /// Returns the permission bits that may be given to what is made here, where a default list says so.
    pub(super) fn allowed(&self) -> Option<Mode> {
        *self.allowed.get_or_init(|| allowed_by(&self.fd))
    }

    /// Refuses to put anything under this name that the rights or the name itself forbid.
    pub(super) fn allow_storing(&self, name: &FileName) -> Result<(), Cause> {
        if self.jail.rights.storing == Leave::Withheld {
            return Err(Cause::Unauthorised("uploads are"));
        }
        let named = self.jail.rights.control_characters == Leave::Given;
        if self.jail.confines() && !named && name.could_deceive() {
            return Err(Cause::DeceptiveName);
        }
        if is_temporary(name) {
            return Err(Cause::Reserved);
        }
        let find_guard = || self.jail.home.as_ref().and_then(|home| home.guard(self.identity));
        if self.guard.get_or_init(find_guard).is_some_and(|guard| guard.protects(name)) {
            return Err(Cause::Protected);
        }
        Ok(())
    }

    /// Opens an entry of this very directory: a link is `ELOOP` when confined, and followed on the host.
    pub(super) fn open_here(&self, name: &FileName, flags: OFlag) -> Result<OwnedFd, Errno> {
        let follow = if self.jail.confines() { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        openat(&self.fd, name.as_os_str(), flags | follow | OFlag::O_CLOEXEC, stat::Mode::empty())
    }

    /// Looks up where a link leads, from the root on; nowhere, where rules tell paths apart.
    pub(super) fn follow(&self, route: &[u8], flags: OFlag) -> Result<OwnedFd, Cause> {
        if self.jail.has_rules() {
            Err(Cause::Outside(Errno::ELOOP))
        } else {
            self.jail.look_up(route, flags)
        }
    }

    pub(super) fn route_to(&self, name: &FileName) -> Option<Vec<u8>> {
        let route = self.route.as_ref()?;
        let slash: &[u8] = if route.is_empty() || route.ends_with(b"/") { b"" } else { b"/" };
        let longer = [route.as_slice(), slash, name.as_bytes()].concat();
        (longer.len() < ROUTE).then_some(longer)
    }

    /// Returns what the directory was called when it was found.
    pub(super) fn name_in_route(&self) -> Option<FileName> {
        let route = self.route.as_deref()?;
        route.rsplit(|&byte| byte == b'/').find(|name| !name.is_empty()).and_then(FileName::new)
    }
}

impl AsFd for Dir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Jail {
    /// The bits that -p keeps: set-id bits only where no root confines, as OpenSSH, or where they are allowed.
    pub(super) fn kept_bits(&self) -> u32 {
        let kept = !self.confines() || self.rights.set_id == Leave::Given;
        if kept { 0o7777 } else { Mode::PERMISSIONS }
    }
}
