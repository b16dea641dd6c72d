//! `scp -t`: records in, files out; one record, one answer.

use crate::abort::Abort;
use crate::attr::{Mode, Times};
use crate::audit::{self, Event};
use crate::channel::Channel;
use crate::jail::{Arrival, Dir, Insists, Jail, Place, Upload};
use crate::name::{ClientPath, FileName};
use crate::refusal::{Cause, Refusal, Tally};
use crate::request::{Depth, Keep, Store, TargetKind};
use crate::wire::{Record, Violation};

/// Directories that may be open inside each other; a deeper one is refused, and the transfer goes on.
const DEPTH: usize = 256;

/// Stores what the client sends, until it ends the stream or the outermost directory.
///
/// # Errors
/// The session ends early; what was stored before stays.
pub fn run(store: &Store, jail: &Jail, channel: &mut Channel) -> Result<Tally, Abort> {
    let mut sink = Sink::open(store, jail)?;
    let mut tally = Tally::default();
    channel.answer(&Ok(()))?;
    loop {
        let Some(record) = channel.next_record()? else {
            return if sink.is_at_rest() { Ok(tally) } else { Err(Violation::CutShort.into()) };
        };
        audit::show_client(store.chatter, "Sink", &record);
        let outcome = match record {
            Record::Complaint(text) => {
                audit::record(&Event::Complained(&text));
                tally.count_refused();
                continue;
            }
            Record::GivenUp(_) => return Err(Abort::GivenUp),
            Record::Times(times) => sink.expect(times),
            Record::Directory { mode, name } => sink.enter(mode, &name)?,
            Record::End if sink.is_outermost() => {
                // WinSCP and groovy-ssh end so and wait for our exit; what follows is not executed.
                sink.refuse_pending_times()?;
                channel.answer(&Ok(()))?;
                return Ok(tally);
            }
            Record::End => sink.leave()?,
            Record::File { mode, size, name } => {
                let times = sink.times.take();
                match sink.begin(name.as_ref(), size)? {
                    Err(refusal) => Err(refusal),
                    Ok(upload) => {
                        channel.answer(&Ok(()))?;
                        let received = channel.receive(size, upload.file())?;
                        finish(upload, received, size, mode, store.keep, times.as_ref())
                    }
                }
                .inspect(|()| tally.count_copied())
            }
        };
        if let Err(refusal) = &outcome {
            audit::record(&Event::Refused(refusal));
            tally.count_refused();
        }
        channel.answer(&outcome)?;
    }
}

/// Where we are in the client's tree.
struct Sink<'j> {
    store: &'j Store,
    /// What the request's path leads to. That it leads nowhere is the answer to each record, not to the request:
    /// pscp takes a server that leaves before it has sent anything for a broken one.
    target: Result<Place<'j>, Refusal>,
    levels: Vec<Level<'j>>,
    /// From a `T`, for exactly the next `C` or `D`, whatever becomes of it.
    times: Option<Times>,
}

/// A directory that the client has opened.
struct Level<'j> {
    dir: Dir<'j>,
    arrival: Arrival,
    mode: Mode,
    times: Option<Times>,
}

impl<'j> Sink<'j> {
    fn open(store: &'j Store, jail: &'j Jail) -> Result<Self, Abort> {
        let path = only_target(store, jail)?;
        let target = jail.find(&path);
        if store.kind == TargetKind::Directory {
            match &target {
                Ok(Place::Directory(_)) => {}
                Ok(Place::Name { dir, name, .. }) => return Err(Abort::Refused(dir.lack_of(name))),
                Err(refusal) => return Err(Abort::Refused(refusal.clone())),
            }
        }
        Ok(Self { store, target, levels: Vec::new(), times: None })
    }

    fn is_outermost(&self) -> bool {
        self.levels.is_empty()
    }

    /// Tells whether the stream may end here.
    fn is_at_rest(&self) -> bool {
        self.levels.is_empty() && self.times.is_none()
    }

    fn expect(&mut self, times: Times) -> Result<(), Refusal> {
        self.times = Some(times);
        Ok(())
    }

    fn refuse_pending_times(&self) -> Result<(), Abort> {
        if self.times.is_some() { Err(Violation::TimesOfNothing.into()) } else { Ok(()) }
    }

    /// Finds the directory and the name that a record's name stands for.
    fn place(
        &self,
        name: Option<&FileName>,
    ) -> Result<Result<(&Dir<'j>, FileName, Insists), Refusal>, Abort> {
        let dir = match (self.levels.last(), &self.target) {
            (Some(level), _) => &level.dir,
            (None, Ok(Place::Directory(dir))) => dir,
            // The target has a name of its own; the record's is not used.
            (None, Ok(Place::Name { dir, name, spelling })) => return Ok(Ok((dir, name.clone(), *spelling))),
            (None, Err(refusal)) => return Ok(Err(refusal.clone())),
        };
        let name = name.ok_or(Violation::BadName)?;
        Ok(Ok((dir, name.clone(), Insists::No)))
    }

    fn begin(&self, name: Option<&FileName>, size: u64) -> Result<Result<Upload<'_>, Refusal>, Abort> {
        Ok(self.place(name)?.and_then(|(dir, name, spelling)| match spelling {
            Insists::Yes => Err(dir.lack_of(&name)),
            Insists::No => dir.upload(&name, size),
        }))
    }

    fn enter(&mut self, mode: Mode, name: &FileName) -> Result<Result<(), Refusal>, Abort> {
        if self.store.depth == Depth::Flat {
            return Err(Violation::DirectoryWithoutRecursion.into());
        }
        let times = self.times.take();
        let made = match self.place(Some(name))? {
            Ok((dir, name, _)) if self.levels.len() >= DEPTH => {
                Err(Refusal::new(&dir.trail(&name), Cause::TooDeep))
            }
            Ok((dir, name, _)) => dir.make_dir(&name),
            Err(refusal) => Err(refusal),
        };
        Ok(made.map(|(dir, arrival)| {
            if arrival == Arrival::Found && self.store.keep == Keep::Attributes {
                dir.open_up();
            }
            audit::record(&Event::Entered(dir.own_trail(), arrival));
            self.levels.push(Level { dir, arrival, mode, times });
        }))
    }

    fn leave(&mut self) -> Result<Result<(), Refusal>, Abort> {
        self.refuse_pending_times()?;
        let keep = self.store.keep;
        Ok(self.levels.pop().map_or(Ok(()), |level| level.finish(keep)))
    }
}

impl Drop for Sink<'_> {
    /// A client that goes in the middle of a tree leaves directories with the modes that it sent.
    fn drop(&mut self) {
        while let Some(level) = self.levels.pop() {
            // The session has ended; there is no record left that this could be the answer to.
            let _ = level.finish(self.store.keep);
        }
    }
}

impl Level<'_> {
    fn finish(&self, keep: Keep) -> Result<(), Refusal> {
        self.dir.finish(self.arrival, self.mode, keep, self.times.as_ref())
    }
}

/// Commits what was received, or lets go of it: then the old file is still there.
fn finish(
    upload: Upload<'_>,
    received: Result<(), Cause>,
    size: u64,
    mode: Mode,
    keep: Keep,
    times: Option<&Times>,
) -> Result<(), Refusal> {
    let trail = upload.trail().clone();
    let replaced = upload.replaces();
    received.map_err(|why| Refusal::new(&trail, why))?;
    upload.commit(mode, keep, times)?;
    audit::record(&Event::Stored { what: &trail, bytes: size, replaced });
    Ok(())
}

/// `scp -t` has exactly one target, also when it is a pattern.
fn only_target(store: &Store, jail: &Jail) -> Result<ClientPath, Abort> {
    let [word] = store.targets.as_slice() else {
        return Err(Abort::AmbiguousTarget);
    };
    let mut paths = jail.expand(word).map_err(Abort::Refused)?;
    match (paths.pop(), paths.is_empty()) {
        (Some(path), true) => Ok(path),
        _ => Err(Abort::AmbiguousTarget),
    }
}
