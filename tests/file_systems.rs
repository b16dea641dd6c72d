//! The promise that no good file is lost, on file systems that there really are: mounted, filled up, and read-only.

mod abilities;
pub(crate) mod mounted;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;
use abilities::Abilities;
use mounted::{
    Mounted, fill, image, in_a_process, layers, memory, over, overlay_options, run, temporaries,
    where_there_is,
};

/// Bytes that are left when a file system has been filled up, about: less than a file that is looked at before it comes.
const LEFT: usize = 512 * 1024;

/// What is too large then, and not so large that it is refused by what is free.
const LARGE: usize = 900 * 1024;

/// Offers a file that there is no room for, and hears the one refusal, at the record or behind the contents.
#[track_caller]
fn is_refused_for_want_of_room(peer: &mut Peer, name: &str, size: usize, meanwhile: impl FnOnce()) {
    peer.says_record(format!("C0600 {size} {name}"));
    if peer.hears_whether_ok() {
        meanwhile();
        peer.says(vec![b'n'; size]).says_ok();
    }
    let heard = peer.hears_refusal();
    let why = heard.rsplit(": ").next().unwrap();
    // The last one is FUSE's word for a write of which less was taken than was given.
    let full = ["No space left on device", "Quota exceeded", "I/O error"].contains(&why);
    assert!((full || why.contains(" needed, ")) && heard.contains(name), "{heard}");
}

/// All that is promised of a file system that can be written to.
fn is_kept(named: &'static str, yard: &Yard, mounted: &Mounted) {
    let abilities = Abilities::of(named, yard);
    stores_and_replaces(yard);
    never_replaces_where_that_is_forbidden(yard, &abilities);
    leaves_the_other_names(yard, &abilities);
    makes_durable(yard);
    swaps_trees(yard, &abilities);
    stays_whole_when_full(yard, mounted);
    tally::figure(&abilities.row());
}

fn stores_and_replaces(yard: &Yard) {
    for contents in ["first", "2nd"] {
        let mut peer = Peer::sink(yard, "-p", ".");
        peer.hears_ok().says_record("T1000000000 0 1000000001 0").hears_ok();
        peer.stores(format!("C0640 {} file", contents.len()), contents).hangs_up().sees_exit(0);
        assert_eq!((yard.mode("file"), yard.stamps("file").0), (0o640, 1_000_000_000));
        yard.has("file", contents);
    }
    let contents = vec![b'l'; 300_001];
    Peer::sink(yard, "", ".").hears_ok().stores("C0644 300001 file", &contents).hangs_up().sees_exit(0);
    yard.has("file", &contents);
    assert_eq!(yard.mode("file"), 0o640, "without -p, the old one's");
    fs::remove_file(yard.path("file")).unwrap();
}

fn never_replaces_where_that_is_forbidden(yard: &Yard, abilities: &Abilities) {
    let log = yard.home().join("log");
    yard.file("old", "old");
    let mut peer = Server::of(yard).option("--no-overwrite").option("--log").option(&log).sink("", ".");
    peer.hears_ok().says_record("C0644 3 old").hears_that("./old: File exists");
    peer.stores("C0644 3 new", "new").stores("C0644 5 other", "other");
    // Taken while it is on its way.
    peer.says_record("C0644 3 late").hears_ok();
    yard.file("late", "somebody's");
    peer.says("new\0").hears_that("./late: File exists").hangs_up().sees_exit(1);
    for (name, contents) in [("old", "old"), ("new", "new"), ("other", "other"), ("late", "somebody's")] {
        yard.has(name, contents);
        fs::remove_file(yard.path(name)).unwrap();
    }
    assert_eq!(lacks(&log), usize::from(!abilities.no_replace), "said once, where it is so");
}

/// Counts what the program said that the file system cannot do.
fn lacks(log: &Path) -> usize {
    let lines = fs::read_to_string(log).unwrap();
    fs::remove_file(log).unwrap();
    lines.matches("event=storage").count()
}

fn leaves_the_other_names(yard: &Yard, abilities: &Abilities) {
    if !abilities.links {
        return;
    }
    yard.file("old", "old").hard_link(yard.path("old"), "link");
    Peer::sink(yard, "", ".").hears_ok().stores("C0644 3 old", "new").hangs_up().sees_exit(0);
    yard.has("old", "new");
    yard.has("link", "old");
    for name in ["old", "link"] {
        fs::remove_file(yard.path(name)).unwrap();
    }
}

fn makes_durable(yard: &Yard) {
    for sync in ["file", "session"] {
        yard.file("old", "old");
        let mut peer = Server::of(yard).option("--sync").option(sync).sink("-r", ".");
        peer.hears_ok().stores("C0644 3 old", "new").says_record("D0755 0 d").hears_ok();
        peer.stores("C0644 3 f", "new").says_record("E").hears_ok().hangs_up().sees_exit(0);
        yard.has("old", "new");
        yard.has("d/f", "new");
        fs::remove_file(yard.path("old")).unwrap();
        fs::remove_dir_all(yard.path("d")).unwrap();
    }
}

fn tree(contents: &str) -> String {
    let length = contents.len();
    format!("D0750 0 site\nD0755 0 sub\nC0644 {length} f\n{contents}\0E\nC0644 {length} g\n{contents}\0E\n")
}

fn swaps_trees(yard: &Yard, abilities: &Abilities) {
    let log = yard.home().join("log");
    for (turn, contents) in ["1", "two"].into_iter().enumerate() {
        let server = Server::of(yard).option("--commit").option("tree").option("--log").option(&log);
        let mut peer = server.sink("-r", ".");
        peer.says(tree(contents)).hangs_up().hears_the_rest();
        peer.sees_exit(0);
        yard.has("site/sub/f", contents);
        yard.has("site/g", contents);
        let needed = if turn == 0 { abilities.no_replace } else { abilities.exchange };
        assert_eq!(lacks(&log), usize::from(!needed), "said once, where it is so");
        fs::write(yard.path("site/obsolete"), "").unwrap();
    }
    let mut peer = Server::of(yard).option("--commit").option("tree").sink("-r", ".");
    peer.says(&tree("cut")[..40]).hangs_up().hears_the_rest();
    peer.sees_exit(1);
    yard.has("site/sub/f", "two");
    yard.has("site/obsolete", "");
    fs::remove_dir_all(yard.path("site")).unwrap();
    assert_eq!(temporaries(yard), [""; 0]);
}

fn stays_whole_when_full(yard: &Yard, mounted: &Mounted) {
    let old = vec![b'o'; 100_000];
    yard.file("old", &old).dir("site").file("site/f", &old);
    let is_whole = || {
        yard.has("old", &old);
        yard.has("site/f", &old);
        assert_eq!(temporaries(yard), [""; 0]);
    };
    let mut peer = Peer::sink(yard, "", ".");
    peer.hears_ok();
    // It gets full while the file is on its way, which no look beforehand can see.
    is_refused_for_want_of_room(&mut peer, "old", 2 << 20, || fill(&mounted.ballast, LEFT));
    is_whole();
    peer.stores("C0644 5 small", "small");
    // It is full.
    for (name, size) in [("old", LARGE), ("new", LARGE), ("old", 64 << 20), ("new", 64 << 20)] {
        is_refused_for_want_of_room(&mut peer, name, size, || {});
        is_whole();
        peer.stores("C0644 5 small", "small");
    }
    peer.hangs_up().sees_exit(1);
    yard.has("small", "small");
    assert!(!yard.path("new").exists());
    // A tree, and what has to be on the disk.
    for options in [&["--commit", "tree"][..], &["--sync", "file"], &["--sync", "session"]] {
        let mut server = Server::of(yard);
        for option in options {
            server = server.option(option);
        }
        let mut peer = server.sink("-r", ".");
        peer.hears_ok().says_record("D0755 0 site").hears_ok();
        is_refused_for_want_of_room(&mut peer, "f", LARGE, || {});
        peer.stores("C0644 5 small", "small").says_record("E");
        if options[0] == "--commit" {
            peer.hears_that("./site: not stored: 1 entries in it were refused");
        } else {
            peer.hears_ok();
        }
        peer.hangs_up().sees_exit(1);
        is_whole();
    }
    fs::remove_dir_all(&mounted.ballast).unwrap();
    for name in ["old", "small"] {
        fs::remove_file(yard.path(name)).unwrap();
    }
    fs::remove_dir_all(yard.path("site")).unwrap();
}

// covers: security RES-06
#[test]
fn on_tmpfs() {
    where_there_is(|yard| memory(&yard.path(""), "size=8m"), |yard, mounted| is_kept("tmpfs", yard, mounted));
}

#[test]
fn on_ext4() {
    where_there_is(
        |yard| image(yard, &yard.path(""), "mkfs.ext4", &["-q", "-m", "0"], 16),
        |yard, mounted| is_kept("ext4", yard, mounted),
    );
}

#[test]
fn on_xfs() {
    where_there_is(
        |yard| image(yard, &yard.path(""), "mkfs.xfs", &["-q"], 300),
        |yard, mounted| is_kept("XFS", yard, mounted),
    );
}

#[test]
fn on_btrfs() {
    where_there_is(
        |yard| image(yard, &yard.path(""), "mkfs.btrfs", &["-q", "-m", "single", "-d", "single"], 128),
        |yard, mounted| is_kept("Btrfs", yard, mounted),
    );
}

#[test]
fn on_overlayfs() {
    where_there_is(
        |yard| {
            let (mounted, below) = layers(yard)?;
            over(yard, mounted, &below)
        },
        |yard, mounted| is_kept("overlayfs", yard, mounted),
    );
}

#[test]
fn on_bindfs() {
    where_there_is(
        |yard| {
            let (mounted, below) = layers(yard)?;
            in_a_process(yard, mounted, "bindfs", &["-f".as_ref(), below.join("upper").as_os_str()])
        },
        |yard, mounted| is_kept("bindfs (FUSE)", yard, mounted),
    );
}

/// It writes late: that there is no room is said by close(2), or by whatever flushes before.
#[test]
fn on_fuse_overlayfs() {
    where_there_is(
        |yard| {
            let (mounted, below) = layers(yard)?;
            let options = overlay_options(&below);
            in_a_process(yard, mounted, "fuse-overlayfs", &["-f", "-o", &options].map(OsStr::new))
        },
        |yard, mounted| is_kept("fuse-overlayfs (FUSE)", yard, mounted),
    );
}

/// EDQUOT, of Btrfs, whose quotas need nothing of the kernel's own.
// covers: security RES-07
#[test]
fn with_a_quota_of_btrfs() {
    where_there_is(
        |yard| {
            let (root, disk) = (yard.path(""), yard.home().join("disk"));
            fs::create_dir(&disk).unwrap();
            let mut mounted = image(yard, &disk, "mkfs.btrfs", &["-q", "-m", "single", "-d", "single"], 128)?;
            let volume = disk.join("volume");
            for (words, path) in [
                (&["quota", "enable"][..], &disk),
                (&["subvolume", "create"], &volume),
                (&["qgroup", "limit", "8M"], &volume),
            ] {
                run("btrfs", words, &[path])?;
            }
            mount(Some(&volume), &root, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            mounted.ballast = root.join("ballast");
            Ok(mounted.and(&root))
        },
        |yard, mounted| is_kept("Btrfs with a quota", yard, mounted),
    );
}

/// EDQUOT, of the kernel's quotas, where it has them.
// covers: security RES-07
#[test]
fn with_a_quota_of_tmpfs() {
    where_there_is(
        |yard| memory(&yard.path(""), "size=64m,usrquota,usrquota_block_hardlimit=8m"),
        |yard, mounted| is_kept("tmpfs with a quota", yard, mounted),
    );
}

// covers: security RES-07
#[test]
fn without_an_inode_left() {
    where_there_is(
        |yard| memory(&yard.path(""), "size=8m,nr_inodes=6"),
        |yard, _| {
            const FULL: &str = "No space left on device";
            yard.file("old", "old").dir("d").file("d/f", "f").file("last", "");
            // The root, four, and none for a file beside the old one.
            yard.dir("one-more");
            let mut peer = Peer::sink(yard, "-r", ".");
            peer.hears_ok();
            for (record, name) in [("C0644 3 old", "old"), ("C0644 3 new", "new"), ("D0755 0 e", "e")] {
                peer.says_record(record).hears_that(&format!("./{name}: {FULL}"));
            }
            peer.says_record("D0755 0 d")
                .hears_ok()
                .says_record("C0644 1 f")
                .hears_that(&format!("./d/f: {FULL}"));
            peer.says_record("E").hears_ok();
            fs::remove_dir(yard.path("one-more")).unwrap();
            peer.stores("C0644 3 old", "new").hangs_up().sees_exit(1);
            yard.has("d/f", "f");
            yard.has("old", "new");
            let mut peer = Server::of(yard).option("--commit").option("tree").sink("-r", ".");
            peer.hears_ok().says_record("D0755 0 d").hears_ok().says_record("C0644 1 f");
            peer.hears_that(&format!("./d/f: {FULL}"));
            peer.says_record("E").hears_that("./d: not stored: 1 entries in it were refused");
            peer.hangs_up().sees_exit(1);
            yard.has("d/f", "f");
        },
    );
}

#[test]
fn what_is_mounted_in_a_directory_that_is_replaced_is_not_removed_with_it() {
    for kind in ["tmpfs", "bind"] {
        where_there_is(
            |yard| memory(&yard.path(""), "size=8m"),
            |yard, _| {
                yard.dir("site").file("site/obsolete", "").dir("site/data").dir("elsewhere");
                let data = yard.path("site/data");
                let elsewhere = yard.path("elsewhere");
                let (source, kind, flags) = match kind {
                    "tmpfs" => (Path::new("none"), Some(kind), MsFlags::empty()),
                    _ => (elsewhere.as_path(), None, MsFlags::MS_BIND),
                };
                mount(Some(source), &data, kind, flags, None::<&str>).unwrap();
                yard.file("site/data/precious", "kept");
                let log = yard.home().join("log");
                let server = Server::of(yard).option("--commit").option("tree").option("--log").option(&log);
                let mut peer = server.sink("-r", ".");
                peer.says(tree("new")).hangs_up().hears_the_rest();
                peer.sees_exit(0);
                yard.has("site/g", "new");
                let said = fs::read_to_string(&log).unwrap();
                fs::remove_file(log).unwrap();
                let left: Vec<_> =
                    fs::read_dir(yard.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
                let left = left.iter().find(|path| path.join("data").exists()).expect("it is there still");
                assert_eq!(fs::read_to_string(left.join("data/precious")).unwrap(), "kept");
                let name = left.file_name().unwrap().to_str().unwrap();
                assert!(
                    said.contains(&format!("{name}, could not be removed: something is mounted")),
                    "{said}"
                );
                umount2(&left.join("data"), MntFlags::empty()).unwrap();
                fs::remove_dir_all(left).unwrap();
            },
        );
    }
}

/// As a container's engine does with single files.
#[test]
fn a_file_that_something_is_mounted_over_is_written_into_without_a_root_and_refused_with_one() {
    where_there_is(
        |yard| memory(&yard.path(""), "size=8m"),
        |yard, _| {
            yard.file("file", "below").dir("elsewhere").file("elsewhere/real", "old");
            let (file, real) = (yard.path("file"), yard.path("elsewhere/real"));
            mount(Some(&real), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            let mut peer = Peer::sink(yard, "", ".");
            peer.hears_ok().says_record("C0644 3 file").hears_ok().says("new\0");
            peer.hears_that("./file: Device or resource busy").hangs_up().sees_exit(1);
            yard.has("elsewhere/real", "old");
            let mut peer = Server::of(yard).without_a_root().sink("", "file");
            peer.hears_ok().stores("C0644 3 file", "new").hangs_up().sees_exit(0);
            yard.has("elsewhere/real", "new");
            umount2(&file, MntFlags::empty()).unwrap();
            yard.has("file", "below");
        },
    );
}

/// A directory of a lower layer cannot be renamed.
#[test]
fn what_is_in_a_lower_layer_is_replaced_file_by_file_and_not_as_a_directory() {
    where_there_is(
        |yard| {
            let (mounted, below) = layers(yard)?;
            for path in ["site", "site/sub"] {
                fs::create_dir(below.join("lower").join(path)).unwrap();
            }
            for path in ["old", "site/f"] {
                fs::write(below.join("lower").join(path), "old").unwrap();
            }
            over(yard, mounted, &below)
        },
        |yard, _| {
            Peer::sink(yard, "", ".").hears_ok().stores("C0644 3 old", "new").hangs_up().sees_exit(0);
            yard.has("old", "new");
            let mut peer = Server::of(yard).option("--commit").option("tree").sink("-r", ".");
            peer.says(tree("new")).hangs_up();
            let heard = peer.hears_the_rest();
            peer.sees_whatever_exit();
            if heard.contains(&1) {
                let heard = heard.escape_ascii().to_string();
                assert!(heard.contains("./site: Cross-device link"), "{heard}");
                yard.has("site/f", "old");
            } else {
                // With the mount option redirect_dir it can.
                yard.has("site/g", "new");
            }
        },
    );
}

// covers: security RES-10
#[test]
fn on_one_that_may_only_be_read() {
    where_there_is(
        |yard| memory(&yard.path(""), "size=8m"),
        |yard, mounted| {
            yard.file("old", "old").dir("d").file("d/f", "f");
            let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, &mounted.points[0], None::<&str>, read_only, None::<&str>).unwrap();
            let mut peer = Peer::sink(yard, "-r", ".");
            peer.hears_ok();
            for record in ["C0644 3 old", "C0644 3 new", "D0755 0 e"] {
                peer.says_record(record);
                let heard = peer.hears_refusal();
                assert!(heard.ends_with("Read-only file system"), "{heard}");
            }
            peer.says_record("D0755 0 d").hears_ok().says_record("C0644 1 f");
            peer.hears_that("./d/f: Read-only file system").says_record("E").hears_ok();
            peer.hangs_up().sees_exit(1);
            yard.has("old", "old");
            yard.has("d/f", "f");
        },
    );
}

/// The kernel takes as much of a write as fits, and refuses the rest.
// covers: security RES-07
#[test]
fn with_a_limit_for_each_file() {
    let Some(yard) = Yard::confined() else { return };
    let old = vec![b'o'; 100_000];
    for sandbox in ["try", "off"] {
        yard.file("old", &old);
        // In blocks of 512 bytes; not on the border of any buffer.
        let mut peer =
            Server::of(&yard).after("ulimit -f 301").option("--sandbox").option(sandbox).sink("", ".");
        peer.hears_ok();
        for name in ["old", "new"] {
            peer.says_record(format!("C0644 200000 {name}")).hears_ok().says(vec![b'n'; 200_000]).says_ok();
            peer.hears_that(&format!("./{name}: File too large")).stores("C0644 5 small", "small");
        }
        peer.stores("C0644 154112 fits", vec![b'f'; 154_112]).hangs_up().sees_exit(1);
        yard.holds(["fits", "old", "small"]);
        yard.has("old", &old);
        yard.has("fits", vec![b'f'; 154_112]);
        fs::remove_file(yard.path("fits")).unwrap();
    }
}
