//! `scp -f`: files in, records out.

use std::iter::Peekable;
use std::rc::Rc;
use std::time::Instant;

use crate::abort::Abort;
use crate::attr::Times;
use crate::audit::{self, Event, Transfer};
use crate::channel::Channel;
use crate::jail::{Attributes, Contents, Dir, Entry, Identity, Jail, Names};
use crate::name::{ClientPath, FileName};
use crate::refusal::{Cause, Refusal, Tally, Trail, Words};
use crate::request::{Depth, Fetch, Keep};
use crate::wire::{Complaint, Record, Reply};

use nix::errno::Errno;

/// Complaints that are kept in words until a directory's end; further ones are counted.
const HELD: usize = 64;

/// Sends what the client asks for, and returns after the last answer: never waits for the end of the stream, which
/// scp.py, WinSCP and others keep open until we have left.
///
/// # Errors
/// The session ends early.
pub fn run(fetch: &Fetch, jail: &Jail, channel: &mut Channel) -> Result<Tally, Abort> {
    let mut source =
        Source { fetch, jail, channel, levels: Vec::new(), held: Held::default(), tally: Tally::default() };
    // The client speaks first: it is ready.
    if source.hear()? == Wanted::No {
        return Ok(source.tally);
    }
    for word in &fetch.sources {
        match jail.expand(word) {
            Ok(paths) => paths.iter().try_for_each(|path| source.send(path))?,
            Err(refusal) => source.hold(refusal)?,
        }
    }
    let held = std::mem::take(&mut source.held);
    source.complain(held)?;
    Ok(source.tally)
}

struct Source<'a, 'j> {
    fetch: &'a Fetch,
    jail: &'j Jail,
    channel: &'a mut Channel,
    levels: Vec<Level<'j>>,
    held: Held,
    tally: Tally,
}

/// A directory that is being sent.
struct Level<'j> {
    trail: Rc<Trail>,
    identity: Identity,
    entries: Peekable<Entries<'j>>,
    held: Held,
}

/// What is in a directory, opened one by one.
struct Entries<'j> {
    dir: Dir<'j>,
    names: Names<'j>,
}

/// An entry of a directory.
struct Found<'j> {
    name: FileName,
    entry: Result<Entry<'j>, Refusal>,
}

impl<'j> Iterator for Entries<'j> {
    type Item = Result<Found<'j>, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = |name| {
            let entry = self.dir.fetch(&name);
            Found { name, entry }
        };
        Some(self.names.next()?.map(found))
    }
}

/// Complaints that wait for the end of their directory: pscp takes the record after a complaint for nonsense, and
/// leaves; just before an `E`, or at the very end, nobody minds.
#[derive(Default)]
struct Held {
    complaints: Vec<Complaint>,
    more: u64,
}

/// Whether the client wants what a record announces.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Wanted {
    No,
    Yes,
}

impl<'j> Source<'_, 'j> {
    /// Sends one path of the request, all of a directory included.
    fn send(&mut self, path: &ClientPath) -> Result<(), Abort> {
        let trail = self.jail.trail(path);
        match self.jail.fetch(path) {
            Err(refusal) => self.hold(refusal)?,
            Ok(Entry::File(contents)) => match path.last() {
                Some(name) => self.send_file(name, contents, &trail, |trail, _| Words::Whole(trail))?,
                None => self.hold(Refusal::new(&trail, Errno::ENOENT))?,
            },
            Ok(Entry::Directory(..)) if self.fetch.depth == Depth::Flat => {
                self.hold(Refusal::new(&trail, Cause::NotRegular))?;
            }
            Ok(Entry::Directory(dir, attributes)) => {
                let name = path.last().or_else(|| self.jail.own_name(&dir));
                self.enter(dir, attributes, name)?;
                self.send_levels()?;
            }
        }
        Ok(())
    }

    /// Sends what is left of the open directories, from the innermost out.
    fn send_levels(&mut self) -> Result<(), Abort> {
        while let Some(level) = self.levels.last_mut() {
            match level.entries.next() {
                Some(Ok(Found { name, entry })) => match entry {
                    Ok(Entry::File(contents)) => {
                        let dir = Rc::clone(&level.trail);
                        self.send_file(name, contents, &dir, Trail::entry)?;
                    }
                    Ok(Entry::Directory(dir, attributes)) => self.enter(dir, attributes, Some(name))?,
                    Err(refusal) => self.hold(refusal)?,
                },
                Some(Err(errno)) => {
                    let refusal = Refusal::new(&level.trail, errno);
                    self.hold(refusal)?;
                    self.leave()?;
                }
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, dir: Dir<'j>, attributes: Attributes, name: Option<FileName>) -> Result<(), Abort> {
        let identity = dir.identity();
        let refusal = |why: Cause| Refusal::new(dir.own_trail(), why);
        let Some(name) = name else {
            return self.hold(refusal(Errno::ENOENT.into()));
        };
        if name.as_bytes().contains(&b'\n') {
            return self.hold(refusal(Cause::Newline));
        }
        if self.levels.iter().any(|level| level.identity == identity) {
            // A link to a directory that we are in: OpenSSH goes round until the path is too long.
            return self.hold(refusal(Errno::ELOOP.into()));
        }
        let deepest = self.jail.depth();
        if u64::try_from(self.levels.len()).is_ok_and(|depth| depth >= deepest) {
            return self.hold(refusal(Cause::TooDeep(deepest)));
        }
        let names = match dir.names() {
            Ok(names) => names,
            Err(refusal) => return self.hold(refusal),
        };
        if self.announce(&Record::Directory { mode: attributes.mode, name }, attributes.times)? == Wanted::Yes
        {
            self.tally.count_copied();
            let trail = Rc::new(dir.own_trail().clone());
            let entries = Entries { dir, names }.peekable();
            self.levels.push(Level { trail, identity, entries, held: Held::default() });
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Abort> {
        if let Some(level) = self.levels.pop() {
            self.complain(level.held)?;
            self.channel.ask(&Record::End)?;
            self.hear()?;
        }
        Ok(())
    }

    fn send_file(
        &mut self,
        name: FileName,
        contents: Contents,
        trail: &Trail,
        words: for<'a> fn(&'a Trail, &'a FileName) -> Words<'a>,
    ) -> Result<(), Abort> {
        let Contents { file, size, attributes } = contents;
        if let Err(why) = self.jail.allow_one_more(size) {
            return self.hold(Refusal::new(&words(trail, &name).trail(), why));
        }
        let record = Record::File { mode: attributes.mode, size, name: Some(name) };
        if self.announce(&record, attributes.times)? == Wanted::No {
            return Ok(());
        }
        let Record::File { name: Some(name), .. } = record else { return Ok(()) };
        self.jail.count_one_more(size);
        let began = Instant::now();
        let what = words(trail, &name);
        let sent = self.channel.send(size, &file, |why| Refusal::new(&what.trail(), why));
        let passed = self.channel.passed();
        let transfer = Transfer { what, passed, began, mode: Some(attributes.mode), replaced: None };
        match sent {
            Ok(Ok(())) => {
                audit::record(&Event::Sent(&transfer))?;
                self.tally.count_copied();
            }
            Ok(Err(refusal)) => {
                audit::record(&Event::Incomplete(&transfer, &refusal.why))?;
                audit::record(&Event::Refused(&refusal))?;
                self.tally.count_refused();
            }
            Err(abort) => {
                audit::record(&Event::Incomplete(&transfer, &abort))?;
                return Err(abort);
            }
        }
        // While the client is busy.
        drop(file);
        self.levels.last_mut().map(|level| level.entries.peek());
        match self.hear() {
            // libssh2 and JSch close when they have the bytes. If there is more to send, that fails soon enough.
            Err(Abort::Lost) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sends a record and, if they are to be kept, the times before it. One thing at a time: some clients read each
    /// record with one read, or drop what follows a header.
    fn announce(&mut self, record: &Record, times: Times) -> Result<Wanted, Abort> {
        let chatter = self.fetch.chatter;
        if self.fetch.keep == Keep::Attributes {
            let record = Record::Times(times);
            audit::show_client(chatter, "Sending file timestamps", &record);
            self.channel.ask(&record)?;
            if self.hear()? == Wanted::No {
                return Ok(Wanted::No);
            }
        }
        let what =
            if matches!(record, Record::File { .. }) { "Sending file modes" } else { "Entering directory" };
        audit::show_client(chatter, what, record);
        self.channel.ask(record)?;
        self.hear()
    }

    /// Hears what the client says to a record or to contents.
    fn hear(&mut self) -> Result<Wanted, Abort> {
        match self.channel.hear()? {
            Reply::Ok => Ok(Wanted::Yes),
            Reply::Refused(text) => {
                audit::record(&Event::Complained(&text))?;
                self.tally.count_refused();
                Ok(Wanted::No)
            }
            Reply::GivenUp(text) | Reply::Garbage(text) => {
                audit::record(&Event::Complained(&text))?;
                Err(Abort::GivenUp)
            }
        }
    }

    fn hold(&mut self, refusal: Refusal) -> Result<(), Abort> {
        audit::record(&Event::Refused(&refusal))?;
        self.tally.count_refused();
        let held = self.levels.last_mut().map_or(&mut self.held, |level| &mut level.held);
        if held.complaints.len() < HELD {
            held.complaints.push(Complaint::about(&refusal.what, &refusal.why));
        } else {
            held.more = held.more.saturating_add(1);
        }
        Ok(())
    }

    /// Says what was held back. No answer is due to a complaint; one that comes is surplus.
    fn complain(&mut self, held: Held) -> Result<(), Abort> {
        for complaint in &held.complaints {
            self.channel.complain(complaint)?;
        }
        if held.more > 0 {
            self.channel.complain(&Complaint::plain(format!("{} more entries were not sent", held.more)))?;
        }
        Ok(())
    }
}
