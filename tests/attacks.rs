//! The attacks on paths: what is planted in the root, which paths are asked for, what is uploaded to them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::yard::Yard;

/// A file with the client's times and widest mode.
pub const FILE: &str = "T1 0 1 0\nC0777 3 new\nnew\0";

/// Words of a request to upload, and all that the client says.
pub struct Attack {
    /// The request.
    pub words: Vec<String>,
    /// The client's words.
    pub says: String,
}

impl Attack {
    fn new(flags: &str, target: &str, says: impl Into<String>) -> Self {
        let words = flags.split_whitespace().chain(["-t", "--", target]).map(String::from).collect();
        Self { words, says: says.into() }
    }
}

/// Links in the root, and where they lead; `{out}` is the directory outside.
const LINKS: [(&str, &str); 23] = [
    ("abs-file", "{out}/secret"),
    ("rel-file", "../outside/secret"),
    ("abs-new", "{out}/new"),
    ("rel-new", "../outside/new"),
    ("abs-dir", "{out}/d"),
    ("rel-dir", "../outside/d"),
    ("abs-empty", "{out}/empty"),
    ("rel-empty", "../outside/empty"),
    ("up", ".."),
    ("sub/up", "../.."),
    ("sub/out", "../../outside/d"),
    ("sub/deep/out", "../../up/outside/d"),
    ("via", "rel-dir"),
    ("round", "sub/../../outside/empty"),
    ("proc-root", "/proc/self/root{out}/empty"),
    ("proc-cwd", "/proc/self/cwd"),
    ("proc-fd", "/proc/self/fd/0"),
    ("self", "self"),
    ("ping", "pong"),
    ("pong", "ping"),
    ("nowhere", "nothing"),
    ("in-file", "file"),
    ("in-dir", "sub/deep"),
];

/// Fills the root anew.
pub fn plant(yard: &Yard) {
    for entry in fs::read_dir(yard.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    yard.dir("sub").dir("sub/deep").file("file", "inside").file("sub/deep/f", "deep");
    let out = yard.outside("");
    for (name, target) in LINKS {
        symlink(target.replace("{out}", out.to_str().unwrap()), yard.path(name)).unwrap();
    }
    yard.link("hop0", "rel-empty");
    for hop in 1..=45 {
        yard.link(format!("hop{hop}"), format!("hop{}", hop - 1));
    }
    yard.fifo("fifo").socket("socket");
}

/// Paths to something outside, or to nothing; each is as absent as the other.
pub fn outside_paths(yard: &Yard) -> Vec<String> {
    let (out, home) = (yard.outside(""), yard.home().display());
    let (root, out) = (yard.path(""), out.display());
    let up = yard.home().file_name().unwrap().to_str().unwrap().to_owned();
    [
        "abs-file".into(),
        "rel-file".into(),
        "abs-dir".into(),
        "rel-dir/inner".into(),
        "rel-dir/".into(),
        "abs-dir/.".into(),
        "abs-empty/../secret".into(),
        "up/outside/secret".into(),
        "up".into(),
        "up/outside/nothing".into(),
        "sub/up/outside/secret".into(),
        "sub/out/inner".into(),
        "in-dir/out/inner".into(),
        "via/inner".into(),
        "round/../secret".into(),
        "proc-root".into(),
        "proc-cwd/secret".into(),
        "proc-fd".into(),
        format!("/proc/self/root{out}/secret"),
        format!("/proc/1/root{out}/secret"),
        "/proc/self/cwd/secret".into(),
        "/dev/fd/0".into(),
        "self".into(),
        "ping/x".into(),
        "hop45".into(),
        "../outside/secret".into(),
        "/../outside/secret".into(),
        "sub/../../outside/secret".into(),
        format!("sub/deep/../../../../{up}/outside/secret"),
        "sub//.././../outside//secret".into(),
        format!("{out}/secret"),
        format!("/{out}/secret"),
        format!("{}/../outside/secret", root.display()),
        format!("{}10/a", root.display()),
        format!("{home}/root10/a"),
        "..".into(),
        "../".into(),
        "sub/../..".into(),
        "/..".into(),
        "SUB/../../outside/secret".into(),
        "\u{ff0e}\u{ff0e}/outside/secret".into(),
        "..\\outside\\secret".into(),
        "nowhere".into(),
        "nothing".into(),
        "../outside/nothing".into(),
        "/etc/nothing".into(),
    ]
    .into()
}

/// PT-01 to PT-09, PT-17, PT-23 and names that climb, as uploads.
pub fn uploads(yard: &Yard) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (name, _) in LINKS {
        if name.contains('/') {
            continue;
        }
        // The link is where the file is to be, by the record's name and by the request's.
        attacks.push(Attack::new("-p", ".", format!("T1 0 1 0\nC0777 3 {name}\nnew\0")));
        attacks.push(Attack::new("-p", name, FILE));
        // And where a directory is.
        let tree = format!("T1 0 1 0\nD0777 0 {name}\n{FILE}E\n");
        attacks.push(Attack::new("-r -p", ".", tree));
        attacks.push(Attack::new("-r", ".", format!("D0777 0 sub\nD0777 0 ..\nD0777 0 {name}\n{FILE}")));
    }
    for path in outside_paths(yard) {
        attacks.push(Attack::new("-p", &path, FILE));
        attacks.push(Attack::new("-r -p", &path, format!("T1 0 1 0\nD0777 0 new\n{FILE}E\n")));
        attacks.push(Attack::new("", &format!("{path}/new"), FILE));
        attacks.push(Attack::new("-d", &path, FILE));
    }
    for name in ["../outside/new", "/{out}/new", "sub/../../outside/new", "..", ".", "", "abs-empty/new"] {
        let name = name.replace("{out}", yard.outside("").to_str().unwrap());
        attacks.push(Attack::new("-r -p", ".", format!("T1 0 1 0\nC0777 3 {name}\nnew\0")));
        attacks.push(Attack::new("-r -p", ".", format!("T1 0 1 0\nD0777 0 {name}\n{FILE}E\nE\n{FILE}")));
    }
    attacks.push(Attack::new("-r", "sub", format!("E\nE\n{FILE}")));
    attacks.push(Attack::new("-r", "sub", format!("D0755 0 deep\nE\nE\nE\n{FILE}")));
    attacks.push(Attack::new("-r", ".", format!("D0755 0 sub\nD0755 0 deep\nD0755 0 out\n{FILE}E\n")));
    attacks.push(Attack::new("", &"./".repeat(2040), FILE));
    attacks.push(Attack::new("", &format!("{}outside/new", "../".repeat(2000)), FILE));
    attacks.push(Attack::new("", &"x".repeat(256), FILE));
    attacks
}

/// Every third attack, other ones in each cell; all of them if a long run is asked for.
pub fn share(attacks: Vec<Attack>) -> impl Iterator<Item = Attack> {
    static CELL: AtomicUsize = AtomicUsize::new(0);
    let (cell, all) = (CELL.fetch_add(1, Ordering::Relaxed), std::env::var_os("SCP_SERVER_RACE_SECONDS"));
    let attacks = attacks.into_iter().enumerate();
    attacks.filter(move |(number, _)| all.is_some() || number % 3 == cell % 3).map(|(_, attack)| attack)
}
