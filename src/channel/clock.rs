//! How long the peer is waited for.

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
    /// When what is being waited for has to be there.
    due: Option<Instant>,
    moved: u64,
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Self {
        let mut clock = Self { patience, end: after(patience.total), due: None, moved: 0 };
        clock.await_record();
        clock
    }

    /// From now on a record is waited for, or the answer to one: all of it, not only its next byte.
    pub(super) fn await_record(&mut self) {
        self.due = after(self.patience.idle);
    }

    /// From now on contents are waited for, or somebody to take them.
    pub(super) fn await_contents(&mut self) {
        self.moved = 0;
        self.due = after(self.patience.stall);
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
        self.due = self.due.and_then(|due| due.checked_add(pause));
    }

    /// Returns how long to pause until a moment, or until the session ends; none once the moment has come.
    ///
    /// # Errors
    /// The session has lasted long enough.
    pub(super) fn left_until(&self, moment: Instant) -> Result<Option<PollTimeout>, Abort> {
        let now = Instant::now();
        if self.end.is_some_and(|end| end <= now) {
            return Err(Abort::TimedOut);
        }
        let until = self.end.map_or(moment, |end| moment.min(end));
        Ok(Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero()).map(rounded_up))
    }

    /// Returns how long to wait; not at all once the time is up, so that what is there already is still taken.
    ///
    /// # Errors
    /// The session has lasted long enough.
    pub(super) fn left(&self) -> Result<PollTimeout, Abort> {
        let now = Instant::now();
        if self.end.is_some_and(|end| end <= now) {
            return Err(Abort::TimedOut);
        }
        let Some(due) = [self.due, self.end].into_iter().flatten().min() else {
            return Ok(PollTimeout::NONE);
        };
        match due.saturating_duration_since(now) {
            Duration::ZERO => Ok(PollTimeout::ZERO),
            left => Ok(rounded_up(left)),
        }
    }

    /// Tells what it means that nothing came in the time that was left.
    ///
    /// # Errors
    /// The peer was waited for long enough.
    pub(super) fn check(&self) -> Result<(), Abort> {
        if self.due.is_some_and(|due| due <= Instant::now()) { Err(Abort::TimedOut) } else { Ok(()) }
    }
}

/// Rounded up, so that the last wait does not turn into many.
fn rounded_up(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
}

fn after(seconds: Option<u64>) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds?))
}
