//! The power goes: what was acknowledged with `--sync` is on the disk, on file systems that there really are.
//!
//! A disk that is a file holds what the kernel has written to it so far. A copy of that file is the disk as it would be
//! found after the power had gone in that moment; it is mounted, which replays the journal, and looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MntFlags, umount2};

use crate::file_systems::mounted::{image, run, where_there_is};
use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// A file system: the program that makes it, how large it is, and how a copy of it is mounted beside it.
struct Disk {
    name: &'static str,
    make: &'static [&'static str],
    size: u64,
    copied: &'static str,
}

const EXT4: Disk = Disk { name: "ext4", make: &["mkfs.ext4", "-q"], size: 32, copied: "loop" };
const XFS: Disk = Disk { name: "XFS", make: &["mkfs.xfs", "-q"], size: 300, copied: "loop,nouuid" };
const BTRFS: Disk = Disk { name: "Btrfs", make: &["mkfs.btrfs", "-q"], size: 256, copied: "loop" };

/// What a file may be after the power has gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    New,
    Old,
    /// Not there, or empty, or not whole.
    Lost,
}

/// Looks at the disk as it would be found now; `Err` where a copy cannot be mounted beside it.
fn after_a_power_cut<T>(yard: &Yard, disk: &Disk, look: impl FnOnce(&Path) -> T) -> Result<T, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (copy, point) = (yard.home().join(format!("copy-{number}")), yard.home().join("after"));
    run("cp", &["--sparse=always"], &[&yard.home().join("image"), &copy])?;
    fs::create_dir_all(&point).unwrap();
    run("mount", &["-o", disk.copied], &[&copy, &point])?;
    let found = look(&point);
    // A child of another test may have something of it open, for as long as it is none yet.
    umount2(&point, MntFlags::MNT_DETACH).unwrap();
    fs::remove_file(copy).unwrap();
    Ok(found)
}

fn find(path: PathBuf, old: &str, new: &str) -> Found {
    match fs::read_to_string(path) {
        Ok(text) if text == new => Found::New,
        Ok(text) if text == old => Found::Old,
        _ => Found::Lost,
    }
}

fn prepares(yard: &Yard) -> (String, String) {
    let (old, new) = ("old ".repeat(2000), "new ".repeat(3000));
    yard.file("old", &old).dir("site").file("site/f", &old).file("site/obsolete", "");
    nix::unistd::syncfs(fs::File::open(yard.path("")).unwrap()).unwrap();
    (old, new)
}

/// Stores a file in the place of another, a new one, and a tree, and looks at the disk after each answer.
fn on(disk: &'static Disk) {
    where_there_is(
        |yard| image(yard, &yard.path(""), disk.make[0], &disk.make[1..], disk.size),
        |yard, _| {
            // Btrfs takes a second disk of the same number for the first one, before Linux 6.7.
            if let Err(why) = after_a_power_cut(yard, disk, |_| ()) {
                return tally::skipped(&why);
            }
            let (old, new) = prepares(yard);
            let mut peer = Server::of(yard).option("--sync").option("file").sink("-r", ".");
            let record = |name: &str| format!("C0644 {} {name}", new.len());
            let is_there = |path: &str| {
                let found = after_a_power_cut(yard, disk, |root| find(root.join(path), &old, &new));
                assert_eq!(found, Ok(Found::New), "{path} on {} after a power cut", disk.name);
            };
            peer.hears_ok().stores(record("old"), &new);
            is_there("old");
            peer.stores(record("fresh"), &new);
            is_there("fresh");
            peer.says_record("D0755 0 d").hears_ok().says_record("D0755 0 e").hears_ok();
            peer.stores(record("deep"), &new);
            is_there("d/e/deep");
            peer.says_record("E").hears_ok().says_record("E").hears_ok();
            // In the middle of the next one, all that was is there.
            peer.says_record(record("old")).hears_ok().says("half");
            for path in ["old", "fresh", "d/e/deep"] {
                is_there(path);
            }
            peer.hangs_up().hears_the_rest();
            peer.sees_exit(1);

            let mut peer = Server::of(yard)
                .option("--sync")
                .option("file")
                .option("--commit")
                .option("tree")
                .sink("-r", ".");
            peer.hears_ok().says_record("D0755 0 site").hears_ok().stores(record("f"), &new);
            let before = after_a_power_cut(yard, disk, |root| find(root.join("site/f"), &old, &new));
            assert_eq!(before, Ok(Found::Old), "the old tree on {} before the new one's end", disk.name);
            peer.says_record("E").hears_ok();
            is_there("site/f");
            peer.hangs_up().sees_exit(0);

            let mut peer = Server::of(yard).option("--sync").option("session").sink("", ".");
            peer.hears_ok().stores(record("last"), &new).hangs_up().sees_exit(0);
            is_there("last");
            tally::figure(&format!(
                "{}: after a power cut all is there that was acknowledged with --sync",
                disk.name
            ));
        },
    );
}

#[test]
fn what_was_acknowledged_is_on_an_ext4_disk() {
    on(&EXT4);
}

#[test]
fn what_was_acknowledged_is_on_an_xfs_disk() {
    on(&XFS);
}

#[test]
fn what_was_acknowledged_is_on_a_btrfs_disk() {
    on(&BTRFS);
}

/// The control: without `--sync` the disk does not have it yet, so that the tests above do see what is missing.
#[test]
fn what_was_acknowledged_without_sync_is_not_on_the_disk_yet() {
    for disk in [&EXT4, &XFS, &BTRFS] {
        where_there_is(
            |yard| image(yard, &yard.path(""), disk.make[0], &disk.make[1..], disk.size),
            |yard, _| {
                if let Err(why) = after_a_power_cut(yard, disk, |_| ()) {
                    return tally::skipped(&why);
                }
                let (old, new) = prepares(yard);
                let record = |name: &str| format!("C0644 {} {name}", new.len());
                // The kernel may have written meanwhile, on a busy machine; not each time.
                let replaced = (0..10).find_map(|turn| {
                    let name = format!("fresh-{turn}");
                    let mut peer = Peer::sink(yard, "", ".");
                    peer.hears_ok().stores(record("old"), &new).stores(record(&name), &new);
                    let (replaced, fresh) = after_a_power_cut(yard, disk, |root| {
                        (find(root.join("old"), &old, &new), find(root.join(name), &old, &new))
                    })
                    .unwrap();
                    peer.hangs_up().sees_exit(0);
                    assert_ne!(replaced, Found::Lost, "on {}", disk.name);
                    (fresh == Found::Lost).then_some(replaced)
                });
                let replaced = replaced.expect("what is not synced is not on the disk");
                tally::figure(&format!(
                    "{}: without --sync, the file that was replaced is {replaced:?}",
                    disk.name
                ));
            },
        );
    }
}
