//! What can be done with one name in one directory.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use filetime::{FileTime, set_file_handle_times};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{self, FileStat, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, fchown, fsync, geteuid};

use super::drop_box::take_free;
use super::durability::open_readable;
use super::gate::{Passage, STORING};
use super::inheritance::allowed_by;
use super::lookup::{kind, look_at};
use super::protect::Guard;
use super::temporary::{self, is_temporary};
use super::{Identity, Jail};
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::{Collision, Leave, Operation, Storage, Sync};
use crate::refusal::{Cause, Refusal, Trail, Words, errno};
use crate::request::Keep;

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
    renamed: Option<FileName>,
    /// Whether it is only gone through, and nothing may be done to itself.
    passed: Cell<bool>,
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

/// Whether a directory was made or found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// It is new.
    Made,
    /// It was there.
    Found,
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

    /// Makes a directory, or goes into the one that is there. A link to one that is inside is followed.
    ///
    /// # Errors
    /// It cannot be made, or what is there is not a directory.
    pub fn make_dir(&self, name: &FileName) -> Result<(Dir<'j>, Arrival), Refusal> {
        let trail = self.trail(name);
        self.make_name(name, trail.clone()).map_err(|why| Refusal::new(&trail, why))
    }

    fn make_name(&self, name: &FileName, trail: Trail) -> Result<(Dir<'j>, Arrival), Cause> {
        self.allow_storing(name)?;
        if let Err(why) = self.judge(name, Operation::Mkdir) {
            return self.pass_through(name, trail, why);
        }
        if self.jail.rights.collision != Collision::Rename {
            return self.make_or_find(name, trail);
        }
        let make = |name: &FileName| mkdirat(&self.fd, name.as_os_str(), stat::Mode::S_IRWXU);
        let free = take_free(&self.fd, name, make)?;
        let mut dir = self.go_into(&free, trail.called(&free))?;
        self.settle_new(&mut dir)?;
        dir.renamed = (free != *name).then_some(free);
        Ok((dir, Arrival::Made))
    }

    pub(super) fn make_or_find(&self, name: &FileName, trail: Trail) -> Result<(Dir<'j>, Arrival), Cause> {
        // For our eyes only until all is in it, and never less: what is sent may be a read-only directory.
        let arrival = match mkdirat(&self.fd, name.as_os_str(), stat::Mode::S_IRWXU) {
            Ok(()) => Arrival::Made,
            Err(Errno::EEXIST) => Arrival::Found,
            Err(errno) => return Err(errno.into()),
        };
        let mut dir = self.go_into(name, trail)?;
        if arrival == Arrival::Made {
            self.settle_new(&mut dir)?;
        }
        Ok((dir, arrival))
    }

    fn settle_new(&self, dir: &mut Dir<'_>) -> Result<(), Cause> {
        dir.origin = if self.origin == Origin::Staged { Origin::Staged } else { Origin::Made };
        // Files in it that are acknowledged as durable are lost with its name.
        self.jail.ready_to_settle(&self.fd, self.identity.device, dir.fd.as_fd())?.settle()
    }

    fn go_into(&self, name: &FileName, trail: Trail) -> Result<Dir<'j>, Cause> {
        let (fd, route) = self.enter(name)?;
        let stat = fstat(&fd)?;
        self.jail.refuse_pseudo_file_system(&fd, &stat)?;
        Ok(Dir::new(self.jail, fd, &stat, route, trail))
    }

    /// Goes into a directory that may neither be made nor changed, for `why`, if something in it may.
    fn pass_through(&self, name: &FileName, trail: Trail, why: Cause) -> Result<(Dir<'j>, Arrival), Cause> {
        // In a box nobody goes into what is there, or learns that it is.
        let boxed = self.jail.rights.collision == Collision::Rename;
        if boxed || !self.jail.leads_on(self.route_to(name).as_deref(), STORING) {
            return Err(why);
        }
        let Ok(dir) = self.go_into(name, trail) else { return Err(why) };
        dir.passed.set(true);
        Ok((dir, Arrival::Found))
    }

    /// Takes a directory that was just made under a temporary name for the one that it will be.
    pub(super) fn staged(
        &self,
        fd: OwnedFd,
        name: &FileName,
        temporary: &FileName,
        trail: Trail,
    ) -> Result<Dir<'j>, Errno> {
        let stat = fstat(&fd)?;
        // Rules are about what it will be called; links, which are followed by what it is called now, are not followed then.
        let route = self.route_to(if self.jail.has_rules() { name } else { temporary });
        let mut dir = Dir::new(self.jail, fd, &stat, route, trail);
        dir.origin = Origin::Staged;
        Ok(dir)
    }

    /// Opens a directory for what is to be done to it: readable, so that mode and times can be set on the descriptor;
    /// where it may not be read (a drop box of mode 0300), at least to put something in.
    fn enter(&self, name: &FileName) -> Result<(OwnedFd, Option<Vec<u8>>), Cause> {
        let route = self.route_to(name);
        let readable = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let pinned = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open_here(name, readable) {
            Ok(fd) => return Ok((fd, route)),
            Err(Errno::EACCES) => return Ok((self.open_here(name, pinned)?, route)),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Not a directory, or a link: the one lookup from the root knows whether it stays inside.
        let whole = route.ok_or(Errno::ENAMETOOLONG)?;
        if self.jail.has_rules() {
            return Err(self.lack_of(name).why);
        }
        let fd = match self.follow(&whole, readable) {
            Err(Cause::Errno(Errno::EACCES)) => self.follow(&whole, pinned)?,
            opened => opened?,
        };
        Ok((fd, Some(whole)))
    }

    /// Makes sure that files can be put into a directory that was found: its owner's rights come back with the mode
    /// that the client sends for it (the second upload of a tree with read-only directories).
    pub fn open_up(&self) {
        let Ok(stat) = fstat(&self.fd) else { return };
        if self.passed.get() || self.jail.storage.directory_mode.is_some() {
            return;
        }
        let lacks = stat.st_mode & 0o700 != 0o700;
        if lacks && stat.st_uid == geteuid().as_raw() {
            let wider = stat::Mode::from_bits_truncate(stat.st_mode | 0o700);
            // Without it the first file is refused, in words that name it.
            let _ = fchmod(&self.fd, wider);
        }
    }

    /// Gives the directory its mode and times, once all is in it.
    ///
    /// # Errors
    /// They cannot be set; what is in the directory stays.
    pub fn finish(
        &self,
        arrival: Arrival,
        mode: Mode,
        keep: Keep,
        times: Option<&Times>,
    ) -> Result<(), Refusal> {
        if self.passed.get() {
            return Ok(());
        }
        let moded = self.finish_mode(arrival, mode, keep);
        let times = times.filter(|_| self.jail.storage.times == Leave::Given);
        let timed = times.map_or(Ok(()), |times| self.set_times(times));
        let synced = match self.jail.storage.sync {
            Sync::File => fsync(&self.fd).or_else(ignore_unreadable).map_err(Cause::from),
            Sync::None | Sync::Session => Ok(()),
        };
        synced.and(moded).and(timed).map_err(|why| Refusal::new(&self.trail, why))
    }

    fn finish_mode(&self, arrival: Arrival, mode: Mode, keep: Keep) -> Result<(), Cause> {
        let Storage { directory_mode: forced, group_id, .. } = self.jail.storage;
        // The administrator's group and mode are for what is made, and nothing is changed that was found.
        let made = arrival == Arrival::Made;
        let group = group_id.filter(|_| made).map(Gid::from_raw);
        let grouped = group.map_or(Ok(()), |group| fchown(&self.fd, None, Some(group)));
        let wanted = match (forced, keep, arrival) {
            (Some(_), _, Arrival::Found) | (_, Keep::Contents, Arrival::Found) => return Ok(()),
            (Some(forced), _, Arrival::Made) => Mode::new(forced),
            // A default list is handed on: its own is that of the directory that it was made in.
            (None, Keep::Contents, Arrival::Made) => self.jail.mode_of_new(mode, self.allowed()),
            (None, Keep::Attributes, _) => mode.only(self.jail.kept_bits()),
        };
        let wanted = if grouped.is_ok() { wanted } else { wanted.for_another_group() };
        // A set-group-id directory hands its group on to what is made in it: fchmod must not undo that.
        let inherited = fstat(&self.fd)?.st_mode & 0o2000;
        let moded = fchmod(&self.fd, stat::Mode::from_bits_truncate(wanted.with(inherited).bits()));
        let moded = moded.map_err(|errno| Cause::mode(opaque_is_denied(errno)));
        grouped.map_err(|errno| Cause::group(opaque_is_denied(errno))).and(moded)
    }

    fn set_times(&self, times: &Times) -> Result<(), Cause> {
        let file = File::from(self.fd.try_clone()?);
        set_file_handle_times(&file, Some(times.accessed), Some(times.modified))
            .map_err(|error| Cause::times(opaque_is_denied(errno(&error))))
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
    fn open_here(&self, name: &FileName, flags: OFlag) -> Result<OwnedFd, Errno> {
        let follow = if self.jail.confines() { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        openat(&self.fd, name.as_os_str(), flags | follow | OFlag::O_CLOEXEC, stat::Mode::empty())
    }

    /// Looks up where a link leads, from the root on; nowhere, where rules tell paths apart.
    fn follow(&self, route: &[u8], flags: OFlag) -> Result<OwnedFd, Cause> {
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

/// A directory that we may write to but not read is open by `O_PATH` only.
fn opaque_is_denied(errno: Errno) -> Errno {
    if errno == Errno::EBADF { Errno::EACCES } else { errno }
}

fn ignore_unreadable(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::EBADF { Ok(()) } else { Err(errno) }
}
