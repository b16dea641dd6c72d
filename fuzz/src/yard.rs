//! A root, and a canary beside it.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::pipe2;

use crate::tree::{self, Tree};

/// What is in the canary. No name and no record holds it, because no name holds a slash or a NUL.
pub const CANARY: &[u8] = b"/\0canary\0/";

const PREFIX: &str = "scp-server-fuzz-";

pub struct Yard {
    top: PathBuf,
    pub root: PathBuf,
    pub secret: PathBuf,
    untouched: Vec<Seen>,
}

/// What would change if somebody had been there.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    path: PathBuf,
    inode: u64,
    mode: u32,
    owner: u32,
    length: u64,
    changed: (i64, i64),
}

/// Works in a yard; one at a time, because the process has one umask and one directory.
pub fn with<T>(work: impl FnOnce(&Yard) -> T) -> T {
    static ONE: Mutex<()> = Mutex::new(());
    thread_local! {
        static YARD: RefCell<Option<Yard>> = const { RefCell::new(None) };
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    YARD.with_borrow_mut(|yard| work(yard.get_or_insert_with(Yard::new)))
}

impl Yard {
    fn new() -> Self {
        // Without Rust's own start-up, as under the fuzzer, the signal would end the process.
        SigSet::from_iter([Signal::SIGPIPE]).thread_block().unwrap();
        let shared = Path::new("/dev/shm");
        let place = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        sweep(&place);
        let id = format!("{PREFIX}{}-{:?}", std::process::id(), std::thread::current().id());
        let top = place.join(id.replace(['(', ')'], ""));
        fs::create_dir(&top).unwrap();
        fs::create_dir(top.join("canary")).unwrap();
        fs::create_dir(top.join("canary/sub")).unwrap();
        fs::write(top.join("canary/secret"), CANARY).unwrap();
        fs::set_permissions(top.join("canary/secret"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(top.join("root")).unwrap();
        let mut yard =
            Self { root: top.join("root"), secret: top.join("canary/secret"), top, untouched: vec![] };
        yard.untouched = yard.outside();
        yard
    }

    /// Makes the root what the tree is.
    pub fn lay_out(&self, tree: &Tree) {
        tree::clear(&self.root());
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o755)).unwrap();
        tree.build(&self.root, &self.secret);
    }

    pub fn root(&self) -> OwnedFd {
        File::open(&self.root).unwrap().into()
    }

    /// Returns the canary's path, to be led to by a link.
    pub fn canary(&self) -> Vec<u8> {
        self.top.join("canary").as_os_str().as_bytes().to_vec()
    }

    /// Nothing outside the root has changed.
    pub fn check(&self) {
        assert_eq!(self.outside(), self.untouched);
        assert_eq!(fs::read(&self.secret).unwrap(), CANARY);
    }

    /// No file in transfer is left in the root, but for those that were there.
    pub fn check_is_tidy(&self, stale: &[&[u8]]) {
        tree::each_name(&self.root(), &mut |name| {
            assert!(!is_temporary(name) || stale.contains(&name), "{}", name.escape_ascii());
        });
    }

    fn outside(&self) -> Vec<Seen> {
        // What comes or goes in a directory changes its time.
        let paths = ["", "canary", "canary/sub", "canary/secret"];
        paths.iter().map(|path| Seen::new(self.top.join(path))).collect()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        tree::clear(&self.root());
        let _ = fs::remove_dir_all(&self.top);
    }
}

impl Seen {
    fn new(path: PathBuf) -> Self {
        let seen = fs::symlink_metadata(&path).unwrap();
        Self {
            path,
            inode: seen.ino(),
            mode: seen.mode(),
            owner: seen.uid(),
            length: seen.len(),
            changed: (seen.mtime(), seen.mtime_nsec()),
        }
    }
}

/// Removes the yards of processes that are gone: a fuzzer ends without cleaning up.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).unwrap().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let process = id.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            if let Ok(root) = File::open(entry.path().join("root")) {
                tree::clear(&root.into());
            }
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Tells whether a name is one that the program gives to files in transfer.
pub fn is_temporary(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase();
    name.len() == 21 && name.starts_with(b".scp-") && name[5..].iter().all(is_digit)
}

/// What the peer says, all of it at once.
pub fn mouth(bytes: &[u8]) -> OwnedFd {
    let mut file = File::from(memfd_create(c"mouth", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.into()
}

/// Pieces that a pipe holds.
const PACKETS: usize = 16;

/// Bytes of all of them: half of the smallest buffer, so that there is always room for the next one. What a read has no room
/// for of a piece is gone.
const PIECEMEAL: usize = 2048;

/// What the peer says in pieces of these lengths, each of them read by itself, or all at once if a pipe cannot hold it.
pub fn mouth_in_pieces(bytes: &[u8], lengths: &[u8]) -> OwnedFd {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for &length in lengths.iter().take(PACKETS - 1) {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(length).max(1)));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    if bytes.len() > PIECEMEAL {
        return mouth(bytes);
    }
    let (end, mouth) = pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT).unwrap();
    let mut mouth = File::from(mouth);
    pieces.iter().filter(|piece| !piece.is_empty()).for_each(|piece| mouth.write_all(piece).unwrap());
    end
}

/// Where the peer hears.
pub struct Ears {
    file: File,
    /// Bytes after which the peer hears no more.
    pub most: Option<usize>,
}

impl Ears {
    pub fn new(most: Option<usize>) -> Self {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"ears", flags).unwrap());
        if let Some(most) = most {
            file.set_len(most as u64).unwrap();
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
        }
        Self { file, most }
    }

    /// Returns the end that is spoken into.
    pub fn end(&self) -> OwnedFd {
        self.file.try_clone().unwrap().into()
    }

    /// Returns what was said.
    pub fn heard(mut self) -> Vec<u8> {
        let length = self.file.stream_position().unwrap();
        self.file.seek(SeekFrom::Start(0)).unwrap();
        let mut heard = Vec::new();
        self.file.take(length).read_to_end(&mut heard).unwrap();
        heard
    }
}
