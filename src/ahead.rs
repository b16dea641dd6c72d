//! Acknowledging ahead: how many replies are out that have not been earned yet, and what may be said when.
//!
//! A source stops after every `T`, `C`, `D`, `E` and after every file until a byte comes back; over a long line it does
//! little else. One that reads its replies byte by byte takes a reply that is there already, and goes on at once. So a
//! reply can be said before it is asked for, as long as every one is asked for in the end, and nobody is told of success
//! who could leave on it. Nothing is read or written here: this is the count alone, so that it can be checked for every
//! order of events (see the tests).
//!
//! # What is certain
//!
//! Inside a directory, the end of its contents follows a `C`, and a `C` or `D` and the end of that one follow a `T`. None
//! of these is the last answer of all, which is that to the outermost `E`: pscp and others leave as soon as they have
//! it, and it has to be true.
//!
//! As certain are the `E`s of the inner directories, but clients built on libssh could not bear to have their answers
//! early. They do not wait for the answer to contents, but take one, whichever it is, with each piece of contents that
//! they send if one is there by then. What they take too early is what they then wait for behind an `E`, for ever. So
//! a file's answers are all used up when its contents have come.
//!
//! # When something fails
//!
//! A refusal means something else in each place: after `T` and `C` the client skips the file, after `D` the directory,
//! after contents and after `E` it only counts. So a refusal of what has been acknowledged already is told in a later
//! place of the latter kind, and until then nothing is acknowledged ahead. What the client sends because it took the
//! answer for a yes is drained.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::Pipeline;
use crate::refusal::Refusal;

/// Replies that are out in mode `on`, at most; they are topped up when half of them have been used.
const WINDOW: usize = 256;

/// How long a client that was sent two replies may take to go on behind its next record. Measured: 0.2 ms for scp, asyncssh
/// and net-scp, which have read the second one by then; scp.py has taken both for one, and waits.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// The same where a wrong guess would cost more than time.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Refusals that are kept in words until they can be told; further ones are counted.
const OWED: usize = 64;

/// What an answer is due to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Slot {
    /// The contents of a file.
    Contents,
    /// `D`
    Directory,
    /// `E`
    End,
    /// `C`
    File,
    /// `T`
    Times,
}

/// What is to be said in a slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Say {
    /// Yes, so many times; 0 where it was said before.
    Yes(usize),
    /// No; and how many more entries this stands for.
    No(Refusal, usize),
}

/// How the client will go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As after a yes, which is meant.
    Accepted,
    /// As after a yes, which has been said too early: what comes is to be drained.
    Overruled,
    /// As after a no.
    Refused,
}

/// A refusal that cannot be told any more without the client taking it for the answer to something else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Untellable(pub Refusal);

/// The count of replies.
#[derive(Clone, Debug)]
pub struct Ahead {
    mode: Pipeline,
    client: Client,
    /// Said, and not yet due.
    out: usize,
    /// Due, and not yet said.
    owed: VecDeque<Refusal>,
    owed_more: usize,
}

/// What is known of the way in which the client reads replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Client {
    /// It takes what is there for one reply (scp.py, ssh-rs).
    Bulk,
    /// It takes one byte for one reply.
    Bytewise,
    /// A second reply is out, and the next record will show.
    Probed,
    /// It has taken two bytes for one reply, or is slow: one reply too many may be out.
    Silent,
    /// Nothing yet.
    Unknown,
}

impl Ahead {
    /// Begins with nothing said.
    pub fn new(mode: Pipeline) -> Self {
        Self { mode, client: Client::Unknown, out: 0, owed: VecDeque::new(), owed_more: 0 }
    }

    /// Returns how long it is worth waiting for something to follow what has just come, which would show how the client
    /// reads: one that reads byte by byte has a reply for it already, and goes on.
    pub fn doubt(&self, slot: Slot, depth: usize) -> Option<Duration> {
        match self.client {
            Client::Probed => Some(FIRST_LOOK),
            // Here a client that leaves on its last answer could have that one too early. It is asked only once.
            Client::Silent if slot == Slot::File && depth == 0 => Some(SECOND_LOOK),
            Client::Silent => Some(Duration::ZERO),
            Client::Bulk | Client::Bytewise | Client::Unknown => None,
        }
    }

    /// Learns whether something followed, having looked for `doubt`.
    pub fn learn(&mut self, followed: bool, doubt: Duration) {
        if followed {
            self.client = Client::Bytewise;
            self.out = 1;
        } else if doubt == SECOND_LOOK {
            self.client = Client::Bulk;
        } else {
            self.client = Client::Silent;
            self.out = 0;
        }
    }

    /// Settles what is said in a slot, `depth` directories being open when it is reached.
    ///
    /// # Errors
    /// The outcome is a refusal, and it is not known which slot the client would take it for.
    pub fn settle(
        &mut self,
        slot: Slot,
        depth: usize,
        outcome: Result<(), Refusal>,
    ) -> Result<(Say, Verdict), Untellable> {
        let was_said = self.out > 0;
        self.out = self.out.saturating_sub(1);
        let refused = outcome.is_err();
        if let Err(refusal) = outcome {
            if self.client == Client::Silent {
                return Err(Untellable(refusal));
            }
            if !was_said && !slot.only_counts() {
                // In no directory, this may be the last that is said: it speaks for what is still owed, too.
                let more =
                    if depth == 0 { self.untold().map_or(0, |(_, more)| more.saturating_add(1)) } else { 0 };
                return Ok((Say::No(refusal, more), Verdict::Refused));
            }
            self.owe(refusal);
        }
        if !was_said
            && slot.only_counts()
            && let Some(say) = self.tell(is_outside(slot, depth))
        {
            return Ok((say, if refused { Verdict::Refused } else { Verdict::Accepted }));
        }
        let verdict = if refused { Verdict::Overruled } else { Verdict::Accepted };
        Ok((Say::Yes(usize::from(!was_said).saturating_add(self.top_up(slot, depth))), verdict))
    }

    /// Returns what never found a place: for the screen, when the session ends.
    pub fn untold(&mut self) -> Option<(Refusal, usize)> {
        let more = self.owed.len().saturating_sub(1).saturating_add(self.owed_more);
        let first = self.owed.pop_front()?;
        self.owed.clear();
        self.owed_more = 0;
        Some((first, more))
    }

    fn owe(&mut self, refusal: Refusal) {
        if self.owed.len() < OWED {
            self.owed.push_back(refusal);
        } else {
            self.owed_more = self.owed_more.saturating_add(1);
        }
    }

    /// Takes what is to be told in this slot: one refusal, or, where perhaps no other slot will come, all of them.
    fn tell(&mut self, last: bool) -> Option<Say> {
        if last {
            return self.untold().map(|(first, more)| Say::No(first, more));
        }
        self.owed.pop_front().map(|refusal| Say::No(refusal, 0))
    }

    /// Says yes ahead, as often as is certain to be asked for, and returns how often that is.
    fn top_up(&mut self, slot: Slot, depth: usize) -> usize {
        if !self.owed.is_empty() {
            return 0;
        }
        let wanted = match (self.mode, self.client) {
            (Pipeline::Off, _) | (Pipeline::Auto, Client::Bulk | Client::Silent | Client::Probed) => 0,
            (Pipeline::Auto, Client::Unknown) if slot == Slot::Directory && depth == 0 => {
                self.client = Client::Probed;
                1
            }
            (Pipeline::Auto, Client::Unknown) => 0,
            (Pipeline::Auto, Client::Bytewise) => certain(slot, depth),
            // Single files go step by step here, too.
            (Pipeline::On, _) if is_outside(slot, depth) => 0,
            (Pipeline::On, _) if self.out > WINDOW.div_euclid(2) => 0,
            (Pipeline::On, _) => WINDOW,
        };
        let more = wanted.saturating_sub(self.out);
        self.out = self.out.saturating_add(more);
        more
    }
}

impl Slot {
    /// Tells whether a client does nothing about a refusal here but count it.
    fn only_counts(self) -> bool {
        matches!(self, Self::Contents | Self::End)
    }
}

/// Tells whether no directory is open after a slot.
fn is_outside(slot: Slot, depth: usize) -> bool {
    match slot {
        Slot::Directory => false,
        Slot::End => depth <= 1,
        Slot::Contents | Slot::File | Slot::Times => depth == 0,
    }
}

/// Returns how many replies may be out after a slot: those that the same file is certain to ask for, inside a directory.
fn certain(slot: Slot, depth: usize) -> usize {
    match slot {
        // The end of this file may be the end of all.
        _ if depth == 0 => 0,
        Slot::File => 1,
        Slot::Times => 2,
        Slot::Contents | Slot::Directory | Slot::End => 0,
    }
}
