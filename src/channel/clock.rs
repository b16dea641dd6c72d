//! How long the peer is waited for.

use std::cell::Cell;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

use crate::abort::Abort;
use crate::policy::Patience;

/// Bytes that have to move within the time for a stalled file: a peer that sends one now and then has stalled too.
const PROGRESS: u64 = 4096;

/// When the waiting ends.
///
/// Every byte counts, in either direction: a busy transfer is never cut, however long it takes.
pub(super) struct Clock {
    patience: Patience,
    /// When the session ends, whatever it does.
    end: Option<Instant>,
    due: Cell<Due>,
    moved: u64,
}

/// When what is being waited for has to be there; the time begins when it is not there yet, and has to be waited for.
#[derive(Clone, Copy)]
enum Due {
    /// So many seconds after that.
    After(Option<u64>),
    /// Then.
    At(Option<Instant>),
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, end: after(patience.total), due: Cell::new(Due::After(patience.idle)), moved: 0 }
    }

    /// From now on a record is waited for, or the answer to one: all of it, not only its next byte.
    pub(super) fn await_record(&mut self) {
        self.due.set(Due::After(self.patience.idle));
    }

    /// From now on contents are waited for, or somebody to take them.
    pub(super) fn await_contents(&mut self) {
        self.moved = 0;
        self.due.set(Due::After(self.patience.stall));
    }

    /// Contents have moved on.
    pub(super) fn progress(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= PROGRESS {
            self.await_contents();
        }
    }

    /// Leaves a pause of our own out of the count: the peer could do nothing.
    pub(super) fn excuse(&mut self, pause: Duration) {
        if let Due::At(Some(due)) = self.due.get() {
            self.due.set(Due::At(due.checked_add(pause)));
        }
    }

    /// Returns how long to pause until a moment, or until the session ends; none once the moment has come.
    ///
    /// # Errors
    /// The session has lasted long enough.
    pub(super) fn left_until(&self, moment: Instant) -> Result<Option<Duration>, Abort> {
        let now = Instant::now();
        if self.end.is_some_and(|end| end <= now) {
            return Err(Abort::TimedOut);
        }
        let until = self.end.map_or(moment, |end| moment.min(end));
        Ok(Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero()))
    }

    /// Returns how long to wait; not at all once the time is up, so that what is there already is still taken.
    ///
    /// # Errors
    /// The session has lasted long enough.
    pub(super) fn left(&self) -> Result<PollTimeout, Abort> {
        let now = Instant::now();
        let left = self.limit(now)?.map(|limit| limit.saturating_duration_since(now));
        Ok(match left {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => PollTimeout::ZERO,
            Some(left) => rounded_up(left),
        })
    }

    /// Returns until when to wait, if not for ever; that may be over.
    ///
    /// # Errors
    /// The session has lasted long enough.
    pub(super) fn limit(&self, now: Instant) -> Result<Option<Instant>, Abort> {
        if self.end.is_some_and(|end| end <= now) {
            return Err(Abort::TimedOut);
        }
        Ok([self.due(now), self.end].into_iter().flatten().min())
    }

    /// Tells what it means that nothing came in the time that was left.
    ///
    /// # Errors
    /// The peer was waited for long enough.
    pub(super) fn check(&self) -> Result<(), Abort> {
        let now = Instant::now();
        if self.due(now).is_some_and(|due| due <= now) { Err(Abort::TimedOut) } else { Ok(()) }
    }

    /// Returns when what is being waited for has to be there, having begun to wait for it if nobody has.
    fn due(&self, now: Instant) -> Option<Instant> {
        if let Due::After(seconds) = self.due.get() {
            self.due.set(Due::At(seconds.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)))));
        }
        match self.due.get() {
            Due::At(due) => due,
            Due::After(_) => None,
        }
    }
}

/// Rounded up, so that the last wait does not turn into many.
fn rounded_up(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
}

fn after(seconds: Option<u64>) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds?))
}
