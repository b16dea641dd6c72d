//! A tree in memory, naive and slow, and what makes it, and finds it, on disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{self, FchmodatFlags, FileStat, SFlag, fchmodat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, mkfifo, unlinkat};

/// Links that the kernel follows in one lookup.
const LINKS: usize = 40;

/// Bytes of a path, its NUL included, and of a name.
const PATH: usize = 4096;
const NAME: usize = 255;

pub type Id = usize;

#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Whether `..` of the root leads out of what is modelled, and is not followed.
    confined: bool,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    /// Seconds of the last change, where they were set.
    pub changed: Option<i64>,
    /// Names that it has outside.
    pub names_outside: usize,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Directory { parent: Id, children: BTreeMap<Vec<u8>, Id> },
    Fifo,
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Astray {
    Absent,
    Loop,
    NameTooLong,
    NotDirectory,
    Outside,
}

/// What the path led to, and how many links were followed.
pub type Walked = Result<Id, Astray>;

impl Tree {
    pub const ROOT: Id = 0;

    pub fn new(confined: bool) -> Self {
        let mut tree = Self { nodes: Vec::new(), confined };
        tree.nodes.push(Node::new(Kind::Directory { parent: 0, children: BTreeMap::new() }, 0o755));
        tree
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    pub fn children(&self, dir: Id) -> &BTreeMap<Vec<u8>, Id> {
        match &self.nodes[dir].kind {
            Kind::Directory { children, .. } => children,
            other => panic!("not a directory: {other:?}"),
        }
    }

    fn children_mut(&mut self, dir: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.nodes[dir].kind {
            Kind::Directory { children, .. } => children,
            other => panic!("not a directory: {other:?}"),
        }
    }

    pub fn child(&self, dir: Id, name: &[u8]) -> Option<Id> {
        self.children(dir).get(name).copied()
    }

    /// Counts all there is.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the contents of all files.
    pub fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.iter().filter_map(|node| match &node.kind {
            Kind::File(contents) => Some(contents.as_slice()),
            _ => None,
        })
    }

    /// Tells whether the account may read all there is.
    pub fn is_readable(&self) -> bool {
        let may_read = |node: &Node| match node.kind {
            Kind::Directory { .. } => node.mode & 0o500 == 0o500,
            Kind::File(_) => node.mode & 0o400 != 0,
            _ => true,
        };
        geteuid().is_root() || self.nodes.iter().all(may_read)
    }

    /// Returns what a directory is called in its parent.
    pub fn name(&self, dir: Id) -> Vec<u8> {
        let Kind::Directory { parent, .. } = self.nodes[dir].kind else { panic!("not a directory") };
        let named = self.children(parent).iter().find(|entry| *entry.1 == dir);
        named.unwrap().0.clone()
    }

    pub fn is_directory(&self, id: Id) -> bool {
        matches!(self.nodes[id].kind, Kind::Directory { .. })
    }

    /// Puts something new under a name, in the place of what is there.
    pub fn put(&mut self, dir: Id, name: &[u8], mut node: Node) -> Id {
        if let Kind::Directory { parent, .. } = &mut node.kind {
            *parent = dir;
        }
        let id = self.nodes.len();
        self.nodes.push(node);
        self.children_mut(dir).insert(name.to_vec(), id);
        id
    }

    /// Gives what has a name another one.
    pub fn link(&mut self, dir: Id, name: &[u8], id: Id) {
        self.children_mut(dir).insert(name.to_vec(), id);
    }

    /// Takes a name off.
    pub fn remove(&mut self, dir: Id, name: &[u8]) {
        self.children_mut(dir).remove(name);
    }

    /// Makes a directory that has no name yet.
    pub fn detached(&mut self, parent: Id, mode: u32) -> Id {
        self.nodes.push(Node::new(Kind::Directory { parent, children: BTreeMap::new() }, mode));
        self.nodes.len() - 1
    }

    /// Counts the names of a node.
    pub fn names(&self, id: Id) -> usize {
        let inside = self.nodes.iter().map(|node| match &node.kind {
            Kind::Directory { children, .. } => children.values().filter(|&&child| child == id).count(),
            _ => 0,
        });
        inside.sum::<usize>() + self.nodes[id].names_outside
    }

    /// Follows a path, its last component too.
    pub fn walk(&self, start: Id, path: &[u8]) -> Walked {
        if path.len() >= PATH {
            return Err(Astray::NameTooLong);
        }
        if path.starts_with(b"/") {
            return Err(Astray::Outside);
        }
        let mut links = 0;
        let mut here = start;
        let mut ahead: Vec<Vec<u8>> = path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect();
        while let Some(name) = ahead.pop() {
            let Kind::Directory { parent, children } = &self.nodes[here].kind else {
                return Err(Astray::NotDirectory);
            };
            match name.as_slice() {
                b"" | b"." => continue,
                b".." if here == Self::ROOT => return Err(Astray::Outside),
                b".." => {
                    here = *parent;
                    continue;
                }
                _ => {}
            }
            if name.len() > NAME {
                return Err(Astray::NameTooLong);
            }
            let found = *children.get(&name).ok_or(Astray::Absent)?;
            let Kind::Link(target) = &self.nodes[found].kind else {
                here = found;
                continue;
            };
            links += 1;
            if links > LINKS {
                return Err(Astray::Loop);
            }
            if target.starts_with(b"/") {
                return Err(Astray::Outside);
            }
            ahead.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
        }
        Ok(here)
    }

    /// Follows a path that is to be a directory.
    pub fn walk_to_directory(&self, start: Id, path: &[u8]) -> Walked {
        let found = self.walk(start, path)?;
        if self.is_directory(found) { Ok(found) } else { Err(Astray::NotDirectory) }
    }

    pub fn confined(&self) -> bool {
        self.confined
    }

    /// Makes the tree on disk, in a directory that is there and empty. `outside` is what files with names outside are
    /// linked from.
    pub fn build(&self, place: &Path, outside: &Path) {
        self.build_directory(Self::ROOT, place, outside, &mut BTreeMap::new());
    }

    fn build_directory(
        &self,
        dir: Id,
        place: &Path,
        outside: &Path,
        made: &mut BTreeMap<Id, std::path::PathBuf>,
    ) {
        for (name, &id) in self.children(dir) {
            let path = place.join(OsStr::from_bytes(name));
            let node = &self.nodes[id];
            if let Some(first) = made.get(&id) {
                fs::hard_link(first, &path).unwrap();
                continue;
            }
            match &node.kind {
                Kind::Directory { .. } => {
                    fs::create_dir(&path).unwrap();
                    self.build_directory(id, &path, outside, made);
                }
                Kind::Fifo => mkfifo(&path, stat::Mode::S_IRWXU).unwrap(),
                Kind::File(_) if node.names_outside > 0 => {
                    fs::hard_link(outside, &path).unwrap();
                    continue;
                }
                Kind::File(contents) => fs::write(&path, contents).unwrap(),
                Kind::Link(target) => {
                    symlink(OsStr::from_bytes(target), &path).unwrap();
                    continue;
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(node.mode)).unwrap();
            made.insert(id, path);
        }
    }

    /// Compares the tree with what is on disk.
    pub fn compare(&self, root: OwnedFd) {
        self.compare_directory(Self::ROOT, root, b"");
    }

    fn compare_directory(&self, dir: Id, fd: OwnedFd, trail: &[u8]) {
        let shown = trail.escape_ascii();
        let found = names(&fd);
        let expected: Vec<_> = self.children(dir).keys().cloned().collect();
        assert_eq!(found, expected, "in {shown}");
        for (name, &id) in self.children(dir) {
            let trail = [trail, b"/", name].concat();
            let shown = trail.escape_ascii().to_string();
            let stat = look(&fd, name);
            let node = &self.nodes[id];
            match &node.kind {
                Kind::Directory { .. } => {
                    assert_eq!(kind(&stat), SFlag::S_IFDIR, "{shown}");
                    self.compare_directory(id, open_directory(&fd, name), &trail);
                }
                Kind::Fifo => assert_eq!(kind(&stat), SFlag::S_IFIFO, "{shown}"),
                Kind::File(contents) => {
                    assert_eq!(kind(&stat), SFlag::S_IFREG, "{shown}");
                    make_readable(&fd, name, 0o400);
                    let mut read = Vec::new();
                    let file = openat(&fd, os(name), OFlag::O_RDONLY, stat::Mode::empty()).unwrap();
                    File::from(file).read_to_end(&mut read).unwrap();
                    assert!(read == *contents, "{shown}: {} against {}", shorten(&read), shorten(contents));
                    // What a file system makes of times after 2100 is its own affair.
                    if let Some(seconds) = node.changed.filter(|seconds| *seconds < 1 << 32) {
                        assert_eq!(stat.st_mtime, seconds, "{shown}");
                    }
                }
                Kind::Link(target) => {
                    assert_eq!(kind(&stat), SFlag::S_IFLNK, "{shown}");
                    assert_eq!(readlinkat(&fd, os(name)).unwrap().as_bytes(), target, "{shown}");
                    continue;
                }
            }
            let mode = stat.st_mode & 0o7777;
            assert_eq!(mode, node.mode, "{shown}: {mode:o} against {:o}", node.mode);
        }
    }
}

impl Node {
    pub fn new(kind: Kind, mode: u32) -> Self {
        Self { kind, mode, changed: None, names_outside: 0 }
    }

    pub fn directory(mode: u32) -> Self {
        Self::new(Kind::Directory { parent: 0, children: BTreeMap::new() }, mode)
    }

    pub fn file(contents: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::new(Kind::File(contents.into()), mode)
    }

    pub fn link(target: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::Link(target.into()), 0o777)
    }
}

/// Lists a directory, sorted.
pub fn names(fd: &OwnedFd) -> Vec<Vec<u8>> {
    let listing = openat(fd, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, stat::Mode::empty()).unwrap();
    let mut names: Vec<_> = Dir::from_fd(listing)
        .unwrap()
        .into_iter()
        .map(|entry| entry.unwrap().file_name().to_bytes().to_vec())
        .filter(|name| name != b"." && name != b"..")
        .collect();
    names.sort();
    names
}

pub fn look(fd: &OwnedFd, name: &[u8]) -> FileStat {
    fstatat(fd, os(name), AtFlags::AT_SYMLINK_NOFOLLOW).unwrap()
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Opens a directory; one that may not be read is made readable first, and what it was has been looked at before.
pub fn open_directory(fd: &OwnedFd, name: &[u8]) -> OwnedFd {
    make_readable(fd, name, 0o500);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(fd, os(name), flags, stat::Mode::empty()).unwrap()
}

fn make_readable(fd: &OwnedFd, name: &[u8], needed: u32) {
    if look(fd, name).st_mode & needed != needed && !geteuid().is_root() {
        fchmodat(fd.as_fd(), os(name), stat::Mode::S_IRWXU, FchmodatFlags::FollowSymlink).unwrap();
    }
}

/// Removes all that is in a directory, whatever its modes are.
pub fn clear(fd: &OwnedFd) {
    for name in names(fd) {
        let flags = if kind(&look(fd, &name)) == SFlag::S_IFDIR {
            fchmodat(fd.as_fd(), os(&name), stat::Mode::S_IRWXU, FchmodatFlags::FollowSymlink).unwrap();
            clear(&open_directory(fd, &name));
            UnlinkatFlags::RemoveDir
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        unlinkat(fd, os(&name), flags).unwrap();
    }
}

/// Goes through all names below a directory.
pub fn each_name(fd: &OwnedFd, see: &mut impl FnMut(&[u8])) {
    for name in names(fd) {
        see(&name);
        if kind(&look(fd, &name)) == SFlag::S_IFDIR {
            each_name(&open_directory(fd, &name), see);
        }
    }
}

pub fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

fn shorten(contents: &[u8]) -> String {
    let start = &contents[..contents.len().min(40)];
    format!("{} bytes {}", contents.len(), start.escape_ascii())
}
