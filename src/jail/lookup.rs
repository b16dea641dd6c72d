//! The one lookup from a path to a descriptor, by the kernel, or component by component where it cannot; and what an entry
//! is, without opening it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use rustix::fs::{AtFlags as StatFlags, StatxAttributes, StatxFlags, statx};

use crate::name::FileName;

/// How paths are looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lookup {
    /// `openat2` with `RESOLVE_BENEATH`: the kernel does not leave the root, whatever is renamed meanwhile.
    Beneath,
    /// As the process sees the file system: no root confines.
    Host,
    /// One component at a time below pinned descriptors, where there is no `openat2`: Linux before 5.6, and sandboxes
    /// that answer `EPERM` (old container profiles) or `ENOSYS` (systemd's `RestrictSUIDSGID=`).
    Stepwise,
}

/// Whether links on the way are followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Links {
    /// As far as they stay inside.
    Followed,
    /// They lead nowhere: `ELOOP`.
    Refused,
}

/// A rename on the way makes the kernel give up with EAGAIN; 4 in a row were the most seen under attack.
const TRIES: usize = 128;

/// Links that one lookup follows, as the kernel's own limit.
const LINKS: usize = 40;

/// How a root is opened.
pub(super) const ROOT: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl Lookup {
    /// Opens the root itself, and finds out by that how paths can be looked up below it. Later failures are errors, not
    /// reasons to change.
    pub(super) fn enter(root: &Path) -> Result<(OwnedFd, Self), Errno> {
        match openat2(AT_FDCWD, root, OpenHow::new().flags(ROOT)) {
            Ok(root) => Ok((root, Self::Beneath)),
            Err(_) => Ok((openat(AT_FDCWD, root, ROOT, Mode::empty())?, Self::Stepwise)),
        }
    }

    /// Opens `path` below `root`. An empty path is the root.
    pub(super) fn open(
        self,
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlag,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_CLOEXEC;
        let path = if path.is_empty() { b"." } else { path };
        match self {
            Self::Beneath => {
                let resolve = ResolveFlag::RESOLVE_BENEATH
                    | match links {
                        Links::Followed => ResolveFlag::RESOLVE_NO_MAGICLINKS,
                        Links::Refused => ResolveFlag::RESOLVE_NO_SYMLINKS,
                    };
                let how = OpenHow::new().flags(flags).resolve(resolve);
                let attempt = || openat2(root, OsStr::from_bytes(path), how);
                (0..TRIES)
                    .map(|_| attempt())
                    .find(|opened| !matches!(opened, Err(Errno::EAGAIN | Errno::EINTR)))
                    .unwrap_or(Err(Errno::EAGAIN))
            }
            Self::Host => openat(root, OsStr::from_bytes(path), flags, Mode::empty()),
            Self::Stepwise => walk(root, path, flags, links),
        }
    }
}

/// Tells whether something is mounted over a name, as a container's engine does with single files: it cannot be renamed
/// over then.
pub(super) fn is_mounted_over(dir: &OwnedFd, name: &FileName) -> bool {
    let found = statx(dir, name.as_os_str(), StatFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Looks a path up without help: `..` goes back to the descriptor it came from and not to where the directory is now,
/// and a link's target is walked like the rest of the path.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlag, followed: Links) -> Result<OwnedFd, Errno> {
    if path.starts_with(b"/") {
        return Err(Errno::EXDEV);
    }
    let mut below: Vec<OwnedFd> = Vec::new();
    let mut links = 0_usize;
    let mut ahead: Vec<Vec<u8>> = reversed_components(path);
    while let Some(component) = ahead.pop() {
        let here = below.last().map_or(root, AsFd::as_fd);
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => {
                below.pop().ok_or(Errno::EXDEV)?;
                continue;
            }
            _ => {}
        }
        let name = OsStr::from_bytes(&component);
        let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = openat(here, name, look, Mode::empty())?;
        let kind = kind(&fstat(&found)?);
        if kind == SFlag::S_IFLNK {
            links = links.saturating_add(1);
            let target = readlinkat(&found, "")?;
            if links > LINKS || followed == Links::Refused {
                return Err(Errno::ELOOP);
            }
            if target.as_bytes().starts_with(b"/") {
                return Err(Errno::EXDEV);
            }
            ahead.append(&mut reversed_components(target.as_bytes()));
        } else if ahead.is_empty() {
            return openat(here, name, flags | OFlag::O_NOFOLLOW, Mode::empty());
        } else if kind == SFlag::S_IFDIR {
            below.push(found);
        } else {
            return Err(Errno::ENOTDIR);
        }
    }
    openat(below.last().map_or(root, AsFd::as_fd), ".", flags, Mode::empty())
}

fn reversed_components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

/// Looks at what an entry is, without following it.
pub(super) fn look_at(dir: &OwnedFd, name: &FileName) -> Result<Option<FileStat>, Errno> {
    match fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns what kind of file it is: `S_IFREG`, `S_IFDIR`, ...
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the tree that is looked into")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("scp-server-lookup-{name}-{}", std::process::id()));
            fs::create_dir_all(top.join("root/sub/deep")).unwrap();
            fs::write(top.join("root/file"), "inside").unwrap();
            fs::write(top.join("root/sub/deep/file"), "deep").unwrap();
            fs::write(top.join("secret"), "outside").unwrap();
            let root = top.join("root");
            symlink("sub", root.join("to-sub")).unwrap();
            symlink("../file", root.join("sub/up")).unwrap();
            symlink("../../secret", root.join("sub/out")).unwrap();
            symlink("/etc", root.join("absolute")).unwrap();
            symlink("..", root.join("parent")).unwrap();
            symlink("loop", root.join("loop")).unwrap();
            symlink("nowhere", root.join("dangling")).unwrap();
            for (hop, next) in (0..60).zip(1..) {
                symlink(format!("hop{next}"), root.join(format!("hop{hop}"))).unwrap();
            }
            symlink("file", root.join("hop60")).unwrap();
            Self(top)
        }

        fn root(&self) -> OwnedFd {
            fs::File::open(self.0.join("root")).unwrap().into()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    // covers: security PT-03, security PT-05, security PT-06, security PT-07, security PT-09
    #[test]
    fn the_kernel_and_the_stepwise_walk_agree_on_every_path() {
        let tree = Tree::new("agree");
        let root = tree.root();
        let inside = [
            "",
            ".",
            "file",
            "./file",
            "sub//deep/./file",
            "sub/../file",
            "to-sub/deep/file",
            "to-sub/up",
            "sub/..",
            "sub/../",
            "to-sub/../file",
            "hop55",
        ];
        let outside = [
            "..",
            "../",
            "../secret",
            "sub/../../secret",
            "sub/out",
            "absolute",
            "absolute/passwd",
            "parent",
            "parent/secret",
            "../root/file",
            "/file",
            "/",
        ];
        let failing = [
            ("loop", Errno::ELOOP),
            ("hop0", Errno::ELOOP),
            ("dangling", Errno::ENOENT),
            ("missing", Errno::ENOENT),
            ("missing/../file", Errno::ENOENT),
            ("file/", Errno::ENOTDIR),
            ("file/x", Errno::ENOTDIR),
            ("file/..", Errno::ENOTDIR),
        ];
        for lookup in [Lookup::Beneath, Lookup::Stepwise] {
            let open =
                |path: &str| lookup.open(root.as_fd(), path.as_bytes(), OFlag::O_RDONLY, Links::Followed);
            for path in inside {
                assert!(open(path).is_ok(), "{lookup:?} {path:?}");
            }
            for path in outside {
                assert_eq!(open(path).err(), Some(Errno::EXDEV), "{lookup:?} {path:?}");
            }
            for (path, errno) in failing {
                assert_eq!(open(path).err(), Some(errno), "{lookup:?} {path:?}");
            }
        }
    }

    #[test]
    fn links_that_are_refused_lead_nowhere_wherever_in_the_path_they_are() {
        let tree = Tree::new("refused");
        let root = tree.root();
        for lookup in [Lookup::Beneath, Lookup::Stepwise] {
            let open = |path: &str| {
                lookup.open(root.as_fd(), path.as_bytes(), OFlag::O_RDONLY, Links::Refused).err()
            };
            for path in ["", "file", "sub/deep/file", "sub/../file"] {
                assert_eq!(open(path), None, "{lookup:?} {path:?}");
            }
            for path in
                ["to-sub", "to-sub/", "to-sub/deep/file", "sub/up", "sub/out", "loop", "dangling", "parent/x"]
            {
                assert_eq!(open(path), Some(Errno::ELOOP), "{lookup:?} {path:?}");
            }
            assert_eq!(open("../secret"), Some(Errno::EXDEV), "{lookup:?}");
        }
    }

    // covers: security PT-04
    #[test]
    fn magic_links_lead_nowhere_even_when_everything_is_inside() {
        let root: OwnedFd = fs::File::open("/").unwrap().into();
        for lookup in [Lookup::Beneath, Lookup::Stepwise] {
            for path in
                ["proc/self/root/etc/passwd", "proc/self/cwd", "proc/self/fd/0", "dev/fd/0", "proc/self/exe"]
            {
                let opened = lookup.open(root.as_fd(), path.as_bytes(), OFlag::O_RDONLY, Links::Followed);
                assert!(
                    matches!(opened, Err(Errno::ELOOP | Errno::EXDEV | Errno::ENOENT)),
                    "{lookup:?} {path} {opened:?}"
                );
            }
        }
    }
}
