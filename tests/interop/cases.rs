//! What every client has to do, and how it is seen on our side that it was done.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sshd::bench::{Scratch, keep, noise, run, tree, within, write};
use crate::sshd::server::{Setup, Sshd};

/// The direction, seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Put,
    Get,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Case {
    Empty,
    Small,
    Large,
    OddName,
    Kept,
    Tree,
    /// Many files in one directory that is copied as a whole; not one of `ALL`.
    Forest,
    Many,
    WrongPath,
    Shorter,
}

impl Case {
    pub(super) const ALL: [Self; 9] = [
        Self::Empty,
        Self::Small,
        Self::Large,
        Self::OddName,
        Self::Kept,
        Self::Tree,
        Self::Many,
        Self::WrongPath,
        Self::Shorter,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Small => "small",
            Self::Large => "large",
            Self::OddName => "odd name",
            Self::Kept => "mode, times",
            Self::Tree => "tree",
            Self::Forest => "large tree",
            Self::Many => "many",
            Self::WrongPath => "wrong path",
            Self::Shorter => "shorter",
        }
    }
}

/// Who makes a remote path safe for the shell that the client expects at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quoting {
    Client,
    User,
}

/// What of a file's mode and times a client can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keeps {
    Both,
    Mode,
    Times,
    Nothing,
}

/// Whether a client waits until the server has taken all that it sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parting {
    /// It closes the connection with its last bytes, and what sshd has not read of them by then is lost.
    Leaves,
    Stays,
}

/// Names with blanks and both quotes, and what is beyond ASCII.
pub(super) const ODD_NAME: &str = "it's 6\" wide, naïve ☂.txt";
pub(super) const ODD_ASCII_NAME: &str = "it's 6\" wide.txt";
const MANY: usize = 200;
const KEPT_MODE: u32 = 0o640;
/// Ten digits: there are clients that count them.
const KEPT_TIME: i64 = 1_234_567_890;

/// A sshd with a directory to serve, and a directory that is the client's own.
pub(super) struct Desk {
    pub(super) sshd: Sshd,
    yard: PathBuf,
    here: PathBuf,
    back: PathBuf,
    log: PathBuf,
    _scratch: Scratch,
}

/// The traits of a client that a case depends on.
pub(super) struct Manner {
    pub(super) quoting: Quoting,
    /// Whether the client hands a pattern to the server.
    pub(super) globs: bool,
    pub(super) keeps: [Keeps; 2],
    pub(super) odd_name: &'static str,
    pub(super) parting: Parting,
    /// Whether it waits for the exit status, and so may be told of success long before.
    pub(super) patient: bool,
}

impl Manner {
    /// Returns the name of the file that a case copies.
    fn file(&self, case: Case) -> &'static str {
        match case {
            Case::Empty => "empty",
            Case::Large => "large",
            Case::OddName => self.odd_name,
            Case::Kept => "kept",
            _ => "small",
        }
    }
}

impl Desk {
    /// Lays it out, for a server with these options.
    pub(super) fn lay(options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let yard = scratch.dir("yard");
        let [out, here, back] = ["yard/out", "here", "back"].map(|name| scratch.dir(name));
        plant(&out);
        plant(&here);
        fs::create_dir_all(yard.join("in/many")).unwrap();
        fs::create_dir_all(back.join("many")).unwrap();
        write(&yard.join("in/again"), noise(100_000, 5), 0o644, 1_000_000_000);
        let log = scratch.path().join("log");
        let options = [options, &["--log", log.to_str().unwrap()]].concat();
        let sshd = Sshd::start(&Setup { root: &yard, options: &options, account: None });
        Self { sshd, yard, here, back, log, _scratch: scratch }
    }

    /// Has a client do one thing, and tells what went wrong or, where it went well, how well.
    pub(super) fn serve(
        &self,
        driver: &[OsString],
        manner: &Manner,
        way: Way,
        case: Case,
    ) -> Result<&'static str, String> {
        let mut command = self.driver(driver);
        command.arg(if way == Way::Put { "put" } else { "get" });
        command.args(self.words(manner, way, case));
        let outcome = run(&mut command);
        let failed = outcome.status != Some(0);
        if failed != (case == Case::WrongPath) {
            let (status, err) = (outcome.status, outcome.err.trim_end());
            return Err(format!("status {status:?}: {err} {}", outcome.out.trim_end()));
        }
        // Some clients leave before the server is done.
        let mut seen = self.seen(manner, way, case);
        within(Duration::from_secs(20), || {
            seen = self.seen(manner, way, case);
            seen.is_ok() || self.line_was_cut()
        });
        seen
    }

    /// Tells whether the last session was one whose client went in the middle.
    pub(super) fn line_was_cut(&self) -> bool {
        let word = self.last_word();
        word.contains(" event=abort ")
            && word.contains("\"protocol error: the connection ended in the middle\"")
    }

    /// Returns the last line that the server has logged.
    pub(super) fn last_word(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// Looks at what has come of an upload that was cut: nothing, or what was there before.
    pub(super) fn kept_what_was_there(&self, manner: &Manner, way: Way, case: Case) -> Result<(), String> {
        let place = self.yard.join("in");
        let found = match (way, case) {
            (Way::Get, _) | (_, Case::Tree | Case::Forest | Case::Many | Case::WrongPath) => return Ok(()),
            (Way::Put, Case::Shorter) => {
                fs::read(place.join("again")).is_ok_and(|old| old == noise(100_000, 5))
            }
            (Way::Put, _) => !place.join(manner.file(case)).exists(),
        };
        if found { Ok(()) } else { Err("something half-done came of it".to_owned()) }
    }

    /// Looks at what has come of it.
    fn seen(&self, manner: &Manner, way: Way, case: Case) -> Result<&'static str, String> {
        let there = match way {
            Way::Put => self.yard.join("in"),
            Way::Get => self.back.clone(),
        };
        let same = |copy: &str, original: &str| same_contents(&there.join(copy), &self.here.join(original));
        match case {
            Case::WrongPath => {
                let absent = self.back.join("absent");
                if self.yard.join("no").exists() || absent.metadata().is_ok_and(|about| about.len() > 0) {
                    return Err("something was written".to_owned());
                }
                Ok("ok")
            }
            Case::Kept => same_attributes(&there.join("kept"), manner.keeps[way as usize]),
            Case::Tree => same("tree", "tree"),
            Case::Forest | Case::Many => same("many", "many"),
            Case::Shorter => same("again", "shorter"),
            Case::Empty | Case::Small | Case::Large | Case::OddName => {
                let file = manner.file(case);
                same(file, file)?;
                Ok(if file == ODD_ASCII_NAME { "ASCII only" } else { "ok" })
            }
        }
    }

    /// Prepares a client, told where to go.
    pub(super) fn driver(&self, driver: &[OsString]) -> std::process::Command {
        let mut command = std::process::Command::new(&driver[0]);
        command.args(&driver[1..]).envs(self.sshd.directions());
        command.env("LC_ALL", "C.UTF-8").env_remove("SSH_AUTH_SOCK");
        command
    }

    fn words(&self, manner: &Manner, way: Way, case: Case) -> Vec<OsString> {
        let flag = match case {
            Case::Kept => Some("-p"),
            Case::Tree | Case::Forest => Some("-r"),
            _ => None,
        };
        let mut words: Vec<OsString> = flag.map(OsString::from).into_iter().collect();
        let remote = |path: &str| match manner.quoting {
            Quoting::Client => OsString::from(path),
            Quoting::User => path.chars().flat_map(backslashed).collect::<String>().into(),
        };
        let here = |path: &str| self.here.join(path).into_os_string();
        let back = |path: &str| self.back.join(path).into_os_string();
        let many = (0..MANY).map(|number| format!("many/{number:03}"));
        match (way, case) {
            (Way::Put, Case::Tree) => words.extend([here("tree"), "in".into()]),
            (Way::Put, Case::Forest) => words.extend([here("many"), "in".into()]),
            (Way::Put, Case::Many) => {
                words.extend(many.map(|name| here(&name)));
                words.push("in/many".into());
            }
            (Way::Put, Case::WrongPath) => words.extend([here("small"), "no/such/place/small".into()]),
            (Way::Put, Case::Shorter) => words.extend([here("shorter"), "in/again".into()]),
            (Way::Put, _) => {
                words.extend([here(manner.file(case)), remote(&format!("in/{}", manner.file(case)))])
            }
            (Way::Get, Case::Tree) => words.extend(["out/tree".into(), self.back.clone().into_os_string()]),
            (Way::Get, Case::Forest) => words.extend(["out/many".into(), self.back.clone().into_os_string()]),
            (Way::Get, Case::Many) if manner.globs => words.extend(["out/many/*".into(), back("many")]),
            (Way::Get, Case::Many) => {
                words.extend(many.map(|name| format!("out/{name}").into()));
                words.push(back("many"));
            }
            (Way::Get, Case::WrongPath) => words.extend(["out/absent".into(), back("absent")]),
            (Way::Get, _) => {
                words.extend([remote(&format!("out/{}", manner.file(case))), back(manner.file(case))])
            }
        }
        words
    }
}

/// Fills a directory with what the cases copy.
fn plant(top: &Path) {
    write(&top.join("empty"), "", 0o644, 1_000_000_000);
    write(&top.join("small"), "small\n", 0o644, 1_000_000_000);
    write(&top.join("large"), noise(8 << 20, 8), 0o644, 1_000_000_000);
    write(&top.join("shorter"), "short", 0o644, 1_000_000_000);
    for name in [ODD_NAME, ODD_ASCII_NAME] {
        write(&top.join(name), "odd", 0o644, 1_000_000_000);
    }
    write(&top.join("kept"), "kept", KEPT_MODE, KEPT_TIME);
    for (name, size) in [("a", 10), ("sub/b", 70_000), ("sub/deep/c", 0), ("z", 32_768)] {
        let path = top.join("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, noise(size, size as u64), 0o644, 1_000_000_000);
    }
    fs::create_dir(top.join("tree/sub/nothing")).unwrap();
    fs::create_dir(top.join("many")).unwrap();
    for number in 0..MANY {
        let path = top.join(format!("many/{number:03}"));
        write(&path, format!("file {number}"), 0o644, 1_000_000_000);
    }
    keep(&top.join("tree"), 0o755, 1_000_000_000);
}

fn backslashed(character: char) -> impl Iterator<Item = char> {
    let special = character.is_ascii() && !character.is_ascii_alphanumeric() && !"/._-".contains(character);
    special.then_some('\\').into_iter().chain([character])
}

fn same_contents(copy: &Path, original: &Path) -> Result<&'static str, String> {
    if !copy.exists() {
        let name = copy.file_name().unwrap_or(OsStr::new("/"));
        return Err(format!("{name:?} did not arrive"));
    }
    let (copy, original) = (tree(copy), tree(original));
    for (path, entry) in &original {
        match copy.get(path) {
            None => return Err(format!("{path:?} did not arrive")),
            Some(other) if other.contents != entry.contents => {
                return Err(format!("{path:?} has other contents"));
            }
            Some(_) => {}
        }
    }
    if copy.len() != original.len() {
        return Err("something else came into being".to_owned());
    }
    Ok("ok")
}

fn same_attributes(copy: &Path, keeps: Keeps) -> Result<&'static str, String> {
    let about = fs::metadata(copy).map_err(|error| error.to_string())?;
    let (mode, modified) = (about.mode() & 0o7777, about.mtime());
    let same_mode = mode == KEPT_MODE;
    let same_time = modified == KEPT_TIME;
    let wrong = || Err(format!("mode {mode:o}, time {modified}"));
    match keeps {
        Keeps::Both if same_mode && same_time => Ok("ok"),
        Keeps::Mode if same_mode => Ok("mode only"),
        Keeps::Times if same_time => Ok("times only"),
        _ => wrong(),
    }
}
