//! Sessions that are killed at random moments, while somebody reads the file that they replace: it is the old one or the
//! new one, never a mixture, never absent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tally;
use crate::yard::Yard;

/// Words of eight bytes in the file, each of which says which upload it came with.
const WORDS: usize = 25_000;

/// How a session ends that is not left in peace.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    Signal(Signal),
    /// The client is gone, its pipes closed.
    Cut,
}

const ENDS: [End; 4] =
    [End::Signal(Signal::SIGKILL), End::Signal(Signal::SIGTERM), End::Signal(Signal::SIGHUP), End::Cut];
const PIPELINES: [&str; 3] = ["off", "auto", "on"];

/// Kills of each kind: `SCP_SERVER_KILLS` says how many, or it is a few.
fn kills() -> usize {
    let kills = std::env::var("SCP_SERVER_KILLS").ok();
    kills.map_or(50, |kills| kills.parse().expect("SCP_SERVER_KILLS is a number"))
}

/// Lets the reader go, also where an assertion has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Random numbers, good enough to choose moments.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (end as u64 + 1)) as usize
    }
}

/// What a client says up to each answer that it waits for; the file is replaced in the step before the last.
fn steps(generation: u64, mode: &str) -> Vec<Vec<u8>> {
    let contents = |generation: u64| [generation.to_be_bytes().repeat(WORDS), vec![0]].concat();
    let size = WORDS * 8;
    vec![
        b"D0755 0 d\n".to_vec(),
        format!("C{mode} {size} other\n").into(),
        contents(generation),
        format!("C{mode} {size} target\n").into(),
        contents(generation),
        b"E\n".to_vec(),
    ]
}

/// Returns which upload a file came with, which has to be one, and all of it.
fn generation(contents: &[u8]) -> u64 {
    assert_eq!(contents.len(), WORDS * 8, "all of it");
    let first = &contents[..8];
    let mixed = contents.chunks(8).position(|word| word != first);
    assert_eq!(mixed, None, "a mixture");
    u64::from_be_bytes(first.try_into().unwrap())
}

fn start(yard: &Yard, pipeline: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_scp-server"))
        .arg("--root")
        .arg(yard.path(""))
        .args(["--pipeline", pipeline, "-r", "-t", "."])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Goes step by step, as OpenSSH's scp, until `limit` bytes are said, the program is gone, or all is done; returns how many
/// answers came, the one before the first step included.
fn converse(child: &mut Child, steps: &[Vec<u8>], mut limit: usize) -> usize {
    let (mut mouth, mut ears) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut reply = [1];
    let mut hears = || matches!(ears.read(&mut reply), Ok(1)) && reply == [0];
    if !hears() {
        return 0;
    }
    for (number, step) in steps.iter().enumerate() {
        let said = &step[..step.len().min(limit)];
        limit -= said.len();
        if mouth.write_all(said).is_err() || said.len() < step.len() || !hears() {
            return 1 + number;
        }
    }
    1 + steps.len()
}

/// Holds one session that ends so, at a random moment; returns how many answers came, and the exit status.
fn session(
    child: Child,
    steps: &[Vec<u8>],
    end: End,
    length: Duration,
    dice: &mut Dice,
) -> (usize, ExitStatus) {
    let mut child = child;
    let End::Signal(signal) = end else {
        let limit = dice.up_to(steps.iter().map(Vec::len).sum());
        let answers = converse(&mut child, steps, limit);
        return (answers, child.wait().unwrap());
    };
    let delay = length.mul_f64(dice.up_to(1000) as f64 / 900.0);
    let pid = Pid::from_raw(child.id() as i32);
    let answers = thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(delay);
            // It has not been waited for: the number is still its.
            kill(pid, signal).unwrap();
        });
        converse(&mut child, steps, usize::MAX)
    });
    (answers, child.wait().unwrap())
}

fn temporaries(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b".scp-")).collect()
}

// covers: security RES-10, peers H-b
#[test]
fn whoever_is_killed_at_whatever_moment_the_file_is_the_old_one_or_the_new_one() {
    let Some(yard) = Yard::confined() else { return };
    let dir = yard.path("d");
    let target = dir.join("target");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut dice = Dice(now.as_nanos() as u64 | 1);

    let mut length = Duration::ZERO;
    for _ in 0..5 {
        let (mut child, started) = (start(&yard, "off"), Instant::now());
        assert_eq!(converse(&mut child, &steps(0, "0600"), usize::MAX), 7);
        assert!(child.wait().unwrap().success());
        length = started.elapsed();
    }

    let (done, torn) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut ended = BTreeMap::<(End, &str), usize>::new();
    let (mut killed, mut whole, mut left, mut replaced, mut cleared) = (0, 0, 0, 0, 0);
    let looks = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let seen =
                    std::panic::catch_unwind(|| generation(&fs::read(&target).expect("it is never absent")));
                torn.fetch_or(seen.is_err(), Ordering::Relaxed);
                looks += 1;
            }
            looks
        });
        let stop = Stop(&done);
        let mut number = 0;
        for round in 0.. {
            if killed >= kills() * ENDS.len() {
                break;
            }
            for end in ENDS {
                number += 1;
                let pipeline = PIPELINES[round % PIPELINES.len()];
                // One that is killed between its mode and its name is not known for one of ours until a day has gone.
                let steps = steps(number, if round % 2 == 0 { "0600" } else { "0640" });
                let before = generation(&fs::read(&target).unwrap());
                let stale = temporaries(&dir);
                let started = Instant::now();
                let (answers, status) = session(start(&yard, pipeline), &steps, end, length, &mut dice);
                if status.success() && end != End::Cut {
                    // The reader has an influence on how long it takes.
                    length = (length * 3 + started.elapsed()) / 4;
                }
                let after = generation(&fs::read(&target).unwrap());
                let case = format!("{end:?} {pipeline}: {answers} answers, {status}");
                assert!(!torn.load(Ordering::Relaxed), "{case}: the reader saw something else");
                assert!(after == before || after == number, "{case}: {before} became {after}");
                *ended.entry((end, pipeline)).or_default() += 1;
                replaced += usize::from(after == number);
                if status.success() {
                    whole += 1;
                    // In mode on an answer says nothing, and the exit status all.
                    assert!(after == number, "{case}: it said that all had arrived");
                    assert!(answers == 7 || end == End::Cut, "{case}");
                } else {
                    killed += 1;
                    // Before the program has said a word it may not even be the program yet.
                    let by_signal = status.signal().is_some();
                    let may_be = answers == 0 && matches!(end, End::Signal(_));
                    assert!(by_signal == (end == End::Signal(Signal::SIGKILL)) || may_be, "{case}");
                    assert!(by_signal || status.code() == Some(1), "{case}");
                }
                if pipeline == "off" && answers >= 6 {
                    assert_eq!(after, number, "{case}: it was acknowledged");
                }
                let here = temporaries(&dir);
                cleared += stale.iter().filter(|path| !here.contains(path)).count();
                if end == End::Signal(Signal::SIGKILL) && !status.success() {
                    left += here.iter().filter(|path| !stale.contains(path)).count();
                } else {
                    assert!(here.iter().all(|path| stale.contains(path)), "{case}: {here:?}");
                }
                if status.success() || pipeline == "off" && answers >= 3 {
                    // What an earlier one had left was there when the first file came.
                    for path in here.iter().filter(|path| stale.contains(path)) {
                        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                        assert_ne!(mode, 0o600, "{case}: {} was not cleared away", path.display());
                        fs::remove_file(path).unwrap();
                    }
                }
            }
        }
        drop(stop);
        reader.join().unwrap()
    });
    temporaries(&dir).iter().for_each(|path| fs::remove_file(path).unwrap());
    let all = ended.values().sum::<usize>();
    assert_eq!(ended.len(), ENDS.len() * PIPELINES.len());
    assert!(looks > 0 && killed > all / 4 && left > 0 && replaced > 0, "{killed} {left} {replaced} {looks}");
    assert!(replaced < all, "some ended before");
    tally::figure(&format!(
        "{killed} sessions killed (KILL, TERM, HUP, cut line) at random moments, and {whole} too late: \
         {looks} looks at the target, 0 mixed, 0 missing; {replaced} had replaced it; 0 wrong exit statuses; \
         {left} temporaries left, all by KILL, {cleared} gone with a later session"
    ));
}
