//! Attackers: threads that exchange what is in the root for links that lead outside, as fast as they can.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// A thread that swaps until it is told to end.
pub struct Swaps {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What an attacker puts in a name's place.
#[derive(Clone, Debug)]
pub enum Bait {
    /// A file.
    File,
    /// A named pipe that nobody reads or writes.
    Fifo,
    /// A directory with a file in it.
    Directory,
    /// A symbolic link.
    Link(PathBuf),
    /// A second name of a file.
    HardLink(PathBuf),
}

impl Swaps {
    /// Exchanges two names for each other, again and again.
    pub fn of(one: PathBuf, other: PathBuf) -> Self {
        Self::by(move || exchange(&one, &other))
    }

    /// Puts one bait after the other in a name's place.
    pub fn with_baits(name: PathBuf, baits: Vec<Bait>) -> Self {
        let mut turn = 0;
        Self::by(move || {
            let stash = name.with_file_name("stash");
            baits[turn % baits.len()].lay(&stash);
            turn += 1;
            if !exchange(&stash, &name) {
                let _ = fs::rename(&stash, &name);
            }
            clear(&stash);
            true
        })
    }

    fn by(mut swap: impl FnMut() -> bool + Send + 'static) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if swap() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let swaps = Self { stop, count, thread: Some(thread) };
        // The attack has begun before anything is attacked.
        while swaps.count.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        swaps
    }

    /// Ends the attack and returns how often it swapped.
    pub fn end(mut self) -> u64 {
        self.stop();
        self.count.load(Ordering::Relaxed)
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Swaps {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Bait {
    fn lay(&self, path: &Path) {
        clear(path);
        match self {
            Self::File => fs::write(path, "inside").unwrap(),
            Self::Fifo => mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap(),
            Self::Directory => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("x"), "inside").unwrap();
            }
            Self::Link(target) => symlink(target, path).unwrap(),
            Self::HardLink(original) => fs::hard_link(original, path).unwrap(),
        }
    }
}

fn exchange(one: &Path, other: &Path) -> bool {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

fn clear(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir_all(path);
}

/// How long a race is run: so many operations, or, if `SCP_SERVER_RACE_SECONDS` says so, for so long.
pub struct Budget {
    operations: u64,
    until: Option<Instant>,
    done: u64,
}

impl Budget {
    /// A race of so many operations.
    pub fn new(operations: u64) -> Self {
        let seconds = std::env::var("SCP_SERVER_RACE_SECONDS").ok();
        let seconds = seconds.map(|seconds| seconds.parse().expect("SCP_SERVER_RACE_SECONDS is a number"));
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Self { operations, until, done: 0 }
    }

    /// Counts operations, and tells whether there are more to come.
    pub fn spends(&mut self, operations: u64) -> bool {
        self.done += operations;
        match self.until {
            Some(until) => Instant::now() < until,
            None => self.done < self.operations,
        }
    }
}

/// What a race came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// What was asked of the program.
    pub operations: u64,
    /// How much of that it refused.
    pub refused: u64,
    /// How often something outside was touched or told.
    pub escapes: u64,
    /// How often the attacker swapped.
    pub swaps: u64,
}

impl Score {
    /// Adds a line on the race, and on the control, to `races.txt`, which `tests/run` prints.
    pub fn publish(&self, what: &str, control: Option<&Self>) {
        let Self { operations, refused, escapes, swaps } = self;
        let control = match control {
            Some(control) => format!("control: {} of {}", control.escapes, control.operations),
            None => "no control".to_owned(),
        };
        let line = format!(
            "{what}: {operations} operations ({refused} refused), {swaps} swaps, {escapes} escapes; \
             {control}\n"
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("races.txt");
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the summary can be written");
    }
}
