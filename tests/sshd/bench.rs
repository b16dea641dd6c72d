//! What the tests with real programs share: a temporary directory, a command under a deadline, trees to compare.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use filetime::FileTime;

use crate::tally;

/// How long a program may take before it counts as hanging: long enough for a machine that does much else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A directory that everyone may enter, removed with all that is in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("scp-server-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory in it and returns its path.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A session that is still ending may write one more file.
        within(Duration::from_secs(5), || fs::remove_dir_all(&self.0).is_ok() || !self.0.exists());
    }
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status; `None` if a signal ended it, which is what happens at the deadline.
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn succeeded(&self) {
        assert_eq!(self.status, Some(0), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn failed_with(&self, status: i32) {
        assert_eq!(self.status, Some(status), "{self:?}");
    }
}

/// Runs a program to its end, which has to come before the deadline.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let scratch = Scratch::new();
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    let mut child = start(command, &out, &err);
    let mut status = None;
    if !within(DEADLINE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    }) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let mut err = text(&err);
    if status.is_none() {
        err.push_str("\n(hung: ended at the deadline)");
    }
    Outcome { status: status.and_then(|status| status.code()), out: text(&out), err }
}

/// Starts a program that reads nothing and writes into two files.
pub(crate) fn start(command: &mut Command, out: &Path, err: &Path) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(File::create(out).unwrap())
        .stderr(File::create(err).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Tells whether something becomes true in time.
pub(crate) fn within(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a file with a mode and a time of its own.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>, mode: u32, modified: i64) {
    fs::write(path, contents).unwrap();
    keep(path, mode, modified);
}

/// Sets the mode and both times.
pub(crate) fn keep(path: &Path, mode: u32, modified: i64) {
    let time = FileTime::from_unix_time(modified, 0);
    filetime::set_file_times(path, time, time).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns bytes that look like nothing in particular, the same ones for the same seed.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// What a copy has to have in common with the original.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) modified: i64,
    /// `None` for a directory.
    pub(crate) contents: Option<Vec<u8>>,
}

/// Returns all that is in a tree by its path below the tree's top, the top itself by the empty path. What goes meanwhile,
/// such as a temporary file of a session that is still ending, is not in it.
pub(crate) fn tree(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_path_buf()];
    while let Some(path) = todo.pop() {
        let seen = fs::symlink_metadata(&path).and_then(|about| {
            let contents = about.is_file().then(|| fs::read(&path)).transpose()?;
            Ok((about, contents))
        });
        let (about, contents) = match seen {
            Ok(seen) => seen,
            Err(error) if error.kind() == ErrorKind::NotFound && path != top => continue,
            Err(error) => panic!("{path:?}: {error}"),
        };
        if about.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let entry = Entry { mode: about.mode() & 0o7777, modified: about.mtime(), contents };
        found.insert(path.strip_prefix(top).unwrap().to_path_buf(), entry);
    }
    found
}

/// Compares two trees and names the first entry that differs: whole trees are too long to print.
#[track_caller]
pub(crate) fn same_tree(copy: &Path, original: &Path) {
    let (copy, original) = (tree(copy), tree(original));
    for (path, entry) in &original {
        let other = copy.get(path).unwrap_or_else(|| panic!("{path:?} was not copied"));
        assert_eq!((other.mode, other.modified), (entry.mode, entry.modified), "mode and time of {path:?}");
        assert!(other.contents == entry.contents, "the contents of {path:?}");
    }
    assert_eq!(copy.len(), original.len(), "something came into being");
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
    names.sort();
    names
}

/// Appends a line to a file that `tests/run` prints at its end.
pub(crate) fn note(file: &str, line: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut notes = File::options().append(true).create(true).open(path).unwrap();
    // One write, so that lines of tests that run beside each other do not mix.
    notes.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Says that a test cannot run here, counted and printed by `tests/run`; where everything is installed it must run.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    tally::skipped(why);
}
