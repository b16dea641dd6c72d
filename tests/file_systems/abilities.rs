//! What a file system can do, for the table in docs/file-systems.md.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::fcntl::{OFlag, RenameFlags, renameat2};

use crate::yard::Yard;

/// What the file system can do, as the kernel says to somebody else than the program.
pub(crate) struct Abilities {
    pub(crate) named: &'static str,
    pub(crate) unnamed: bool,
    pub(crate) no_replace: bool,
    pub(crate) exchange: bool,
    pub(crate) durable: bool,
    pub(crate) links: bool,
    pub(crate) locks: bool,
    pub(crate) lists: bool,
    pub(crate) attributes: bool,
}

impl Abilities {
    pub(crate) fn of(named: &'static str, yard: &Yard) -> Self {
        yard.file("one", "1").dir("d1").dir("d2");
        let root = File::open(yard.path("")).unwrap();
        let rename = |from: &str, to: &str, flags| {
            renameat2(&root, OsStr::new(from), &root, OsStr::new(to), flags).is_ok()
        };
        let sets = |program: &str, words: [&str; 4]| {
            Command::new(program)
                .args(words)
                .arg(yard.path("one"))
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let found = Self {
            named,
            unnamed: OpenOptions::new()
                .write(true)
                .custom_flags(OFlag::O_TMPFILE.bits())
                .open(yard.path(""))
                .is_ok(),
            no_replace: rename("one", "two", RenameFlags::RENAME_NOREPLACE)
                && rename("two", "one", RenameFlags::empty()),
            exchange: rename("d1", "d2", RenameFlags::RENAME_EXCHANGE),
            durable: root.sync_all().is_ok(),
            links: fs::hard_link(yard.path("one"), yard.path("link")).is_ok(),
            locks: File::open(yard.path("one")).unwrap().try_lock().is_ok(),
            lists: sets("setfacl", ["-m", "u:1:r", "-m", "m::r"]),
            attributes: sets("setfattr", ["-n", "user.test", "-v", "1"]),
        };
        for name in ["one", "link"] {
            let _ = fs::remove_file(yard.path(name));
        }
        fs::remove_dir(yard.path("d1")).unwrap();
        fs::remove_dir(yard.path("d2")).unwrap();
        found
    }

    /// A row of the table in docs/file-systems.md.
    pub(crate) fn row(&self) -> String {
        let cells = [
            self.unnamed,
            self.no_replace,
            self.exchange,
            self.durable,
            self.links,
            self.locks,
            self.lists,
            self.attributes,
        ];
        let cells = cells.map(|can| if can { "yes" } else { "no" });
        format!("| {} | {} | held |", self.named, cells.join(" | "))
    }
}
