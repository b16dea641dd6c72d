//! The whole way: the stock client, a real sshd, the forced command, a directory.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and works on paths"
)]

pub(crate) mod bench;
pub(crate) mod server;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench::{Scratch, keep, names, noise, run, same_tree, skip, start, tree, within, write};
use server::{Setup, Sshd, me};

/// A sshd, the directory that it serves, and a directory that is the client's own.
struct Site {
    scratch: Scratch,
    sshd: Sshd,
    yard: PathBuf,
    here: PathBuf,
}

impl Site {
    /// Returns nothing, and says so, where there is no sshd.
    fn open() -> Option<Self> {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Option<Self> {
        Self::of(options, None)
    }

    fn of(options: &[&str], account: Option<&str>) -> Option<Self> {
        if !Sshd::is_installed() {
            skip("sshd is not installed");
            return None;
        }
        let scratch = Scratch::new();
        let yard = scratch.dir("yard");
        let here = scratch.dir("here");
        let sshd = Sshd::start(&Setup { root: &yard, options, account });
        Some(Self { scratch, sshd, yard, here })
    }

    fn remote(path: &str) -> String {
        format!("host:{path}")
    }
}

/// Plants a tree of a thousand files in a hundred directories, with modes and times of all kinds.
fn plant_forest(top: &Path) {
    for branch in 0..10 {
        for twig in 0..10 {
            let dir = top.join(format!("branch{branch}/twig{twig}"));
            fs::create_dir_all(&dir).unwrap();
            for leaf in 0..10 {
                let number = branch * 100 + twig * 10 + leaf;
                let mode = [0o644, 0o600, 0o755, 0o444, 0o664][number % 5];
                let contents = noise(number * 7, number as u64);
                write(&dir.join(format!("leaf {leaf}")), contents, mode, 1_000_000_000 + number as i64);
            }
        }
    }
    // From the bottom up: a new entry changes its directory's time.
    for branch in 0..10 {
        for twig in 0..10 {
            let mode = [0o755, 0o700, 0o750][(branch + twig) % 3];
            let time = 1_100_000_000 + (branch * 10 + twig) as i64;
            keep(&top.join(format!("branch{branch}/twig{twig}")), mode, time);
        }
        keep(&top.join(format!("branch{branch}")), 0o755, 1_200_000_000 + branch as i64);
    }
    keep(top, 0o755, 1_300_000_000);
}

// covers: peers 26, peers 32, peers 64, peers 65, peers 118
#[test]
fn a_tree_of_a_thousand_files_arrives_with_modes_and_times_and_comes_back_the_same() {
    let Some(site) = Site::open() else {
        return;
    };
    let forest = site.here.join("forest");
    plant_forest(&forest);
    let put = run(site.sshd.scp().args(["-r", "-p"]).arg(&forest).arg("host:"));
    put.succeeded();
    same_tree(&site.yard.join("forest"), &forest);
    let back = site.scratch.dir("back");
    let get = run(site.sshd.scp().args(["-r", "-p", "host:forest"]).arg(&back));
    get.succeeded();
    same_tree(&back.join("forest"), &forest);
}

// covers: peers 28, peers 44
#[test]
fn a_tree_with_read_only_files_can_be_uploaded_twice() {
    let Some(site) = Site::open() else {
        return;
    };
    let top = site.here.join("top");
    fs::create_dir(&top).unwrap();
    write(&top.join("fixed"), "one", 0o444, 1_000_000_000);
    keep(&top, 0o755, 1_000_000_001);
    for _ in 0..2 {
        run(site.sshd.scp().args(["-r", "-p"]).arg(&top).arg("host:")).succeeded();
        same_tree(&site.yard.join("top"), &top);
    }
}

// covers: security SSH-01, peers 57
#[test]
fn whoever_wants_a_shell_or_another_program_is_told_in_one_sentence() {
    let Some(site) = Site::open() else {
        return;
    };
    for command in [&[][..], &["id"], &["scp"], &["scp -t x; id"], &["sh -c 'scp -t x'"]] {
        let asked = run(site.sshd.openssh("ssh").arg("host").args(command));
        asked.failed_with(1);
        assert!(!asked.out.contains("uid="), "{asked:?}");
        assert_eq!(asked.err.lines().count(), 1, "{command:?}: {asked:?}");
    }
    assert_eq!(names(&site.yard).len(), 0);
}

// covers: security SSH-01
#[test]
fn a_client_that_speaks_sftp_comes_to_an_end_and_changes_nothing() {
    let Some(site) = Site::open() else {
        return;
    };
    write(&site.here.join("x"), "x", 0o644, 1_000_000_000);
    let sftp = run(site.sshd.openssh("sftp").args(["-b", "/dev/null", "host"]));
    let scp = run(site.sshd.openssh("scp").arg("-s").arg(site.here.join("x")).arg("host:"));
    for asked in [sftp, scp] {
        // The status is the client's own. Our sentence does not get there: sshd throws a subsystem's stderr away.
        asked.failed_with(255);
        assert!(asked.err.contains("onnection closed"), "{asked:?}");
    }
    assert_eq!(names(&site.yard).len(), 0);
}

// covers: security SSH-02
#[test]
fn the_recommended_lines_leave_the_account_no_terminal_and_no_tunnel() {
    let Some(site) = Site::open() else {
        return;
    };
    let terminal = run(site.sshd.openssh("ssh").args(["-tt", "host", "scp -f x"]));
    assert_ne!(terminal.status, Some(0), "{terminal:?}");
    let tunnel =
        run(site.sshd.openssh("ssh").arg("-W").arg(format!("127.0.0.1:{}", site.sshd.port())).arg("host"));
    assert!(!tunnel.out.contains("SSH-"), "{tunnel:?}");
    assert_ne!(tunnel.status, Some(0), "{tunnel:?}");
}

// covers: peers 48, peers 49, peers 50, clients 2.2
#[test]
fn a_pattern_fetches_what_it_matches_and_one_that_matches_nothing_is_an_error() {
    let Some(site) = Site::open() else {
        return;
    };
    for name in ["a.log", "b.log", "c d.log", "e.txt", ".hidden.log"] {
        write(&site.yard.join(name), name, 0o644, 1_000_000_000);
    }
    run(site.sshd.scp().arg("host:*.log").arg(&site.here)).succeeded();
    assert_eq!(names(&site.here), [&b"a.log"[..], b"b.log", b"c d.log"]);
    run(site.sshd.scp().arg("host:{a.log,e.txt}").arg(&site.here)).succeeded();
    assert!(site.here.join("e.txt").exists());
    let nothing = run(site.sshd.scp().arg("host:*.none").arg(&site.here));
    nothing.failed_with(1);
    assert!(nothing.err.contains("*.none: No such file or directory"), "{nothing:?}");
}

/// Names that mean something to a shell, to an option parser or to a terminal.
const ODD_NAMES: [&str; 9] = [
    "with blank",
    "it's \"quoted\"",
    "$HOME `id` $(id)",
    "a;b|c&d<e>f",
    "-r",
    "--",
    "näïve 文件 ☂",
    "[x]*?{a,b}~",
    "back\\slash",
];

// covers: peers 7, peers 51, peers 53, peers H-i, clients 2.8, clients 2.18
#[test]
fn a_name_is_only_a_name_whatever_it_would_mean_to_a_shell() {
    let Some(site) = Site::open() else {
        return;
    };
    let back = site.scratch.dir("back");
    for name in ODD_NAMES {
        let local = site.here.join(name);
        write(&local, name, 0o644, 1_000_000_000);
        run(site.sshd.scp().arg(&local).arg("host:")).succeeded();
        assert_eq!(fs::read_to_string(site.yard.join(name)).unwrap(), name);
        // As one types it for a shell on the other side, which is what the client is built for.
        let typed: String = name.chars().flat_map(backslashed).collect();
        run(site.sshd.scp().arg(Site::remote(&typed)).arg(&back)).succeeded();
        assert_eq!(fs::read_to_string(back.join(name)).unwrap(), name);
    }
    let mut expected: Vec<_> = ODD_NAMES.iter().map(|name| name.as_bytes().to_vec()).collect();
    expected.sort();
    assert_eq!(names(&site.yard), expected);
}

fn backslashed(character: char) -> impl Iterator<Item = char> {
    let special = character.is_ascii() && !character.is_ascii_alphanumeric() && character != '-';
    special.then_some('\\').into_iter().chain([character])
}

// covers: clients 2.8, clients 3.16, peers H-i
#[test]
fn a_newline_in_a_name_travels_as_two_letters_both_ways() {
    let Some(site) = Site::open() else {
        return;
    };
    let local = site.here.join("up\nload");
    write(&local, "up", 0o644, 1_000_000_000);
    run(site.sshd.scp().arg(&local).arg("host:")).succeeded();
    assert!(site.yard.join("up\\^Jload").exists());
    fs::remove_file(site.yard.join("up\\^Jload")).unwrap();
    let bytes = OsStr::from_bytes(b"latin \xfc");
    write(&site.yard.join(bytes), "bytes", 0o644, 1_000_000_000);
    write(&site.yard.join("down\nload"), "down", 0o644, 1_000_000_000);
    let back = site.scratch.dir("back");
    run(site.sshd.scp().args(["-r", "host:/"]).arg(&back)).succeeded();
    let found = tree(&back);
    let contents = |name: &OsStr| {
        let (_, entry) = found.iter().find(|(path, _)| path.file_name() == Some(name)).unwrap();
        entry.contents.clone().unwrap()
    };
    assert_eq!(contents(OsStr::new("down\\^Jload")), b"down");
    assert_eq!(contents(bytes), b"bytes");
}

// covers: peers 24, clients 3.16
#[test]
fn fetching_the_dot_brings_the_directory_under_its_own_name() {
    let Some(site) = Site::open() else {
        return;
    };
    fs::create_dir(site.yard.join("sub")).unwrap();
    write(&site.yard.join("sub/file"), "file", 0o644, 1_000_000_000);
    run(site.sshd.scp().args(["-r", "host:sub/."]).arg(&site.here)).succeeded();
    assert_eq!(fs::read_to_string(site.here.join("sub/file")).unwrap(), "file");
    for spelling in [".", "", "/"] {
        let back = site.scratch.dir(&format!("back{}", spelling.len()));
        let get = run(site.sshd.scp().arg("-r").arg(Site::remote(spelling)).arg(&back));
        get.succeeded();
        let top = names(&back);
        assert_eq!(top.len(), 1, "{top:?}");
        assert!(back.join(OsStr::from_bytes(&top[0])).join("sub/file").exists(), "{top:?}");
        fs::remove_dir_all(&back).unwrap();
    }
}

// covers: peers 14, peers 39, peers 8
#[test]
fn several_sources_and_a_copy_from_host_to_host_arrive() {
    let Some(site) = Site::open() else {
        return;
    };
    for name in ["a", "b", "c"] {
        write(&site.here.join(name), name, 0o644, 1_000_000_000);
    }
    let sources = ["a", "b", "c"].map(|name| site.here.join(name));
    fs::create_dir(site.yard.join("all")).unwrap();
    run(site.sshd.scp().args(&sources).arg("host:all")).succeeded();
    run(site.sshd.scp().args(["-3", "host:all/a", "host:all/d"])).succeeded();
    assert_eq!(fs::read_to_string(site.yard.join("all/d")).unwrap(), "a");
    let onto_a_file = run(site.sshd.scp().args(&sources).arg("host:all/a"));
    onto_a_file.failed_with(1);
    assert!(onto_a_file.err.contains("Not a directory"), "{onto_a_file:?}");
    assert_eq!(names(&site.yard.join("all")).len(), 4);
}

// covers: security SSH-06, peers 109, peers 110, peers 133, peers H-a
#[test]
fn an_upload_that_is_cut_leaves_the_old_file_and_nothing_else() {
    let Some(site) = Site::open() else {
        return;
    };
    write(&site.yard.join("file"), "old", 0o644, 1_000_000_000);
    write(&site.here.join("file"), noise(8 << 20, 1), 0o644, 1_000_000_000);
    // The client's ssh tells its number, so that it can be ended as a lost line ends it: without a word.
    let ssh = site.here.join("ssh");
    let number = site.here.join("number");
    let script = format!("#!/bin/sh\necho $$ > '{}'\nexec ssh \"$@\"\n", number.display());
    write(&ssh, script, 0o755, 1_000_000_000);
    let mut scp = site.sshd.scp();
    // Slow enough (about 1 MB/s) to be under way for some seconds.
    scp.args(["-l", "8000", "-S"]).arg(&ssh);
    scp.arg(site.here.join("file")).arg("host:file");
    let log = site.here.join("log");
    let mut client = start(&mut scp, Path::new("/dev/null"), &log);
    let under_way = within(Duration::from_secs(20), || temporaries(&site.yard) > 0);
    let ssh = fs::read_to_string(&number).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(ssh), nix::sys::signal::SIGKILL).unwrap();
    let ended = client.wait().unwrap();
    assert!(under_way, "no temporary was seen: {}", fs::read_to_string(&log).unwrap());
    assert!(!ended.success());
    let clean = within(Duration::from_secs(20), || temporaries(&site.yard) == 0);
    assert!(clean, "{:?}", names(&site.yard));
    assert_eq!(names(&site.yard), [b"file"]);
    assert_eq!(fs::read_to_string(site.yard.join("file")).unwrap(), "old");
}

fn temporaries(dir: &Path) -> usize {
    names(dir).iter().filter(|name| name.starts_with(b".scp-")).count()
}

// covers: peers 127, peers 140, peers 125
#[test]
fn the_administrators_options_hold_and_the_client_hears_why() {
    let options = ["--no-overwrite", "--max-file-size", "1000"];
    let Some(site) = Site::with(&options) else {
        return;
    };
    write(&site.yard.join("old"), "old", 0o644, 1_000_000_000);
    write(&site.here.join("old"), "new", 0o644, 1_000_000_000);
    write(&site.here.join("big"), noise(1001, 1), 0o644, 1_000_000_000);
    write(&site.here.join("fits"), noise(1000, 1), 0o644, 1_000_000_000);
    let put = run(site.sshd.scp().args(["old", "big", "fits"].map(|name| site.here.join(name))).arg("host:"));
    put.failed_with(1);
    for name in ["old", "big"] {
        assert!(put.err.lines().any(|line| line.contains(name)), "{name}: {put:?}");
    }
    assert_eq!(names(&site.yard), [&b"fits"[..], b"old"]);
    assert_eq!(fs::read_to_string(site.yard.join("old")).unwrap(), "old");
}

// covers: security SSH-01
#[test]
fn an_unprivileged_account_uploads_files_that_are_its_own() {
    let Ok(Some(account)) = nix::unistd::User::from_name("scptest") else {
        skip("there is no user scptest");
        return;
    };
    if me() != "root" {
        skip("only root's sshd serves another one");
        return;
    }
    let Some(site) = Site::of(&[], Some("scptest")) else {
        return;
    };
    nix::unistd::chown(&site.yard, Some(account.uid), Some(account.gid)).unwrap();
    write(&site.here.join("file"), "file", 0o640, 1_000_000_000);
    run(site.sshd.scp().arg("-p").arg(site.here.join("file")).arg("host:")).succeeded();
    let about = fs::metadata(site.yard.join("file")).unwrap();
    assert_eq!((about.uid(), about.gid()), (account.uid.as_raw(), account.gid.as_raw()));
    assert_eq!((about.mode() & 0o7777, about.mtime()), (0o640, 1_000_000_000));
    write(&site.yard.join("closed"), "closed", 0o600, 1_000_000_000);
    let closed = run(site.sshd.scp().arg("host:closed").arg(&site.here));
    closed.failed_with(1);
    assert!(closed.err.contains("closed: Permission denied"), "{closed:?}");
}

// covers: peers 78, peers 81, peers 91, peers 92
#[test]
fn no_spelling_and_no_link_leads_outside() {
    let Some(site) = Site::open() else {
        return;
    };
    let outside = site.scratch.dir("outside");
    write(&outside.join("secret"), "secret", 0o644, 1_000_000_000);
    std::os::unix::fs::symlink(&outside, site.yard.join("link")).unwrap();
    write(&site.here.join("planted"), "planted", 0o644, 1_000_000_000);
    let before = tree(&outside);
    for place in ["../outside", "link", "./link/../../outside", &outside.display().to_string()] {
        let path = Site::remote(&format!("{place}/secret"));
        run(site.sshd.scp().arg(path).arg(&site.here)).failed_with(1);
        let planted = site.here.join("planted");
        let path = Site::remote(&format!("{place}/planted"));
        run(site.sshd.scp().arg(planted).arg(path)).failed_with(1);
    }
    assert!(!site.here.join("secret").exists());
    assert!(tree(&outside) == before);
}

// covers: peers 56
#[test]
fn as_a_login_shell_it_takes_the_request_from_its_command_line() {
    let scratch = Scratch::new();
    let yard = scratch.dir("yard");
    let served = |request: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scp-server"));
        command.arg("--root").arg(&yard).args(["-c", request]);
        run(command.env("SSH_ORIGINAL_COMMAND", "scp -t y"))
    };
    let upload = served("scp -t x");
    upload.succeeded();
    assert_eq!(upload.out, "\0", "{upload:?}");
    let other = served("id");
    other.failed_with(1);
    assert_eq!(other.out, "");
    assert_eq!(other.err.lines().count(), 1, "{other:?}");
}
