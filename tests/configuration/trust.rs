//! The file and those that it includes are read only if nobody but root can have written them.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{logging, serves, serves_nobody};
use crate::cell;
use crate::mounts;
use crate::tally;
use crate::yard::Yard;

/// The largest file that is read.
const LARGEST: u64 = 1024 * 1024;

const GOOD: &str = "[default]\nmax-file-size = '1M'\n";

/// What it is, how it is made, and what the log says of it.
type Case = (&'static str, fn(&Path), &'static str);

/// What can be wrong with the file itself.
const WRONG: [Case; 13] = [
    ("writable by everybody", |path| made(path, 0o646), "others can write it: chmod go-w"),
    ("writable by its group", |path| made(path, 0o664), "others can write it: chmod go-w"),
    ("somebody else's", |path| given(path, 1, 0), "it does not belong to root: chown root"),
    (
        "somebody else's, and read-only",
        |path| given(path, 1, 0o444),
        "it does not belong to root: chown root",
    ),
    ("a link to a good one", |path| linked(path, true), "Too many levels of symbolic links (os error 40)"),
    ("a link to nothing", |path| linked(path, false), "Too many levels of symbolic links (os error 40)"),
    ("a FIFO", |path| mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap(), "it is no regular file"),
    ("a directory", |path| fs::create_dir(path).unwrap(), "it is no regular file"),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap()), "No such device or address (os error 6)"),
    ("1 GiB", |path| large(path, 1 << 30), "it is larger than 1 MiB"),
    ("one byte too large", |path| large(path, LARGEST + 1), "it is larger than 1 MiB"),
    (
        "no text",
        |path| fs::write(path, b"[default]\n# \xff\n").unwrap(),
        "stream did not contain valid UTF-8",
    ),
    ("not there", |_| {}, "there is no such file"),
];

fn made(path: &Path, mode: u32) {
    fs::write(path, GOOD).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn given(path: &Path, owner: u32, mode: u32) {
    made(path, if mode == 0 { 0o644 } else { mode });
    chown(path, Some(owner), None).unwrap();
}

fn linked(path: &Path, there: bool) {
    let original = path.with_extension("original");
    if there {
        made(&original, 0o644);
    }
    symlink(original, path).unwrap();
}

/// Writes a file of comments, so large, with a hole in it where it is huge.
fn large(path: &Path, size: u64) {
    let filled = size.min(2 * LARGEST);
    fs::write(path, format!("{GOOD}#{}", "x".repeat(filled as usize - GOOD.len() - 1))).unwrap();
    File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

/// A yard for one who can make files of root's.
fn yard() -> Option<Yard> {
    if !cell::is_root() {
        return None;
    }
    Yard::confined()
}

// covers: security ENV-10
#[test]
fn a_file_that_others_could_have_written_serves_nobody() {
    for (_, make, why) in WRONG {
        let Some(yard) = yard() else { return };
        let config = yard.home().join("config.toml");
        make(&config);
        for line in ["scp -t .", "scp -f .", "scp -r -p -t /"] {
            let mut peer = logging(&yard).option("--config").option(&config).asks(line);
            serves_nobody(&yard, &mut peer, &format!("{}: {why}", config.display()));
        }
        // The same place with a file that is as it has to be: that is what counts.
        let _ = fs::remove_file(&config);
        let _ = fs::remove_dir(&config);
        made(&config, 0o644);
        serves(&yard, &mut logging(&yard).option("--config").option(&config).asks("scp -t ."));
    }
}

// covers: security ENV-10
#[test]
fn an_included_file_that_others_could_have_written_serves_nobody() {
    for (what, make, why) in WRONG {
        let Some(yard) = yard() else { return };
        let (config, part) = (yard.home().join("config.toml"), yard.home().join("part.toml"));
        make(&part);
        let pattern = yard.home().join("p*.toml");
        for (named, seen) in [("part.toml", true), (pattern.to_str().unwrap(), what != "not there")] {
            fs::write(&config, format!("include = ['{named}']\n{GOOD}")).unwrap();
            let mut peer = logging(&yard).option("--config").option(&config).asks("scp -t .");
            if seen {
                serves_nobody(&yard, &mut peer, &format!("{}: {why}", part.display()));
            } else {
                serves(&yard, &mut peer);
            }
        }
    }
}

// covers: security ENV-10
#[test]
fn a_file_of_the_largest_size_and_of_any_mode_that_is_not_writable_is_read() {
    let Some(yard) = yard() else { return };
    let config = yard.home().join("config.toml");
    for mode in [0o644, 0o444, 0o600, 0o755, 0o4644] {
        large(&config, LARGEST);
        fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&config).unwrap().len(), LARGEST);
        let mut peer = logging(&yard).option("--config").option(&config).asks("scp -t .");
        peer.hears_ok().says_record("C0644 1048577 large");
        assert!(peer.hears_refusal().contains("is over the limit of"), "what it says holds");
        peer.hangs_up().sees_exit(1);
        fs::remove_file(&config).unwrap();
    }
}

// covers: security ENV-10
#[test]
fn a_file_that_the_account_cannot_read_serves_it_nothing() {
    if !cell::is_root() {
        return;
    }
    let Some(yard) = Yard::of_a_user() else { return };
    if !cell::is_about_confinement() {
        return;
    }
    let config = yard.home().join("config.toml");
    for (mode, directory) in [(0o600, 0o755), (0o640, 0o755), (0o644, 0o700)] {
        let place = yard.home().join(format!("etc-{mode:o}-{directory:o}"));
        fs::create_dir(&place).unwrap();
        let closed = place.join("config.toml");
        made(&closed, mode);
        fs::set_permissions(&place, fs::Permissions::from_mode(directory)).unwrap();
        let mut peer = logging(&yard).option("--config").option(&closed).asks("scp -t .");
        let why = format!("{}: Permission denied (os error 13)", closed.display());
        serves_nobody(&yard, &mut peer, &why);
    }
    made(&config, 0o644);
    serves(&yard, &mut logging(&yard).option("--config").option(&config).asks("scp -t ."));
    // The account's own file is no configuration, though the account can read it.
    let own = yard.path("config.toml");
    yard.file("config.toml", GOOD);
    let mut peer = logging(&yard).option("--config").option(&own).asks("scp -t .");
    serves_nobody(&yard, &mut peer, &format!("{}: it does not belong to root: chown root", own.display()));
}

// covers: security ENV-10
#[test]
fn the_file_that_nobody_names_may_be_missing_and_nothing_else() {
    let Some(yard) = yard() else { return };
    if !mounts::can_mount() {
        return;
    }
    if Path::new("/etc/scp-server.toml").exists() {
        return tally::skipped("this machine has an /etc/scp-server.toml");
    }
    let etc = yard.home().join("etc");
    fs::create_dir(&etc).unwrap();
    let mount = format!("mount -t overlay -o 'lowerdir={}:/etc' none /etc", etc.display());
    let asks = || logging(&yard).with_mounts(&mount).asks("scp -t .");
    serves(&yard, &mut asks());
    for (_, make, why) in WRONG.iter().filter(|(what, ..)| *what != "not there") {
        let place = etc.join("scp-server.toml");
        make(&place);
        serves_nobody(&yard, &mut asks(), &format!("/etc/scp-server.toml: {why}"));
        let _ = fs::remove_file(&place);
        let _ = fs::remove_dir(&place);
        let _ = fs::remove_file(place.with_extension("original"));
    }
    made(&etc.join("scp-server.toml"), 0o644);
    let mut peer = asks();
    peer.hears_ok().says_record("C0644 1048577 large");
    assert!(peer.hears_refusal().contains("is over the limit of"), "what it says holds");
    peer.hangs_up().sees_exit(1);
}
