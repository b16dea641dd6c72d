//! Races: somebody exchanges directories and files for links that lead outside, while the program looks them up.
//!
//! Each race has its control: the same attack gets out of the machine's own scp, or the test fails for being vacuous.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cell::{self, Cell, Lookup};
use crate::swaps::{Bait, Budget, Score, Swaps};
use crate::yard::Yard;

/// Who is raced against.
#[derive(Clone, Copy)]
enum Racer<'c> {
    Ours(&'c Cell),
    /// A server that nothing confines: OpenSSH's, or ours in its place.
    Control,
}

impl Racer<'_> {
    fn command(self, yard: &Yard, options: &[&str], words: &[&str]) -> Command {
        let mut command = match self {
            Self::Ours(cell) => return cell.command(yard, options, words),
            Self::Control if Path::new("/usr/bin/scp").exists() => Command::new("/usr/bin/scp"),
            Self::Control => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_scp-server"));
                command.arg0("scp");
                command
            }
        };
        command.args(words);
        cell::as_its_user(&mut command, yard);
        command.current_dir(yard.path(""));
        command
    }
}

/// A client that says and hears without a transcript: there are thousands of operations.
struct Line {
    child: Child,
    ears: BufReader<ChildStdout>,
}

impl Line {
    fn start(mut command: Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn().unwrap();
        let ears = BufReader::new(child.stdout.take().unwrap());
        Self { child, ears }
    }

    /// Says something; that nobody listens any more is heard afterwards.
    fn says(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(bytes.as_ref());
    }

    fn hears_in_time(&mut self) {
        if self.ears.buffer().is_empty() {
            let mut fds = [PollFd::new(self.ears.get_ref().as_fd(), PollFlags::POLLIN)];
            assert_ne!(poll(&mut fds, PollTimeout::from(20_000_u16)).unwrap(), 0, "the program hangs");
        }
    }

    /// Hears an answer: whether it is an acknowledgement, or nothing more.
    fn hears(&mut self) -> Option<bool> {
        self.hears_in_time();
        let mut byte = [0];
        if self.ears.read(&mut byte).unwrap() == 0 {
            return None;
        }
        if byte[0] != 0 {
            self.ears.read_until(b'\n', &mut Vec::new()).unwrap();
        }
        Some(byte[0] == 0)
    }

    /// Hangs up and hears all that comes until the program ends.
    fn hears_the_rest(mut self) -> Vec<u8> {
        drop(self.child.stdin.take());
        let mut all = Vec::new();
        let mut piece = [0; 64 * 1024];
        loop {
            self.hears_in_time();
            match self.ears.read(&mut piece).unwrap() {
                0 => return all,
                count => all.extend(&piece[..count]),
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The levels of the path that is attacked: `a/b/c/x` in the root, and the same outside.
const LEVELS: [&str; 3] = ["a", "a/b", "a/b/c"];

/// A yard with a path of three directories, its image outside, and beside `level` the link to that image.
fn mirrored(level: &str) -> Yard {
    let mut yard = Yard::confined().unwrap();
    for level in LEVELS {
        yard.dir(level);
        fs::create_dir_all(yard.outside("m").join(level)).unwrap();
    }
    yard.file("a/b/c/x", "inside");
    fs::write(yard.outside("m/a/b/c/x"), "OUTSIDE").unwrap();
    let target = match level {
        "a/b" => PathBuf::from("../../outside/m/a/b"),
        _ => yard.outside("m").join(level),
    };
    symlink(target, yard.path("swap")).unwrap();
    yard.looks_outside_again();
    yard
}

fn count(heard: &[u8], what: &[u8]) -> u64 {
    heard.windows(what.len()).filter(|part| *part == what).count() as u64
}

/// Runs rounds of a race until they are enough, or, for the control, until one got out. A round returns how many
/// operations it made and how many of them were refused, and says whether something leaked.
fn race(
    racer: Racer<'_>,
    operations: u64,
    yard: &mut Yard,
    attack: impl FnOnce(&Yard) -> Swaps,
    mut round: impl FnMut(&Yard, Racer<'_>) -> Score,
) -> Score {
    let mut budget = Budget::new(operations);
    let patience = Instant::now() + Duration::from_secs(30);
    let swaps = attack(yard);
    let mut score = Score::default();
    loop {
        let this = round(yard, racer);
        score.operations += this.operations;
        score.refused += this.refused;
        score.escapes += this.escapes;
        let more = match racer {
            Racer::Ours(_) => budget.spends(this.operations),
            Racer::Control => {
                score.escapes += u64::from(score.escapes == 0 && !yard.outside_is_unchanged());
                score.escapes == 0 && Instant::now() < patience
            }
        };
        if !more {
            break;
        }
    }
    score.swaps = swaps.end();
    match racer {
        Racer::Ours(_) => score.escapes += u64::from(!yard.outside_is_unchanged()),
        Racer::Control => {}
    }
    // The oracle has spoken; and what it has read counts as read.
    yard.gives_up_outside();
    score
}

/// Asserts that an attack gets nothing out of ours, with the kernel's lookup and without, and does out of the control.
fn assert_no_escape(
    what: &str,
    operations: u64,
    make: impl Fn() -> Yard + Sync,
    attack: impl Fn(&Yard) -> Swaps + Sync,
    round: impl Fn(&Yard, Racer<'_>) -> Score + Sync,
) {
    let control = race(Racer::Control, operations, &mut make(), &attack, &round);
    assert!(control.escapes > 0, "{what}: the attack is vacuous: {control:?}");
    assert_none_against_ours(what, operations, make, attack, round, Some(&control));
}

fn assert_none_against_ours(
    what: &str,
    operations: u64,
    make: impl Fn() -> Yard + Sync,
    attack: impl Fn(&Yard) -> Swaps + Sync,
    round: impl Fn(&Yard, Racer<'_>) -> Score + Sync,
    control: Option<&Score>,
) {
    let against = |cell: &Cell, name: &str| {
        let score = race(Racer::Ours(cell), operations, &mut make(), &attack, &round);
        score.publish(&format!("{what}, {name}"), control);
        assert_eq!(score.escapes, 0, "{what}, {name}: {score:?}");
    };
    if let Some(cell) = WITHOUT_RESOLVER.with(|chosen| chosen.borrow().clone()) {
        return against(&cell, "sandbox alone");
    }
    let cell = Cell::new("off");
    against(&cell, "openat2");
    Lookup::NoSuchCall.holds_while(|| against(&cell, "stepwise"));
}

std::thread_local! {
    /// The build without the resolver, if it is the one to be raced against.
    static WITHOUT_RESOLVER: std::cell::RefCell<Option<Cell>> = const { std::cell::RefCell::new(None) };
}

/// Fetches paths again and again, all acknowledgements said ahead.
fn fetches(yard: &Yard, racer: Racer<'_>, flags: &[&str], path: &str) -> Score {
    const PATHS: usize = 100;
    let words: Vec<&str> = flags.iter().copied().chain(std::iter::repeat_n(path, PATHS)).collect();
    let mut line = Line::start(racer.command(yard, &[], &words));
    line.says([0; PATHS * 12]);
    let heard = line.hears_the_rest();
    let (inside, leaked) = (count(&heard, b"inside\0"), count(&heard, b"OUTSIDE"));
    let operations = PATHS as u64;
    Score { operations, refused: operations.saturating_sub(inside + leaked), escapes: leaked, swaps: 0 }
}

/// Stores one file in a session of its own.
fn stores_once(yard: &Yard, racer: Racer<'_>, words: &[&str]) -> Score {
    let mut line = Line::start(racer.command(yard, &[], words));
    line.says("T1 0 1 0\nC0600 3 up\nnew\0");
    let heard = line.hears_the_rest();
    Score { operations: 1, refused: u64::from(heard != b"\0\0\0\0"), ..Score::default() }
}

/// Stores `a/b/c/up` with all directories around it, again and again in one session.
fn stores_trees(yard: &Yard, racer: Racer<'_>) -> Score {
    let mut score = Score::default();
    let mut line = Line::start(racer.command(yard, &[], &["-r", "-p", "-t", "."]));
    line.hears();
    for _ in 0..50 {
        score.operations += 1;
        let mut depth = 0;
        for name in ["a", "b", "c"] {
            line.says(format!("T1 0 1 0\nD0700 0 {name}\n"));
            if line.hears() != Some(true) || line.hears() != Some(true) {
                break;
            }
            depth += 1;
        }
        line.says("C0600 3 up\n");
        if line.hears() == Some(true) {
            line.says("new\0");
            line.hears();
        }
        for _ in 0..depth {
            line.says("E\n");
            line.hears();
        }
        score.refused += u64::from(depth < 3);
    }
    line.hears_the_rest();
    score
}

/// Stores one name again and again in one session, into `d`.
fn stores_a_name(yard: &Yard, racer: Racer<'_>, options: &[&str], record: &str) -> Score {
    let mut score = Score::default();
    let mut line = Line::start(racer.command(yard, options, &["-r", "-p", "-t", "d"]));
    line.hears();
    for _ in 0..100 {
        score.operations += 1;
        line.says(format!("T1 0 1 0\n{record}\n"));
        line.hears();
        let Some(accepted) = line.hears() else { break };
        if accepted && record.starts_with('C') {
            line.says("new\0");
            line.hears();
        } else if accepted {
            line.says("C0600 3 up\n");
            if line.hears() == Some(true) {
                line.says("new\0");
                line.hears();
            }
            line.says("E\n");
            line.hears();
        }
        score.refused += u64::from(!accepted);
    }
    line.hears_the_rest();
    score
}

fn swaps_of(level: &'static str) -> impl Fn(&Yard) -> Swaps {
    move |yard| Swaps::of(yard.path(level), yard.path("swap"))
}

fn downloads_through_directories() {
    for level in LEVELS {
        let (make, attack) = (|| mirrored(level), swaps_of(level));
        let plain = |yard: &Yard, racer: Racer<'_>| fetches(yard, racer, &["-f"], "a/b/c/x");
        assert_no_escape(&format!("download, {level} swapped"), 500, make, &attack, plain);
        let tree = |yard: &Yard, racer: Racer<'_>| fetches(yard, racer, &["-r", "-p", "-f"], "a");
        assert_no_escape(&format!("tree download, {level} swapped"), 500, make, &attack, tree);
    }
}

fn uploads_through_directories() {
    for level in LEVELS {
        let (make, attack) = (|| mirrored(level), swaps_of(level));
        let path = |yard: &Yard, racer: Racer<'_>| stores_once(yard, racer, &["-p", "-t", "a/b/c"]);
        assert_no_escape(&format!("upload, {level} swapped"), 60, make, &attack, path);
        let file = |yard: &Yard, racer: Racer<'_>| stores_once(yard, racer, &["-p", "-t", "a/b/c/up"]);
        assert_no_escape(&format!("upload of a name, {level} swapped"), 60, make, &attack, file);
        assert_no_escape(&format!("tree upload, {level} swapped"), 500, make, &attack, stores_trees);
    }
}

/// A yard with one directory, and in it the leaf that is attacked.
fn with_a_leaf() -> Yard {
    let mut yard = Yard::confined().unwrap();
    yard.dir("d").file("d/leaf", "inside");
    fs::write(yard.outside("victim"), "OUTSIDE").unwrap();
    yard.looks_outside_again();
    yard
}

fn baits(yard: &Yard, more: &[Bait]) -> Swaps {
    let links = [Bait::Link(yard.outside("victim")), Bait::Link("../../outside/d".into())];
    let baits = [Bait::File, Bait::Directory].into_iter().chain(links).chain(more.iter().cloned());
    Swaps::with_baits(yard.path("d/leaf"), baits.collect())
}

fn leaves() {
    let upload = |yard: &Yard, racer: Racer<'_>| {
        let first = stores_a_name(yard, racer, &[], "C0600 3 leaf");
        let second = stores_a_name(yard, racer, &[], "D0700 0 leaf");
        let operations = first.operations + second.operations;
        Score { operations, refused: first.refused + second.refused, ..Score::default() }
    };
    let download = |yard: &Yard, racer: Racer<'_>| fetches(yard, racer, &["-r", "-f"], "d/leaf");
    let tree = |yard: &Yard, racer: Racer<'_>| fetches(yard, racer, &["-r", "-f"], "d");
    let links = |yard: &Yard| baits(yard, &[]);
    assert_no_escape("upload, the leaf swapped", 600, with_a_leaf, links, upload);
    assert_no_escape("download, the leaf swapped", 600, with_a_leaf, links, download);
    assert_no_escape("tree download, the leaf swapped", 600, with_a_leaf, links, tree);
    // The same with a pipe now and then, at which the control would wait for ever: it had its turn above.
    let pipes = |yard: &Yard| baits(yard, &[Bait::Fifo]);
    assert_none_against_ours("upload, pipes too", 600, with_a_leaf, pipes, upload, None);
    assert_none_against_ours("download, pipes too", 600, with_a_leaf, pipes, download, None);
    assert_none_against_ours("tree download, pipes too", 600, with_a_leaf, pipes, tree, None);
}

// covers: security PT-10
#[test]
fn a_directory_swapped_for_a_link_outside_is_never_read_through() {
    if cell::is_about_confinement() {
        downloads_through_directories();
    }
}

// covers: security PT-10, security PT-12
#[test]
fn a_directory_swapped_for_a_link_outside_is_never_written_through() {
    if cell::is_about_confinement() {
        uploads_through_directories();
    }
}

// covers: security PT-11, security PT-19, security PT-20
#[test]
fn a_leaf_swapped_for_links_pipes_and_directories_is_never_followed_outside() {
    if cell::is_about_confinement() {
        leaves();
    }
}

// covers: security PT-15, security PT-11
#[test]
fn a_file_swapped_for_a_second_name_of_one_outside_is_never_written_into() {
    if !cell::is_about_confinement() {
        return;
    }
    let raced = |racer: Racer<'_>, atomic: &str| {
        let mut yard = with_a_leaf();
        let victim = yard.outside("victim");
        yard.gives_up_outside();
        let baits = vec![Bait::File, Bait::HardLink(victim.clone())];
        let swaps = Swaps::with_baits(yard.path("d/leaf"), baits);
        let before = victim.metadata().unwrap();
        let (mut budget, mut score) = (Budget::new(2000), Score::default());
        loop {
            let round = stores_a_name(&yard, racer, &["--atomic", atomic], "C0600 3 leaf");
            score.operations += round.operations;
            score.refused += round.refused;
            let after = victim.metadata().unwrap();
            let touched = (after.mode(), after.mtime()) != (before.mode(), before.mtime())
                || fs::read(&victim).unwrap() != b"OUTSIDE";
            score.escapes += u64::from(touched);
            if touched || !budget.spends(round.operations) {
                score.swaps = swaps.end();
                return score;
            }
        }
    };
    let control = raced(Racer::Control, "");
    assert!(control.escapes > 0, "the attack is vacuous: {control:?}");
    let cell = Cell::new("off");
    for atomic in ["auto", "always", "off"] {
        let score = raced(Racer::Ours(&cell), atomic);
        score.publish(&format!("a second name outside, --atomic {atomic}"), Some(&control));
        assert_eq!(score.escapes, 0, "--atomic {atomic}: {score:?}");
    }
}

// covers: security SBX-06, security PT-10, security PT-11, security PT-12
#[test]
fn the_kernels_layers_hold_alone_against_every_swap() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let Some(cell) = Cell::without_resolver() else { return };
    WITHOUT_RESOLVER.with(|chosen| *chosen.borrow_mut() = Some(cell));
    downloads_through_directories();
    uploads_through_directories();
    leaves();
}
