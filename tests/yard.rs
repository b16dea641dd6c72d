//! A temporary root, what is in it, and canaries beside it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use filetime::FileTime;
use nix::sys::stat::{Mode, SFlag, mknod, umask};
use nix::unistd::{Gid, Uid, User, chown, geteuid, mkfifo};

use crate::server::Tested;
use crate::tally;

/// The unprivileged account for which permission bits count; `tests/run` creates it.
const USER: &str = "scptest";

/// `root/` is what the program may touch, `outside/` holds canaries. Dropped, it asserts that the canaries were not
/// touched and that no temporary file of the program's was left in the root.
pub struct Yard {
    home: PathBuf,
    tested: Tested,
    user: Option<(Uid, Gid)>,
    outside: Option<Snapshot>,
}

type Snapshot = BTreeMap<PathBuf, String>;

impl Yard {
    /// Makes a yard for a scenario that holds for every program.
    pub fn new() -> Self {
        Self::made(Tested::chosen(), None)
    }

    /// Makes a yard for a scenario about confinement, unless the program tested is not confined.
    pub fn confined() -> Option<Self> {
        if Tested::chosen() != Tested::Confined {
            tally::skipped("about confinement only");
            return None;
        }
        Some(Self::new())
    }

    /// Makes a yard for a scenario in which the home directory is the root, unless ours is in the place of scp: it asks
    /// the system where the home is.
    pub fn not_in_place_of_scp() -> Option<Self> {
        if Tested::chosen() == Tested::InPlaceOfScp {
            tally::skipped("the account's home is not in the yard");
            return None;
        }
        Some(Self::new())
    }

    /// Makes a yard for a scenario about a program that may leave its directory, unless the one tested may not.
    pub fn in_place_of_scp() -> Option<Self> {
        if Tested::chosen() == Tested::Confined {
            tally::skipped("about the program without a root only");
            return None;
        }
        Some(Self::new())
    }

    /// Makes a yard for a scenario about something that OpenSSH's scp does not have.
    pub fn ours(reason: &str) -> Option<Self> {
        if Tested::chosen() == Tested::OpenSsh {
            tally::skipped(reason);
            return None;
        }
        Some(Self::new())
    }

    /// Makes a yard that belongs to a user for whom permission bits count, who also runs the program.
    pub fn of_a_user() -> Option<Self> {
        if !geteuid().is_root() {
            return Some(Self::new());
        }
        let Ok(Some(user)) = User::from_name(USER) else {
            tally::skipped("there is no user scptest");
            return None;
        };
        Some(Self::made(Tested::chosen(), Some((user.uid, user.gid))))
    }

    fn made(tested: Tested, user: Option<(Uid, Gid)>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        umask(Mode::from_bits_truncate(0o022));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("scp-yard-{}-{number}", std::process::id()));
        let mut yard = Self { home, tested, user, outside: None };
        for directory in ["", "root", "outside", "outside/d", "outside/empty"] {
            fs::create_dir(yard.home.join(directory)).unwrap();
        }
        fs::set_permissions(&yard.home, Permissions::from_mode(0o755)).unwrap();
        fs::write(yard.outside("secret"), "the secret\n").unwrap();
        fs::write(yard.outside("d/inner"), "the inner secret\n").unwrap();
        fs::set_permissions(yard.outside("d/inner"), Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(yard.outside("d"), Permissions::from_mode(0o750)).unwrap();
        yard.give(&yard.path(""));
        for canary in ["", "secret", "d", "d/inner", "empty"] {
            yard.give(&yard.outside(canary));
        }
        yard.looks_outside_again();
        yard
    }

    /// Returns which program is tested.
    pub fn tested(&self) -> Tested {
        self.tested
    }

    /// Returns whom the program is to be run as, if not as the account that runs the tests.
    pub fn user(&self) -> Option<(Uid, Gid)> {
        self.user
    }

    /// Tells whether OpenSSH's scp is tested, and writes down that it does otherwise: `what` says how.
    pub fn openssh(&self, what: &str) -> bool {
        let it_is = self.tested == Tested::OpenSsh;
        if it_is {
            tally::difference(what);
        }
        it_is
    }

    /// Tells whether the program tested may leave its directory (OpenSSH's scp, or ours in its place).
    pub fn unconfined(&self) -> bool {
        self.tested != Tested::Confined
    }

    /// Lets go of the canaries: the program tested is one that touches them.
    pub fn gives_up_outside(&mut self) {
        self.outside = None;
    }

    /// Takes the canaries as they are now for what they are to be in the end.
    pub fn looks_outside_again(&mut self) {
        let outside = self.outside("");
        look_unread(&outside);
        self.outside = Some(snapshot(&outside));
        look_unread(&outside);
    }

    /// Asserts that nothing outside was changed or read.
    pub fn assert_outside_unchanged(&self) {
        if let Some(before) = &self.outside {
            let outside = self.outside("");
            assert_eq!(before, &snapshot(&outside), "the canaries, before and after");
            look_unread(&outside);
        }
    }

    /// Tells whether nothing outside was changed or read.
    pub fn outside_is_unchanged(&self) -> bool {
        self.outside.as_ref() == Some(&snapshot(&self.outside("")))
    }

    /// Returns the directory that holds the root and what is outside it.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the root, or what is called `name` in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        inside(self.home.join("root"), name.as_ref())
    }

    /// Returns the directory of the canaries, or what is called `name` in it.
    pub fn outside(&self, name: impl AsRef<Path>) -> PathBuf {
        inside(self.home.join("outside"), name.as_ref())
    }

    /// Makes a file in the root, mode 0644.
    pub fn file(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        self.give(&path);
        self
    }

    /// Makes a directory in the root, mode 0755.
    pub fn dir(&self, name: impl AsRef<Path>) -> &Self {
        let path = self.path(name);
        fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
        self.give(&path);
        self
    }

    /// Makes a symbolic link in the root.
    pub fn link(&self, name: impl AsRef<Path>, target: impl AsRef<Path>) -> &Self {
        symlink(target, self.path(name)).unwrap();
        self
    }

    /// Makes a second name in the root for the file at `original`.
    pub fn hard_link(&self, original: impl AsRef<Path>, name: impl AsRef<Path>) -> &Self {
        fs::hard_link(original, self.path(name)).unwrap();
        self
    }

    /// Makes a named pipe in the root.
    pub fn fifo(&self, name: impl AsRef<Path>) -> &Self {
        let path = self.path(name);
        mkfifo(&path, Mode::from_bits_truncate(0o644)).unwrap();
        self.give(&path);
        self
    }

    /// Makes a socket in the root.
    pub fn socket(&self, name: impl AsRef<Path>) -> &Self {
        let path = self.path(name);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        self.give(&path);
        self
    }

    /// Makes a device in the root that is /dev/null; tells whether it could, which takes root.
    pub fn null_device(&self, name: impl AsRef<Path>) -> bool {
        let made = mknod(
            &self.path(name),
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o666),
            nix::sys::stat::makedev(1, 3),
        );
        if made.is_err() {
            tally::skipped("no right to make a device");
        }
        made.is_ok()
    }

    /// Sets permission bits.
    pub fn chmod(&self, name: impl AsRef<Path>, mode: u32) -> &Self {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Sets when the contents were last modified and last read, in seconds.
    pub fn times(&self, name: impl AsRef<Path>, modified: i64, accessed: i64) -> &Self {
        filetime::set_file_times(
            self.path(name),
            FileTime::from_unix_time(accessed, 0),
            FileTime::from_unix_time(modified, 0),
        )
        .unwrap();
        self
    }

    /// Returns the contents of a file.
    pub fn contents(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns mode bits, set-id and sticky ones included.
    pub fn mode(&self, name: impl AsRef<Path>) -> u32 {
        self.stat(name).mode() & 0o7777
    }

    /// Returns when the contents were last modified and last read, in seconds. Ask before `contents`.
    pub fn stamps(&self, name: impl AsRef<Path>) -> (i64, i64) {
        let stat = self.stat(name);
        (stat.mtime(), stat.atime())
    }

    /// Returns what is known of an entry of the root, a link not followed.
    pub fn stat(&self, name: impl AsRef<Path>) -> Metadata {
        let path = self.path(name);
        path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Lists the root: `a`, `d/`, `d/b`, `link -> target`, `fifo|`; bytes that are not ASCII escaped.
    pub fn listing(&self) -> Vec<String> {
        walk(&self.path(""))
            .into_iter()
            .map(|(path, kind)| escape(path.as_os_str()) + &escape(&kind))
            .collect()
    }

    /// Asserts that exactly this is in the root: see `listing`.
    #[track_caller]
    pub fn holds<const N: usize>(&self, names: [&str; N]) {
        assert_eq!(self.listing(), names, "the root's entries, and what they should be");
    }

    /// Asserts that a file has these contents.
    #[track_caller]
    pub fn has(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
        let found = self.contents(name.as_ref());
        let wanted = contents.as_ref();
        assert!(
            found == wanted,
            "{} holds {} ({} bytes), not {} ({} bytes)",
            name.as_ref().display(),
            found[..found.len().min(200)].escape_ascii(),
            found.len(),
            wanted[..wanted.len().min(200)].escape_ascii(),
            wanted.len(),
        );
    }

    fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the yard is left at {}", self.home.display());
            return;
        }
        self.assert_outside_unchanged();
        for (path, _) in walk(&self.path("")) {
            let name = path.file_name().unwrap_or_default().as_bytes();
            assert!(!is_temporary(name), "a temporary was left: {}", path.display());
        }
        open_up(&self.home);
        fs::remove_dir_all(&self.home).unwrap();
    }
}

/// Tells whether a name is of the form that the program gives to files under way.
fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(b".scp-").is_some_and(|hex| hex.len() == 16 && hex.iter().all(u8::is_ascii_hexdigit))
}

fn inside(directory: PathBuf, name: &Path) -> PathBuf {
    assert!(name.is_relative(), "{} is not a name in the yard", name.display());
    if name.as_os_str().is_empty() { directory } else { directory.join(name) }
}

/// Lists all below a directory, sorted, with what marks their kind.
fn walk(directory: &Path) -> Vec<(PathBuf, OsString)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(parent) = waiting.pop() {
        for entry in fs::read_dir(&parent).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let mut mark = OsString::new();
            if kind.is_dir() {
                mark.push("/");
                if nix::unistd::access(&path, nix::unistd::AccessFlags::R_OK).is_ok() {
                    waiting.push(path.clone());
                }
            } else if kind.is_symlink() {
                mark.push(" -> ");
                mark.push(fs::read_link(&path).unwrap());
            } else if kind.is_fifo() {
                mark.push("|");
            }
            found.push((path.strip_prefix(directory).unwrap().to_path_buf(), mark));
        }
    }
    found.sort();
    found
}

fn snapshot(directory: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    snapshot.insert(PathBuf::new(), describe(directory));
    for (path, mark) in walk(directory) {
        let entry = format!("{}{}", mark.to_string_lossy(), describe(&directory.join(&path)));
        snapshot.insert(path, entry);
    }
    snapshot
}

/// Says everything about an entry that nobody may change from inside, and when a file was last read.
fn describe(path: &Path) -> String {
    let stat = path.symlink_metadata().unwrap();
    let mut text = format!(
        "inode {} links {} mode {:o} owner {}:{} modified {}.{}",
        stat.ino(),
        stat.nlink(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.mtime(),
        stat.mtime_nsec(),
    );
    if stat.is_dir() {
        text += &format!(" changed {}.{}", stat.ctime(), stat.ctime_nsec());
    } else if stat.is_file() {
        text += &format!(" read {} contents {}", stat.atime(), fs::read(path).unwrap().escape_ascii());
    }
    text
}

/// Gives every file an access time before its last change, so that even relatime shows that somebody read it.
fn look_unread(directory: &Path) {
    for (path, mark) in walk(directory) {
        let path = directory.join(path);
        if mark.is_empty() && path.is_file() {
            let (accessed, modified) = (FileTime::from_unix_time(1, 0), FileTime::from_unix_time(2, 0));
            filetime::set_file_times(&path, accessed, modified).unwrap();
        }
    }
}

/// Makes every directory readable and writable again, so that it can be removed.
fn open_up(directory: &Path) {
    for (path, mark) in walk(directory) {
        if mark == "/" {
            let path = directory.join(path);
            let mode = path.symlink_metadata().unwrap().mode();
            if mode & 0o700 != 0o700 {
                fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
                open_up(&path);
            }
        }
    }
}

fn escape(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}

#[test]
fn the_canaries_do_tell_when_they_are_touched() {
    for harm in ["write", "read", "make", "chmod", "remove"] {
        let mut yard = Yard::new();
        yard.assert_outside_unchanged();
        match harm {
            "write" => fs::write(yard.outside("secret"), "the secret\n").unwrap(),
            "read" => drop(fs::read(yard.outside("d/inner")).unwrap()),
            "make" => fs::write(yard.outside("empty/new"), "").unwrap(),
            "chmod" => {
                fs::set_permissions(yard.outside("d"), PermissionsExt::from_mode(0o700)).unwrap();
            }
            _ => fs::remove_file(yard.outside("d/inner")).unwrap(),
        }
        assert!(!yard.outside_is_unchanged(), "{harm}");
        yard.gives_up_outside();
    }
}
