//! File systems over the root of a yard, and what fills them up.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::statfs;
use nix::unistd::syncfs;

use crate::tally;
use crate::yard::Yard;

/// Bytes that a file system is filled up with at once.
const STEP: usize = 2 << 20;
const SMALL_STEP: usize = 64 * 1024;

/// A file system over the root of a yard, in the thread's own namespace: gone when dropped, whatever happens.
pub(crate) struct Mounted {
    /// What was mounted, the last one first.
    pub(crate) points: Vec<PathBuf>,
    daemon: Option<Child>,
    /// Where what fills it up is put; beside the root if that can be.
    pub(crate) ballast: PathBuf,
}

impl Mounted {
    fn at(point: &Path) -> Self {
        Self { points: vec![point.to_path_buf()], daemon: None, ballast: point.join("ballast") }
    }

    pub(crate) fn and(mut self, point: &Path) -> Self {
        self.points.insert(0, point.to_path_buf());
        self
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for point in &self.points {
            // A program that a test started a moment ago may have it open; the namespace ends with the thread.
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Runs a program that mounts or makes something; `Err` is why it could not.
pub(crate) fn run(program: &str, words: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(words).args(paths).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

pub(crate) fn memory(point: &Path, options: &str) -> Result<Mounted, String> {
    mount(Some("none"), point, Some("tmpfs"), MsFlags::empty(), Some(options))
        .map_err(|errno| format!("tmpfs: {errno}"))?;
    Ok(Mounted::at(point))
}

/// An image of so many MiB, made by `program`, over a loop device.
pub(crate) fn image(
    yard: &Yard,
    point: &Path,
    program: &str,
    words: &[&str],
    size: u64,
) -> Result<Mounted, String> {
    let image = yard.home().join("image");
    File::create(&image).and_then(|file| file.set_len(size << 20)).unwrap();
    run(program, words, &[&image])?;
    run("mount", &["-o", "loop"], &[&image, point])?;
    let _ = fs::remove_dir(point.join("lost+found"));
    Ok(Mounted::at(point))
}

/// A small file system beside the root, and the directory in it that another one is made of.
pub(crate) fn layers(yard: &Yard) -> Result<(Mounted, PathBuf), String> {
    let below = yard.home().join("below");
    fs::create_dir(&below).unwrap();
    let mut mounted = memory(&below, "size=8m")?;
    for name in ["lower", "upper", "work"] {
        fs::create_dir(below.join(name)).unwrap();
    }
    mounted.ballast = below.join("ballast");
    Ok((mounted, below))
}

pub(crate) fn overlay_options(below: &Path) -> String {
    let at = |name: &str| below.join(name).display().to_string();
    format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"))
}

pub(crate) fn over(yard: &Yard, mounted: Mounted, below: &Path) -> Result<Mounted, String> {
    let (point, options) = (yard.path(""), overlay_options(below));
    mount(Some("none"), &point, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| format!("overlay: {errno}"))?;
    Ok(mounted.and(&point))
}

/// A file system in a process: `words` are the program's, the mount point comes last.
pub(crate) fn in_a_process(
    yard: &Yard,
    below: Mounted,
    program: &str,
    words: &[&OsStr],
) -> Result<Mounted, String> {
    /// FUSE_SUPER_MAGIC of statfs(2).
    const FUSE: i64 = 0x6573_5546;
    let point = yard.path("");
    let mut below = below.and(&point);
    let mut command = Command::new(program);
    command.args(words).arg(&point).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    below.daemon = Some(command.spawn().map_err(|error| format!("{program}: {error}"))?);
    let deadline = Instant::now() + Duration::from_secs(20);
    while statfs(&point).is_ok_and(|found| found.filesystem_type().0 != FUSE) {
        if let Ok(Some(status)) = below.daemon.as_mut().unwrap().try_wait() {
            return Err(format!("{program}: {status}"));
        }
        assert!(Instant::now() < deadline, "{program} mounts nothing");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(below)
}

/// Runs a scenario in a namespace of its own, where something is mounted over the root of the yard.
pub(crate) fn where_there_is(
    mounts: impl FnOnce(&Yard) -> Result<Mounted, String> + Send,
    scenario: impl FnOnce(&Yard, &Mounted) + Send,
) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        let mounting = thread::Builder::new().name(name).spawn_scoped(scope, || {
            let Some(yard) = Yard::confined() else { return };
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            let apart = unshare(CloneFlags::CLONE_NEWNS)
                .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
            if apart.is_err() {
                return tally::skipped("no right to mount");
            }
            match mounts(&yard) {
                Ok(mounted) => {
                    scenario(&yard, &mounted);
                    assert_eq!(temporaries(&yard), [""; 0], "nothing is left");
                }
                // What a kernel lacks, no script installs.
                Err(why) => tally::skipped(&why),
            }
        });
        if let Err(panic) = mounting.unwrap().join() {
            resume_unwind(panic);
        }
    });
}

pub(crate) fn temporaries(yard: &Yard) -> Vec<String> {
    yard.listing().into_iter().filter(|name| name.contains(".scp-")).collect()
}

/// Fills the file system up, but for about `left` bytes.
pub(crate) fn fill(ballast: &Path, left: usize) {
    fs::create_dir_all(ballast).unwrap();
    let made = |size: usize, number: usize| ballast.join(format!("{size}-{number}"));
    let put = |size: usize, number: usize| -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(made(size, number))?;
        if fallocate(&file, FallocateFlags::empty(), 0, size as i64).is_err() {
            file.write_all(&vec![b'.'; size])?;
        }
        file.sync_all()
    };
    let give_back = |size: usize, number: usize| {
        // Emptied first: a child of another test may hold it open, for as long as it is none yet. Where a quota of btrfs is
        // used up, only the removal is sure to be let through.
        let _ = File::create(made(size, number)).and_then(|file| file.set_len(0));
        fs::remove_file(made(size, number))
    };
    let settle = || syncfs(File::open(ballast).unwrap()).unwrap();
    // In large steps, and the last of them in small ones.
    for (step, room) in [(STEP, STEP), (SMALL_STEP, left)] {
        let mut number = 0;
        while put(step, number).is_ok() {
            number += 1;
            assert!(number < 1000, "it does not get full");
        }
        let _ = give_back(step, number);
        for back in 1..=room.div_ceil(step) {
            give_back(step, number - back).unwrap();
        }
        // Some give back only then what was removed.
        settle();
    }
}
