//! `scp -t`: records in, files out; one record, one answer.

use std::time::Instant;

use crate::abort::Abort;
use crate::ahead::{Ahead, Say, Slot, Verdict};
use crate::attr::{Mode, Times};
use crate::audit::{self, Event, Transfer};
use crate::channel::Channel;
use crate::jail::{Arrival, Dir, Incoming, Insists, Jail, Place, Staging};
use crate::name::{ClientPath, FileName};
use crate::policy::{Manners, Metadata, Unit};
use crate::refusal::{Cause, Refusal, Tally, Trail, Words};
use crate::request::{Depth, Keep, Store, TargetKind};
use crate::wire::{Record, Violation};

/// Stores what the client sends, until it ends the stream or the outermost directory.
///
/// # Errors
/// The session ends early; what was stored before stays.
pub fn run(store: &Store, manners: Manners, jail: &Jail, channel: &mut Channel) -> Result<Tally, Abort> {
    let mut sink = Sink::open(store, jail)?;
    let mut answers = Answers {
        channel,
        ahead: Ahead::new(manners.pipeline),
        metadata: manners.metadata,
        tally: Tally::default(),
    };
    answers.channel.say(&Say::Yes(1))?;
    loop {
        let Some(record) = answers.channel.next_record()? else {
            return if sink.is_at_rest() { Ok(answers.finish()) } else { Err(Violation::CutShort.into()) };
        };
        audit::show_client(store.chatter, "Sink", &record);
        let depth = sink.levels.len();
        match record {
            Record::Complaint(text) => {
                audit::record(&Event::Complained(&text))?;
                answers.tally.count_refused();
            }
            Record::GivenUp(_) => return Err(Abort::GivenUp),
            Record::Times(times) => {
                sink.times = Some(times);
                answers.give(Slot::Times, depth, Ok(()))?;
            }
            Record::Directory { mode, name } => {
                let entered = sink.enter(mode, &name, answers.tally.refused)?;
                match answers.give(Slot::Directory, depth, entered)? {
                    Verdict::Accepted => answers.tally.count_copied(),
                    Verdict::Overruled => sink.levels.push(Level::Refused(sink.trail(&name))),
                    Verdict::Refused => {}
                }
            }
            Record::End => {
                sink.refuse_pending_times()?;
                let left = sink.leave(answers.tally.refused, answers.metadata)?;
                answers.give(Slot::End, depth, left)?;
                if depth == 0 {
                    // WinSCP and groovy-ssh end so and wait for our exit; what follows is not executed.
                    return Ok(answers.finish());
                }
            }
            Record::File { mode, size, name } => {
                let times = sink.times.take();
                let begun = sink.begin(name, size)?;
                let (incoming, refusal) = match begun {
                    Ok(incoming) => (Some(incoming), Ok(())),
                    Err(refusal) => (None, Err(refusal)),
                };
                if answers.give(Slot::File, depth, refusal)? == Verdict::Refused {
                    continue;
                }
                let stored = answers.receive(incoming, size, mode, sink.keep, times.as_ref())?;
                answers.give(Slot::Contents, depth, stored)?;
            }
        }
    }
}

/// The only place that answers: one record, one outcome, one answer.
struct Answers<'c> {
    channel: &'c mut Channel,
    ahead: Ahead,
    metadata: Metadata,
    tally: Tally,
}

impl Answers<'_> {
    /// Takes the contents of a file, and tells what became of it: committed, or let go of, and then the old file is still
    /// there. It is closed before anybody hears of it: a program that is open for writing cannot be executed.
    fn receive(
        &mut self,
        incoming: Option<Incoming<'_>>,
        size: u64,
        mode: Mode,
        keep: Keep,
        times: Option<&Times>,
    ) -> Result<Result<(), Refusal>, Abort> {
        let began = Instant::now();
        let Some(mut incoming) = incoming else {
            // Without a file to put them into, the contents are drained, and the refusal is told as soon as it can.
            return self.channel.receive(size, None).map(|_| Ok(()));
        };
        let received = match &mut incoming {
            Incoming::InPieces(upload) => {
                let received = self.channel.receive(size, Some(upload.file()));
                received.map(|all| all.map(|()| upload.commit(mode, keep, times)))
            }
            Incoming::AtOnce(small) => {
                small.prepare();
                let received = self.channel.receive_whole(small.size());
                received.map(|all| all.map(|contents| small.store(contents, mode, keep, times)))
            }
        };
        let (what, passed, replaced) = (incoming.words(), self.channel.passed(), Some(incoming.replaces()));
        let stored = match received {
            Ok(Ok(stored)) => stored,
            Ok(Err(why)) => Err(Refusal::new(&what.trail(), why)),
            Err(abort) => {
                let transfer = Transfer { what, passed, began, mode: None, replaced };
                audit::record(&Event::Incomplete(&transfer, &abort))?;
                return Err(abort);
            }
        };
        let called = incoming.renamed().map(|name| what.trail().called(name));
        let transfer = |mode| Transfer {
            what: called.as_ref().map_or(what, Words::Whole),
            passed,
            began,
            mode,
            replaced,
        };
        match &stored {
            Ok(mode) => {
                audit::record(&Event::Stored(&transfer(Some(*mode))))?;
                self.tally.count_copied();
            }
            // It is there all the same.
            Err(refusal) if refusal.why.is_blemish() => audit::record(&Event::Stored(&transfer(None)))?,
            Err(refusal) => audit::record(&Event::Incomplete(&transfer(None), &refusal.why))?,
        }
        if let Some(name) = incoming.renamed() {
            audit::record(&Event::Renamed { what: &what.trail(), name })?;
        }
        Ok(stored.map(drop))
    }

    /// Answers what has come, `depth` directories being open before it, and says how the client will go on.
    fn give(&mut self, slot: Slot, depth: usize, outcome: Result<(), Refusal>) -> Result<Verdict, Abort> {
        if let Some(doubt) = self.ahead.doubt(slot, depth) {
            let followed = self.channel.is_followed(doubt)?;
            self.ahead.learn(followed, doubt);
        }
        let outcome = self.judge(outcome)?;
        if let Err(refusal) = &outcome {
            audit::record(&Event::Refused(refusal))?;
            self.tally.count_refused();
        }
        let (say, verdict) = self.ahead.settle(slot, depth, outcome)?;
        self.channel.say(&say)?;
        Ok(verdict)
    }

    /// Decides what it means that something was stored without its mode or its times.
    fn judge(&self, outcome: Result<(), Refusal>) -> Result<Result<(), Refusal>, Abort> {
        Ok(match (self.metadata, outcome) {
            (Metadata::Warn, Err(refusal @ Refusal { why: Cause::Attribute(..), .. })) => {
                audit::record(&Event::Unset(&refusal))?;
                Ok(())
            }
            (Metadata::Ignore, Err(Refusal { why: Cause::Attribute(..), .. })) => Ok(()),
            (_, outcome) => outcome,
        })
    }

    /// Ends the session. What could not be told on the wire any more is told on the client's screen.
    fn finish(mut self) -> Tally {
        if let Some((refusal, more)) = self.ahead.untold() {
            audit::tell_screen(&refusal, more);
        }
        self.tally
    }
}

/// Where we are in the client's tree.
struct Sink<'j> {
    store: &'j Store,
    unit: Unit,
    keep: Keep,
    /// Directories that may be open inside each other.
    deepest: u64,
    /// What the request's path leads to. That it leads nowhere is the answer to each record, not to the request:
    /// pscp takes a server that leaves before it has sent anything for a broken one.
    target: Result<Place<'j>, Refusal>,
    levels: Vec<Level<'j>>,
    /// From a `T`, for exactly the next `C` or `D`, whatever becomes of it.
    times: Option<Times>,
}

/// A directory that the client has opened.
enum Level<'j> {
    /// It is there.
    Open {
        dir: Dir<'j>,
        arrival: Arrival,
        mode: Mode,
        keep: Keep,
        times: Option<Times>,
        /// Where it is put in its place as a whole: that, and how many entries had been refused before.
        staging: Option<Box<(Staging<'j>, u64)>>,
    },
    /// It was refused when it had been acknowledged already; what the client sends into it is drained.
    Refused(Trail),
}

impl<'j> Sink<'j> {
    fn open(store: &'j Store, jail: &'j Jail) -> Result<Self, Abort> {
        let path = target(store, jail)?;
        let target = jail.find(&path, store.kind);
        if store.kind == TargetKind::Directory {
            match &target {
                Ok(Place::Directory(_)) => {}
                Ok(Place::Name { dir, name, .. }) => return Err(Abort::Refused(dir.lack_of(name))),
                Err(refusal) => return Err(Abort::Refused(refusal.clone())),
            }
        }
        Ok(Self {
            store,
            unit: jail.unit(),
            keep: jail.keep(store.keep),
            deepest: jail.depth(),
            target,
            levels: Vec::new(),
            times: None,
        })
    }

    /// Tells whether the stream may end here.
    fn is_at_rest(&self) -> bool {
        self.levels.is_empty() && self.times.is_none()
    }

    fn is_deep(&self) -> bool {
        u64::try_from(self.levels.len()).is_ok_and(|depth| depth >= self.deepest)
    }

    fn refuse_pending_times(&self) -> Result<(), Abort> {
        if self.times.is_some() { Err(Violation::TimesOfNothing.into()) } else { Ok(()) }
    }

    /// Finds the directory and the name that a record's name stands for.
    fn place(&self, name: Option<FileName>) -> Result<Result<(&Dir<'j>, FileName, Insists), Refusal>, Abort> {
        let dir = match (self.levels.last(), &self.target) {
            (Some(Level::Open { dir, .. }), _) => dir,
            (Some(Level::Refused(trail)), _) => {
                let name = name.ok_or_else(|| Violation::BadName(Vec::new()))?;
                return Ok(Err(Refusal::new(&trail.join(&name), Cause::Orphaned)));
            }
            (None, Ok(Place::Directory(dir))) => dir,
            // The target has a name of its own; the record's is not used.
            (None, Ok(Place::Name { dir, name, spelling })) => return Ok(Ok((dir, name.clone(), *spelling))),
            (None, Err(refusal)) => return Ok(Err(refusal.clone())),
        };
        let name = name.ok_or_else(|| Violation::BadName(Vec::new()))?;
        Ok(Ok((dir, name, Insists::No)))
    }

    /// Returns the words for an entry of the innermost directory, also of one that was refused.
    fn trail(&self, name: &FileName) -> Trail {
        match (self.levels.last(), &self.target) {
            (Some(Level::Open { dir, .. }), _) | (None, Ok(Place::Directory(dir))) => dir.trail(name),
            (Some(Level::Refused(trail)), _) => trail.join(name),
            (None, Ok(Place::Name { dir, name, .. })) => dir.trail(name),
            (None, Err(refusal)) => refusal.trail(),
        }
    }

    fn begin(&self, name: Option<FileName>, size: u64) -> Result<Result<Incoming<'_>, Refusal>, Abort> {
        Ok(self.place(name)?.and_then(|(dir, name, spelling)| match spelling {
            Insists::Yes => Err(dir.lack_of(&name)),
            Insists::No => dir.take(name, size),
        }))
    }

    fn enter(&mut self, mode: Mode, name: &FileName, refused: u64) -> Result<Result<(), Refusal>, Abort> {
        if self.store.depth == Depth::Flat {
            return Err(Violation::DirectoryWithoutRecursion.into());
        }
        let times = self.times.take();
        let made = match self.place(Some(name.clone()))? {
            Ok((dir, name, _)) if self.is_deep() => {
                Err(Refusal::new(&dir.trail(&name), Cause::TooDeep(self.deepest)))
            }
            Ok((dir, name, _)) if self.levels.is_empty() && self.unit == Unit::Tree => dir
                .stage(&name)
                .map(|(dir, staging)| (dir, Arrival::Made, Some(Box::new((staging, refused))))),
            Ok((dir, name, _)) => dir.make_dir(&name).map(|(dir, arrival)| (dir, arrival, None)),
            Err(refusal) => Err(refusal),
        };
        let (dir, arrival, staging) = match made {
            Ok(made) => made,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if arrival == Arrival::Found && self.keep == Keep::Attributes {
            dir.open_up();
        }
        audit::record(&Event::Entered(dir.own_trail(), arrival))?;
        tell_new_name(dir.own_trail(), dir.renamed())?;
        let old_mode = staging.as_ref().and_then(|staged| staged.0.old_mode());
        let (mode, keep) = match (self.keep, old_mode) {
            // The tree takes over from a directory whose mode is left alone.
            (Keep::Contents, Some(old)) => (old, Keep::Attributes),
            (keep, _) => (mode, keep),
        };
        self.levels.push(Level::Open { dir, arrival, mode, keep, times, staging });
        Ok(Ok(()))
    }

    /// Leaves the innermost directory, `refused` entries having been refused so far; outside of all there is nothing to
    /// leave.
    fn leave(&mut self, refused: u64, metadata: Metadata) -> Result<Result<(), Refusal>, Abort> {
        let Some(level) = self.levels.pop() else { return Ok(Ok(())) };
        let finished = level.finish();
        let Level::Open { dir, staging: Some(staged), .. } = level else { return Ok(finished) };
        // A tree of which the client is not told that something is amiss takes its place.
        match &finished {
            Err(Refusal { why: Cause::Attribute(..), .. }) if metadata != Metadata::Strict => {}
            Err(_) => return Ok(finished),
            Ok(()) => {}
        }
        let (staging, before) = *staged;
        let trail = dir.own_trail();
        match refused.saturating_sub(before) {
            0 => match staging.commit() {
                Ok(name) => tell_new_name(trail, name.as_ref()).map(|()| finished),
                Err(refusal) => Ok(Err(refusal)),
            },
            some => Ok(Err(Refusal::new(trail, Cause::Incomplete(some)))),
        }
    }
}

impl Drop for Sink<'_> {
    /// A client that goes in the middle of a tree leaves directories with the modes that it sent.
    fn drop(&mut self) {
        while let Some(level) = self.levels.pop() {
            // The session has ended; there is no record left that this could be the answer to.
            let _ = level.finish();
        }
    }
}

impl Level<'_> {
    fn finish(&self) -> Result<(), Refusal> {
        match self {
            Self::Open { dir, arrival, mode, keep, times, .. } => {
                dir.finish(*arrival, *mode, *keep, times.as_ref())
            }
            Self::Refused(_) => Ok(()),
        }
    }
}

/// Says in the log, and only there, what something in a box is called.
fn tell_new_name(what: &Trail, name: Option<&FileName>) -> Result<(), Abort> {
    match name {
        Some(name) => audit::record(&Event::Renamed { what, name }),
        None => Ok(()),
    }
}

/// `scp -t` has exactly one target, also when it is a pattern.
pub fn target(store: &Store, jail: &Jail) -> Result<ClientPath, Abort> {
    let [word] = store.targets.as_slice() else {
        return Err(Abort::AmbiguousTarget);
    };
    let mut paths = jail.expand(word).map_err(Abort::Refused)?;
    match (paths.pop(), paths.is_empty()) {
        (Some(path), true) => Ok(path),
        _ => Err(Abort::AmbiguousTarget),
    }
}
