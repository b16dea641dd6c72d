//! The wait for the peer, with an ear for signals.

use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll, ppoll};
use nix::sys::time::TimeSpec;

use super::clock::Clock;
use super::watch::Watch;
use crate::abort::Abort;
use crate::signals::Signals;

/// Waits for input in a session after which it is watched: that makes each further one cheaper, and costs six calls.
const MANY: u32 = 16;

/// What may interrupt a wait.
pub(super) struct Ear {
    interruption: Option<Signals>,
    waits: Cell<u32>,
    /// The input, once it has been waited for many times; none where it cannot be watched, as with a regular file.
    watch: OnceCell<Option<Watch>>,
}

impl Ear {
    pub(super) fn new(interruption: Option<Signals>) -> Self {
        Self { interruption, waits: Cell::new(0), watch: OnceCell::new() }
    }

    /// Waits until the descriptor takes something, or a signal asks us to stop.
    pub(super) fn wait_for_room(&self, output: BorrowedFd<'_>, clock: &Clock) -> Result<(), Abort> {
        let Some(interruption) = &self.interruption else { return Ok(()) };
        self.poll(interruption, PollFd::new(output, PollFlags::POLLOUT), clock)
    }

    /// Waits until there is input, always from the same descriptor, or a signal asks us to stop.
    pub(super) fn wait_for_input(&self, input: BorrowedFd<'_>, clock: &Clock) -> Result<(), Abort> {
        let Some(interruption) = &self.interruption else { return Ok(()) };
        let waits = self.waits.get().saturating_add(1);
        self.waits.set(waits);
        let watch = if waits > MANY {
            self.watch.get_or_init(|| Watch::new(interruption, input).ok())
        } else {
            &None
        };
        match watch {
            Some(watch) => watch.wait(clock),
            None => self.poll(interruption, PollFd::new(input, PollFlags::POLLIN), clock),
        }
    }

    /// Waits for so long, or until a signal asks us to stop.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Abort> {
        let mut fds = Vec::from_iter(
            self.interruption.as_ref().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)),
        );
        match ppoll(&mut fds, Some(TimeSpec::from(time)), None) {
            Ok(0) | Err(Errno::EINTR) => Ok(()),
            Ok(_) | Err(_) => Err(Abort::Stopped),
        }
    }

    fn poll(&self, interruption: &Signals, peer: PollFd<'_>, clock: &Clock) -> Result<(), Abort> {
        let mut fds = [PollFd::new(interruption.as_fd(), PollFlags::POLLIN), peer];
        loop {
            match poll(&mut fds, clock.left()?) {
                // The time is up, or longer than one call can wait.
                Ok(0) => clock.check()?,
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return Err(Abort::Stopped),
            }
        }
        let [interruption, _] = fds;
        if interruption.any() == Some(true) { Err(Abort::Stopped) } else { Ok(()) }
    }
}
