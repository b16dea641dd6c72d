//! The wait for the peer, with an ear for signals.

use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::clock::Clock;
use crate::abort::Abort;
use crate::signals::Signals;

/// Waits for input in a session that is worth a descriptor of epoll(7): it makes each further one cheaper by a tenth, and
/// costs three calls.
const MANY: u32 = 16;

/// What may interrupt a wait.
pub(super) struct Ear {
    interruption: Option<Signals>,
    waits: Cell<u32>,
    /// For the input, once it has been waited for many times; none where that cannot be done, as with a regular file.
    epoll: OnceCell<Option<Epoll>>,
}

impl Ear {
    pub(super) fn new(interruption: Option<Signals>) -> Self {
        Self { interruption, waits: Cell::new(0), epoll: OnceCell::new() }
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
        let epoll =
            if waits > MANY { self.epoll.get_or_init(|| register(interruption, input).ok()) } else { &None };
        let Some(epoll) = epoll else {
            return self.poll(interruption, PollFd::new(input, PollFlags::POLLIN), clock);
        };
        let mut ready = [EpollEvent::empty(); 2];
        let count = until_ready(clock, |left| epoll.wait(&mut ready, left))?;
        let is_interrupted = ready.iter().take(count).any(|event| event.data() == INTERRUPTION);
        if is_interrupted { Err(Abort::Stopped) } else { Ok(()) }
    }

    /// Waits for so long, or until a signal asks us to stop.
    pub(super) fn pause(&self, time: PollTimeout) -> Result<(), Abort> {
        let mut fds = Vec::from_iter(
            self.interruption.as_ref().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut fds, time) {
            Ok(0) | Err(Errno::EINTR) => Ok(()),
            Ok(_) | Err(_) => Err(Abort::Stopped),
        }
    }

    fn poll(&self, interruption: &Signals, peer: PollFd<'_>, clock: &Clock) -> Result<(), Abort> {
        let mut fds = [PollFd::new(interruption.as_fd(), PollFlags::POLLIN), peer];
        until_ready(clock, |left| poll(&mut fds, left).map(|ready| usize::try_from(ready).unwrap_or(0)))?;
        let [interruption, _] = fds;
        if interruption.any() == Some(true) { Err(Abort::Stopped) } else { Ok(()) }
    }
}

/// What epoll says of the descriptor of signals, and of the input.
const INTERRUPTION: u64 = 0;
const INPUT: u64 = 1;

fn register(interruption: &Signals, input: BorrowedFd<'_>) -> Result<Epoll, Errno> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(interruption, EpollEvent::new(EpollFlags::EPOLLIN, INTERRUPTION))?;
    epoll.add(input, EpollEvent::new(EpollFlags::EPOLLIN, INPUT))?;
    Ok(epoll)
}

/// Waits in as many turns as it takes, and returns how many descriptors are ready.
fn until_ready(
    clock: &Clock,
    mut wait: impl FnMut(PollTimeout) -> Result<usize, Errno>,
) -> Result<usize, Abort> {
    loop {
        match wait(clock.left()?) {
            // The time is up, or longer than one call can wait.
            Ok(0) => clock.check()?,
            Ok(ready) => return Ok(ready),
            Err(Errno::EINTR) => {}
            Err(_) => return Err(Abort::Stopped),
        }
    }
}
