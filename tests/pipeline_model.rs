//! Acknowledging ahead, explored exhaustively: every small tree, every order in which the two sides come to act, every place
//! in which something fails, against every way in which clients read their replies.
//!
//! The count itself is the program's (`scp_server::ahead`); the sink around it and the clients are models of a few lines.

use std::collections::HashSet;
use std::time::Duration;

use nix::errno::Errno;
use scp_server::ahead::{Ahead, Say, Slot, Verdict};
use scp_server::policy::Pipeline;
use scp_server::refusal::{Cause, Refusal};

/// What a client does, one after the other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Step {
    Times,
    File,
    Contents,
    Directory,
    End,
}

/// How a client takes replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    /// One byte is one reply: OpenSSH, pscp, asyncssh, the Java clients.
    Bytewise,
    /// Whatever is there is one reply: scp.py, ssh-rs.
    Bulk,
    /// One byte is one reply, but none is waited for behind contents: what is there while they are sent is taken, be it
    /// the answer to something else or more than one. So it can be behind, or ahead: libssh.
    Late,
    /// Not at all until everything is sent: tmc, minikube, shell one-liners.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    reading: Reading,
    /// Whether it leaves on its last answer, with what is on its way, instead of waiting for the exit status.
    leaves: bool,
}

#[derive(Clone, Debug)]
struct World {
    /// The client: what it does next, and whether it waits for a reply to the step before.
    next: usize,
    waits: bool,
    gone: bool,
    /// On the way to the server, and back (true: yes).
    up: Vec<Step>,
    down: Vec<bool>,
    /// The server: directories (true: refused), and whether contents are due, to be stored or drained.
    levels: Vec<bool>,
    due: Option<Verdict>,
    ahead: Ahead,
    ended: bool,
    /// Failures that may still happen, that have, and that were told.
    may_fail: usize,
    failed: usize,
    told: usize,
}

#[derive(Default)]
struct Explorer {
    seen: HashSet<String>,
    ends: usize,
}

impl Explorer {
    fn explore(&mut self, script: &[Step], kind: Kind, mode: Pipeline, may_fail: usize) {
        let start = World {
            next: 0,
            waits: false,
            gone: false,
            up: Vec::new(),
            down: Vec::new(),
            levels: Vec::new(),
            due: None,
            ahead: Ahead::new(mode),
            ended: false,
            may_fail,
            failed: 0,
            told: 0,
        };
        let mut ahead_of_us = vec![start];
        while let Some(world) = ahead_of_us.pop() {
            if !self.seen.insert(format!("{script:?}{kind:?}{mode:?}{world:?}")) {
                continue;
            }
            let mut worlds = client_acts(&world, script, kind);
            worlds.extend(server_acts(&world, script, kind));
            if worlds.is_empty() {
                self.ends += 1;
                check_end(&world, script, kind, mode);
            }
            ahead_of_us.extend(worlds);
        }
    }
}

/// One step of the client, if it can make one: the first of them takes the fewest replies.
fn client_acts(world: &World, script: &[Step], kind: Kind) -> Vec<World> {
    if world.gone {
        return Vec::new();
    }
    let mut after = world.clone();
    if world.waits {
        let Some((&reply, rest)) = world.down.split_first() else { return Vec::new() };
        // A line of text is read to its end and no further, also by those who read in bulk.
        let swallowed = match (kind.reading, reply) {
            (Reading::Bulk, true) => rest.iter().take_while(|&&yes| yes).count(),
            _ => 0,
        };
        after.down.drain(..=swallowed);
        after.waits = false;
        if !reply && kind.reading == Reading::Late {
            after.give_up();
        } else if !reply {
            after.next = skip(script, world.next);
        }
    } else if let Some(&step) = script.get(world.next) {
        if kind.reading == Reading::Late && step == Step::Contents {
            return (0..=world.down.len()).map(|taken| sends_late(world, taken)).collect();
        }
        after.up.push(step);
        after.next += 1;
        after.waits = kind.reading != Reading::Never;
    } else if kind.leaves {
        // What is still on its way dies with the connection.
        let lost = world.up.iter().filter(|&&step| step == Step::Contents).count();
        assert_eq!(lost, 0, "the client left on its last answer, and files were lost: {script:?} {world:?}");
        assert!(world.due.is_none(), "the client left before its last file was stored: {script:?} {world:?}");
        after.gone = true;
        after.up.clear();
    } else {
        return Vec::new();
    }
    vec![after]
}

/// Contents sent by a client that takes so many replies meanwhile.
fn sends_late(world: &World, taken: usize) -> World {
    let mut after = world.clone();
    if after.down.drain(..taken).all(|yes| yes) {
        after.up.push(Step::Contents);
        after.next += 1;
    } else {
        after.give_up();
    }
    after
}

impl World {
    /// The client stops at an error, which it tells its user.
    fn give_up(&mut self) {
        self.gone = true;
        self.up.clear();
    }
}

/// Where a client goes on that was told no: after T and C behind the contents, after D behind the directory.
fn skip(script: &[Step], next: usize) -> usize {
    match script[next - 1] {
        Step::Times => skip(script, next + 1),
        Step::File => next + 1,
        Step::Directory => {
            let mut depth = 1;
            let length = script[next..].iter().take_while(|step| {
                let inside = depth > 0;
                match step {
                    Step::Directory => depth += 1,
                    Step::End => depth -= 1,
                    _ => {}
                }
                inside
            });
            next + length.count()
        }
        Step::Contents | Step::End => next,
    }
}

/// One step of the server: it takes what has come, with each outcome that it may have.
fn server_acts(world: &World, script: &[Step], kind: Kind) -> Vec<World> {
    let Some((&step, rest)) = world.up.split_first() else { return Vec::new() };
    if world.ended {
        return Vec::new();
    }
    if kind.reading == Reading::Late && world.failed > 0 && world.due.is_some() != (step == Step::Contents) {
        // It had not waited for the answer, so what it sent is taken for a record. No server can do better.
        return vec![World { ended: true, ..world.clone() }];
    }
    assert_eq!(
        world.due.is_some(),
        step == Step::Contents,
        "contents were read as a record, or a record as contents: {script:?} {kind:?} {world:?}"
    );
    let mut worlds = Vec::new();
    let doubt = world.ahead.doubt(slot(step), world.levels.len());
    for followed in followings(world, script, kind, rest, doubt) {
        for fails in [false, true] {
            if let Some(after) = serve(world, step, rest, followed, fails) {
                worlds.push(after);
            }
        }
    }
    worlds
}

/// What a look for more may find. What is there is seen; what comes without an answer may be seen or come too late, except
/// by the longest look: a client that can go on does so within a second.
fn followings(
    world: &World,
    script: &[Step],
    kind: Kind,
    rest: &[Step],
    doubt: Option<Duration>,
) -> Vec<bool> {
    let Some(doubt) = doubt else { return vec![false] };
    if !rest.is_empty() {
        return vec![true];
    }
    let mut client = world.clone();
    client.up = rest.to_vec();
    let comes = loop {
        match client_acts(&client, script, Kind { leaves: false, ..kind }).into_iter().next() {
            Some(after) if after.up.len() > rest.len() => break true,
            Some(after) => client = after,
            None => break false,
        }
    };
    match (comes, doubt) {
        (false, _) | (_, Duration::ZERO) => vec![false],
        (true, long) if long >= Duration::from_secs(1) => vec![true],
        (true, _) => vec![true, false],
    }
}

fn slot(step: Step) -> Slot {
    match step {
        Step::Times => Slot::Times,
        Step::File => Slot::File,
        Step::Contents => Slot::Contents,
        Step::Directory => Slot::Directory,
        Step::End => Slot::End,
    }
}

fn serve(world: &World, step: Step, rest: &[Step], followed: bool, fails: bool) -> Option<World> {
    let mut after = world.clone();
    after.up = rest.to_vec();
    if let Some(doubt) = after.ahead.doubt(slot(step), world.levels.len()) {
        after.ahead.learn(followed, doubt);
    }
    let orphan = world.levels.last() == Some(&true);
    let drained = world.due == Some(Verdict::Overruled);
    let certain = match step {
        Step::Times => Some(false),
        Step::File | Step::Directory if orphan => Some(true),
        Step::End if orphan || world.levels.is_empty() => Some(false),
        Step::Contents if drained => Some(false),
        _ => None,
    };
    match certain {
        Some(outcome) if outcome != fails => return None,
        None if fails && world.may_fail == 0 => return None,
        None if fails => after.may_fail -= 1,
        _ => {}
    }
    let outcome = if fails {
        after.failed += 1;
        Err(Refusal { what: b"x".to_vec(), why: Cause::Errno(Errno::EACCES) })
    } else {
        Ok(())
    };
    let depth = world.levels.len();
    after.due = None;
    let Ok((say, verdict)) = after.ahead.settle(slot(step), depth, outcome) else {
        after.ended = true;
        return Some(after);
    };
    match say {
        Say::Yes(times) => after.down.extend(vec![true; times]),
        Say::No(_, more) => {
            after.told += 1 + more;
            after.down.push(false);
        }
    }
    match (step, verdict) {
        (Step::File, Verdict::Accepted | Verdict::Overruled) => after.due = Some(verdict),
        (Step::Directory, Verdict::Accepted) => after.levels.push(false),
        (Step::Directory, Verdict::Overruled) => after.levels.push(true),
        (Step::End, _) => drop(after.levels.pop()),
        _ => {}
    }
    Some(after)
}

/// Nobody can go on: all is done, or the two wait for each other.
fn check_end(world: &World, script: &[Step], kind: Kind, mode: Pipeline) {
    if world.ended || world.gone {
        return;
    }
    let finished = world.next >= script.len() && !world.waits;
    assert!(finished, "both wait for ever: {script:?} {kind:?} {mode:?} {world:?}");
    assert!(world.levels.is_empty() && world.due.is_none(), "{script:?} {world:?}");
    let mut ahead = world.ahead.clone();
    let untold = ahead.untold().map_or(0, |(_, more)| 1 + more);
    assert_eq!(world.failed, world.told + untold, "a failure was told to nobody: {script:?} {world:?}");
    // The probe's second reply may have answered the E of a first and empty directory, the last record of all: that its
    // mode could not be set is left to the exit status and the screen.
    let first = script.iter().position(|&step| step == Step::Directory);
    let probe_was_the_end = first.is_some_and(|first| script[first + 1..] == [Step::End]);
    if mode != Pipeline::On && !probe_was_the_end {
        assert_eq!(untold, 0, "a failure was not told on the wire: {script:?} {kind:?} {world:?}");
    }
}

/// All trees of up to `left` records, with times and without, closed at the end.
fn scripts(left: usize, times: bool) -> Vec<Vec<Step>> {
    fn grow(script: Vec<Step>, depth: usize, left: usize, times: bool, found: &mut Vec<Vec<Step>>) {
        if depth == 0 && !script.is_empty() {
            found.push(script.clone());
        }
        let with = |steps: &[Step]| {
            let mut longer = script.clone();
            if times && steps[0] != Step::End {
                longer.push(Step::Times);
            }
            longer.extend(steps);
            longer
        };
        if depth > 0 {
            grow(with(&[Step::End]), depth - 1, left, times, found);
        }
        if left > 0 {
            grow(with(&[Step::File, Step::Contents]), depth, left - 1, times, found);
            if depth < 3 {
                grow(with(&[Step::Directory]), depth + 1, left - 1, times, found);
            }
        }
    }
    let mut found = Vec::new();
    grow(Vec::new(), 0, left, times, &mut found);
    // Two ways to the same tree are one.
    let mut unique: HashSet<Vec<Step>> = HashSet::new();
    found.retain(|script| unique.insert(script.clone()));
    found
}

fn explore(mode: Pipeline, kind: Kind, records: usize, may_fail: usize) -> (usize, usize) {
    let mut explorer = Explorer::default();
    for times in [false, true] {
        for script in scripts(records, times) {
            explorer.explore(&script, kind, mode, may_fail);
        }
    }
    (explorer.seen.len(), explorer.ends)
}

const READERS: [Reading; 2] = [Reading::Bytewise, Reading::Bulk];

#[test]
fn no_client_waits_for_ever_loses_a_file_or_is_told_no_in_a_wrong_place() {
    let mut states = 0;
    for mode in [Pipeline::Off, Pipeline::Auto] {
        for reading in READERS {
            for leaves in [false, true] {
                let (seen, ends) = explore(mode, Kind { reading, leaves }, 4, 2);
                assert!(ends > 0);
                states += seen;
            }
        }
        states += explore(mode, Kind { reading: Reading::Never, leaves: false }, 4, 0).0;
        states += explore(mode, Kind { reading: Reading::Late, leaves: false }, 4, 2).0;
    }
    states += explore(Pipeline::On, Kind { reading: Reading::Bytewise, leaves: false }, 4, 2).0;
    states += explore(Pipeline::On, Kind { reading: Reading::Never, leaves: false }, 4, 0).0;
    crate::tally::figure(&format!("{states} states of client, wire and sink explored"));
}

#[test]
#[should_panic(expected = "both wait for ever")]
fn the_model_finds_the_client_that_a_window_of_replies_would_hang() {
    explore(Pipeline::On, Kind { reading: Reading::Bulk, leaves: false }, 2, 0);
}

#[test]
#[should_panic(expected = "the client left on its last answer, and files were lost")]
fn the_model_finds_the_files_that_a_window_of_replies_would_lose() {
    explore(Pipeline::On, Kind { reading: Reading::Bytewise, leaves: true }, 2, 0);
}

#[test]
#[should_panic(expected = "both wait for ever")]
fn the_model_finds_the_client_that_takes_early_what_it_waits_for_later() {
    explore(Pipeline::On, Kind { reading: Reading::Late, leaves: false }, 2, 0);
}

#[test]
#[should_panic(expected = "the client left on its last answer, and files were lost")]
fn the_model_finds_the_files_of_a_client_that_is_behind_and_leaves_which_no_server_can_save() {
    explore(Pipeline::Off, Kind { reading: Reading::Late, leaves: true }, 2, 0);
}
