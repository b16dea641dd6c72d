//! The wait for input of a session that waits often.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::clock::Clock;
use crate::abort::Abort;
use crate::signals::Signals;

/// What is waited for, told to the kernel once: epoll(7), with an alarm in place of a limit for each wait.
///
/// A limit makes the kernel set a timer and take it away again with each wait, for a time that hardly ever comes.
pub(super) struct Watch {
    epoll: Epoll,
    alarm: Alarm,
}

/// What there is, as epoll says it.
const SIGNAL: u64 = 0;
const INPUT: u64 = 1;
const ALARM: u64 = 2;

impl Watch {
    /// Watches for input, and for signals.
    pub(super) fn new(interruption: &Signals, input: BorrowedFd<'_>) -> Result<Self, Errno> {
        let (epoll, alarm) = (Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, Alarm::new()?);
        epoll.add(interruption, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        epoll.add(input, EpollEvent::new(EpollFlags::EPOLLIN, INPUT))?;
        epoll.add(&alarm.timer, EpollEvent::new(EpollFlags::EPOLLIN, ALARM))?;
        Ok(Self { epoll, alarm })
    }

    /// Waits until there is input, or a signal asks us to stop.
    pub(super) fn wait(&self, clock: &Clock) -> Result<(), Abort> {
        loop {
            let now = Instant::now();
            if let Some(limit) = clock.limit(now)? {
                self.alarm.go_off_by(limit, now).map_err(|_| Abort::Stopped)?;
            }
            let mut events = [EpollEvent::empty(); 3];
            let count = match self.epoll.wait(&mut events, PollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(_) => return Err(Abort::Stopped),
            };
            let has = |what| events.iter().take(count).any(|event| event.data() == what);
            if has(SIGNAL) {
                return Err(Abort::Stopped);
            }
            if has(INPUT) {
                return Ok(());
            }
            // It may have been set for a wait before this one.
            self.alarm.reset();
            clock.check()?;
        }
    }
}

/// An alarm that goes off at some moment of those that it is wanted for, or before: whoever it wakes looks at the clock.
struct Alarm {
    timer: TimerFd,
    set: Cell<Option<Instant>>,
}

impl Alarm {
    fn new() -> Result<Self, Errno> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { timer, set: Cell::new(None) })
    }

    /// Sees to it that it goes off then at the latest.
    fn go_off_by(&self, moment: Instant, now: Instant) -> Result<(), Errno> {
        if self.set.get().is_some_and(|set| set <= moment) {
            return Ok(());
        }
        // Without any time, it would be switched off.
        let left = moment.saturating_duration_since(now).max(Duration::from_nanos(1));
        self.timer.set(Expiration::OneShot(TimeSpec::from(left)), TimerSetTimeFlags::empty())?;
        self.set.set(Some(moment));
        Ok(())
    }

    /// It has gone off.
    fn reset(&self) {
        self.set.set(None);
    }
}
