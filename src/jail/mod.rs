//! The file system, as far as the session may see it: one root, and one lookup from a client's path to a place.
//!
//! Below that lookup there are no paths: everything is done with a pinned descriptor and one [`FileName`], so that no
//! rename by another process can make a checked path mean something else (CVE-2026-43619: it is not enough to open
//! files that way, modes and times and directories have to be handled so too).

mod dir;
mod drop_box;
mod durability;
mod foresight;
mod gate;
mod glob;
mod inheritance;
mod limits;
mod lookup;
mod making;
mod names;
mod protect;
mod removal;
mod renaming;
mod small;
mod staging;
mod temporary;
mod upload;

pub use dir::{Attributes, Contents, Dir, Entry};
pub use foresight::Fate;
pub use making::Arrival;
pub use names::Names;
pub use small::{Incoming, Small};
pub use staging::Staging;
pub use upload::Upload;

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{self, FileStat, fstat};
use nix::sys::statfs::{FsType, fstatfs};

use crate::name::{ClientPath, FileName};
use crate::policy::{DotFiles, Grant, Leave, Limits, Rights, Storage, Unit};
use crate::refusal::{Cause, Refusal, Trail, Words};
use crate::request::{Keep, TargetKind};
use durability::{Disks, Lately};
use gate::straighten;
use limits::Used;
use lookup::{Links, Lookup, ROOT};
use protect::Home;

/// The root, and what may be done below it.
#[derive(Debug)]
pub struct Jail {
    root: OwnedFd,
    /// The whole tree, where no root confines.
    everything: Option<OwnedFd>,
    identity: Identity,
    home: Option<Home>,
    /// The root as the administrator wrote it, without slashes at its end: clients may use this spelling too.
    spelling: Vec<u8>,
    /// The root as seen from the one that the file's rules are about.
    within: Vec<u8>,
    lookup: Lookup,
    links: Links,
    rights: Rights,
    limits: Limits,
    used: Used,
    storage: Storage,
    umask: u32,
    disks: Disks,
    lately: Lately,
    lacks: Lacks,
    /// What small files are called, one after the other, before they have their names.
    small: OnceCell<Option<FileName>>,
}

/// What a path of the client's leads to.
#[derive(Debug)]
pub enum Place<'j> {
    /// A directory that is there.
    Directory(Dir<'j>),
    /// A name in a directory that is there; the name itself may be free or taken.
    Name {
        /// The directory.
        dir: Dir<'j>,
        /// The name in it.
        name: FileName,
        /// Whether the client's spelling insists on a directory (`new/`).
        spelling: Insists,
    },
}

/// Whether a spelling insists on a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Insists {
    /// A file will do.
    No,
    /// It ends in a slash.
    Yes,
}

/// Device and inode: what a file is, whatever it is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// What the file system cannot do, found out and logged once.
#[derive(Debug, Default)]
struct Lacks {
    exchange: Cell<bool>,
    /// Of storing small files, whatever it was that failed: see `small`.
    short_way: Cell<bool>,
    locks: Cell<bool>,
    no_replace: Cell<bool>,
}

impl Identity {
    fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Jail {
    /// Opens the root, once. Whatever happens to its name afterwards, we stay in this directory.
    ///
    /// # Errors
    /// The root is not there, is no directory, or may not be entered.
    pub fn open(grant: Grant) -> io::Result<Self> {
        let Grant { root: path, within, home, rights, limits, storage, .. } = grant;
        // From here on all modes are set on descriptors; what is created meanwhile is for our eyes only.
        let ours = stat::umask(stat::Mode::from_bits_truncate(0o077)).bits();
        let open = |path| openat(AT_FDCWD, path, ROOT, stat::Mode::empty());
        let (mut root, mut lookup, everything) = match &path {
            Some(path) => {
                let (root, lookup) = Lookup::enter(path)?;
                (root, lookup, None)
            }
            None => (open(".")?, Lookup::Host, Some(open("/")?)),
        };
        if cfg!(feature = "without-resolver") {
            // For the proof that the kernel's layer holds alone; see tests/confinement.
            lookup = Lookup::Host;
        }
        let links = match rights {
            Rights { dot_files: DotFiles::Allow, ref paths, .. } if paths.is_empty() => Links::Followed,
            _ => Links::Refused,
        };
        let mut spelling = path.as_deref().map_or(&b""[..], |path| path.as_os_str().as_bytes()).to_vec();
        if let Some(within) = &within {
            let route = trim_leading_slashes(within.as_os_str().as_bytes());
            root = lookup.open(root.as_fd(), route, ROOT, links).map_err(|errno| match errno {
                // Outside is nowhere, and so is what a link leads to that is not followed.
                Errno::EXDEV | Errno::ELOOP => Errno::ENOENT,
                other => other,
            })?;
            spelling = [trim_trailing_slashes(&spelling), b"/", route].concat();
        }
        let identity = Identity::of(&fstat(&root)?);
        // On the host the account may do what it may do.
        let guarded = home.filter(|_| path.is_some() && rights.start_up_files == Leave::Withheld);
        Ok(Self {
            identity,
            home: guarded.and_then(|home| Home::near(identity, &home, lookup)),
            spelling: trim_trailing_slashes(&spelling).to_vec(),
            umask: storage.umask.unwrap_or(ours),
            within: within.map(|within| straighten(within.as_os_str().as_bytes())).unwrap_or_default(),
            root,
            everything,
            lookup,
            links,
            rights,
            limits,
            used: Used::default(),
            storage,
            disks: Disks::default(),
            lately: Lately::default(),
            lacks: Lacks::default(),
            small: OnceCell::new(),
        })
    }

    /// Tells whether the account's home lies in the root, so that its start-up files are within reach.
    pub fn holds_home(&self) -> bool {
        self.home.as_ref().is_some_and(Home::is_inside)
    }

    /// Returns what gets its name in one step.
    pub fn unit(&self) -> Unit {
        self.storage.unit
    }

    /// Returns what `keep` comes to where the client's modes may not count.
    pub fn keep(&self, keep: Keep) -> Keep {
        if self.storage.modes == Leave::Withheld { Keep::Contents } else { keep }
    }

    /// Returns what the kernel is to confine the process to: the root, or, where none confines, the whole tree, in which it
    /// still denies execution and the like.
    pub fn bounds(&self) -> BorrowedFd<'_> {
        self.everything.as_ref().unwrap_or(&self.root).as_fd()
    }

    /// Returns the words for what `path` leads to.
    pub fn trail(&self, path: &ClientPath) -> Trail {
        self.trail_of(path, &self.route(path))
    }

    fn trail_of(&self, path: &ClientPath, route: &[u8]) -> Trail {
        let trail = Trail::from_path(path);
        if self.confines() { trail.at(route) } else { trail }
    }

    /// Finds where an upload to `path` goes. `kind` counts only where everything is put into a box.
    ///
    /// # Errors
    /// The directory that it would be in is not there, or is outside.
    pub fn find(&self, path: &ClientPath, kind: TargetKind) -> Result<Place<'_>, Refusal> {
        if let Some(drop_box) = &self.rights.drop_box {
            return self.find_in_box(drop_box, path, kind);
        }
        let route = self.route(path);
        let trail = self.trail_of(path, &route);
        let refuse = |why: Cause| Refusal::new(&trail, why);
        if let Some(why) = self.bar(&route) {
            return Err(refuse(why));
        }
        match self.open_directory(&route, trail.clone()) {
            Ok(dir) => return Ok(Place::Directory(dir)),
            // Not there, or not a directory; a link at the end that leads outside is a name like any other.
            Err(Cause::Errno(Errno::ENOENT | Errno::ENOTDIR) | Cause::Outside(_)) => {}
            Err(cause) => return Err(refuse(cause)),
        }
        let trimmed = trim_trailing_slashes(&route);
        let (parent, last) = match trimmed.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (trimmed.get(..=slash), trimmed.get(slash.saturating_add(1)..)),
            None => (Some(&b""[..]), Some(trimmed)),
        };
        let (parent, last) = (parent.unwrap_or_default(), last.unwrap_or_default());
        let name = FileName::new(last).ok_or_else(|| refuse(Errno::ENOENT.into()))?;
        let dir = self.open_directory(parent, trail.parent()).map_err(refuse)?;
        let spelling = if trimmed.len() < route.len() { Insists::Yes } else { Insists::No };
        Ok(Place::Name { dir, name, spelling })
    }

    /// Opens what `path` leads to, to be sent; links are followed as far as they stay inside.
    ///
    /// # Errors
    /// It is not there, may not be read, is outside, or is neither a file nor a directory.
    pub fn fetch(&self, path: &ClientPath) -> Result<Entry<'_>, Refusal> {
        let route = self.route(path);
        let trail = self.trail_of(path, &route);
        let fetched = self.fetch_route(route, &trail);
        fetched.map_err(|why| Refusal::new(&trail, why))
    }

    fn fetch_route(&self, route: Vec<u8>, trail: &Trail) -> Result<Entry<'_>, Cause> {
        if self.rights.fetching == Leave::Withheld {
            return Err(Cause::Unauthorised("downloads are"));
        }
        if ClientPath::new(route.as_slice()).last().is_some_and(|name| temporary::is_temporary(&name)) {
            return Err(Errno::ENOENT.into());
        }
        let passage = self.passage(Some(&route))?;
        let opened = self.look_up(&route, Entry::FLAGS);
        passage.admit(opened.and_then(|fd| Entry::new(self, fd, || Some(route), Words::Whole(trail))))
    }

    /// Returns the name of the directory that a spelling such as `.` or `x/..` leads to.
    ///
    /// A modern client refuses a directory called `.`; `root` stands for one that has no name.
    pub fn own_name(&self, dir: &Dir<'_>) -> Option<FileName> {
        let name = if self.confines() && dir.identity() == self.identity {
            self.spelling.rsplit(|&byte| byte == b'/').next().and_then(FileName::new)
        } else if self.has_rules() {
            dir.name_in_route()
        } else {
            dir.name_in_parent()
        };
        name.or_else(|| FileName::new(b"root"))
    }

    /// Makes everything durable that was stored, if that is what `--sync session` asks for.
    ///
    /// # Errors
    /// The disk failed: what was acknowledged may not survive a power cut.
    pub fn settle(&self) -> io::Result<()> {
        self.disks.settle()
    }

    /// Logs once in a session what the file system cannot do, and what is done in its place.
    fn note_lack(&self, lack: impl Fn(&Lacks) -> &Cell<bool>, next_best: &str) {
        if !lack(&self.lacks).replace(true) {
            log::warn!("{next_best}");
        }
    }

    fn open_directory(&self, route: &[u8], trail: Trail) -> Result<Dir<'_>, Cause> {
        let fd = self.look_up(route, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let stat = fstat(&fd)?;
        self.refuse_pseudo_file_system(&fd, &stat)?;
        Ok(Dir::new(self, fd, &stat, Some(route.to_vec()), trail))
    }

    fn look_up(&self, route: &[u8], flags: OFlag) -> Result<OwnedFd, Cause> {
        self.lookup.open(self.root.as_fd(), route, flags, self.links).map_err(|errno| match errno {
            Errno::EXDEV | Errno::ELOOP if self.confines() => Cause::Outside(errno),
            // A socket, or a fifo or a device that nobody serves.
            Errno::ENXIO | Errno::ENODEV => Cause::NotRegular,
            other => Cause::Errno(other),
        })
    }

    fn confines(&self) -> bool {
        self.lookup != Lookup::Host
    }

    /// Turns the client's spelling into a route from the root. `x`, `/x` and, the root being `/srv/drop`,
    /// `/srv/drop/x` are the same, unless the root has a `srv/drop` in it.
    fn route(&self, path: &ClientPath) -> Vec<u8> {
        let path = path.as_bytes();
        if !self.confines() {
            return path.to_vec();
        }
        let rest = match path.strip_prefix(self.spelling.as_slice()) {
            Some(rest @ ([] | [b'/', ..])) if self.spelling.starts_with(b"/") && !self.nests_itself() => rest,
            _ => path,
        };
        let route = trim_leading_slashes(rest);
        if self.has_rules() { straighten(route) } else { route.to_vec() }
    }

    /// Tells whether the root `/srv/drop` has a directory `srv/drop` in it.
    fn nests_itself(&self) -> bool {
        let route = trim_leading_slashes(&self.spelling);
        self.lookup.open(self.root.as_fd(), route, OFlag::O_PATH | OFlag::O_DIRECTORY, self.links).is_ok()
    }

    /// Refuses what only looks like files: opening or writing there does things to the machine.
    fn refuse_pseudo_file_system(&self, fd: &OwnedFd, stat: &FileStat) -> Result<(), Cause> {
        if !self.confines() || stat.st_dev == self.identity.device {
            return Ok(());
        }
        if PSEUDO.contains(&fstatfs(fd)?.filesystem_type()) { Err(Cause::NotRegular) } else { Ok(()) }
    }
}

/// Says how paths are looked up on this kernel, in a line for `--sandbox-report`.
pub fn report_lookup() -> &'static str {
    match Lookup::enter(Path::new("/")) {
        Ok((_, Lookup::Beneath)) => "openat2: active",
        _ => "openat2: not in this kernel, or hidden: paths are walked one name at a time",
    }
}

/// File systems whose files are not for storing: magic numbers of statfs(2).
const PSEUDO: [FsType; 11] = [
    nix::sys::statfs::PROC_SUPER_MAGIC,
    nix::sys::statfs::SYSFS_MAGIC,
    nix::sys::statfs::CGROUP_SUPER_MAGIC,
    nix::sys::statfs::CGROUP2_SUPER_MAGIC,
    nix::sys::statfs::DEBUGFS_MAGIC,
    nix::sys::statfs::TRACEFS_MAGIC,
    nix::sys::statfs::SECURITYFS_MAGIC,
    nix::sys::statfs::DEVPTS_SUPER_MAGIC,
    nix::sys::statfs::BPF_FS_MAGIC,
    FsType(0x6265_6570), // configfs
    FsType(0xde5e_81e4), // efivarfs
];

fn trim_leading_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

fn trim_trailing_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last.saturating_add(1));
    path.get(..end).unwrap_or_default()
}
