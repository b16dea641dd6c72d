//! The two descriptors of the wire: bytes read, written and moved without copying.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use super::clock::Clock;
use super::ear::Ear;
use crate::abort::Abort;
use crate::policy::Patience;
use crate::signals::Signals;

/// Bytes that a pipe is asked to hold, so that a large file needs fewer turns between us and sshd. The kernel's limit
/// for accounts without privileges (pipe-max-size) is the same; a refusal is harmless.
const PIPE: i32 = 1024 * 1024;

/// How long a pipe that we have filled is left to its reader. Otherwise each piece of 32 KiB that sshd takes costs a turn of ours,
/// and sshd the time to wake us, in which it takes none: a third of what sending a large file took.
const BREATH: Duration = Duration::from_micros(100);

/// Bytes in a pipe that nobody has read by then.
const ROOMY: usize = 512 * 1024;

/// Bytes that a pipe takes in small writes once poll has said that it takes something: one of its slots is free then, and
/// holds a page, which small writes share whatever the reader does meanwhile. No page is smaller.
const PAGE: usize = 4096;

/// Input and output, and the wait for either.
pub(super) struct Pipes {
    input: OwnedFd,
    output: OwnedFd,
    ear: Ear,
    splices: Splices,
    /// Whether the last of what was moved has filled a large pipe that was nearly full before.
    is_full: bool,
    clock: Clock,
    /// What the output takes after poll has said that it takes something; 0 where that is not known.
    slot: usize,
    /// What is left of that: as many bytes need no second look.
    room: Cell<usize>,
}

/// Whether contents can be moved from a file to the output without copying.
///
/// Not from the input to a file: there the kernel copies all the same, page by page, and reading into a large buffer
/// was as fast in the best case and four times faster in the worst.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Splices {
    /// It has not been tried.
    Perhaps,
    /// It works, and the pipe holds so many bytes.
    Yes(usize),
    /// The output is a socket or a terminal, or the file system cannot do it.
    No,
}

/// Why a splice moved nothing.
pub(super) enum Stuck {
    /// The file failed; the wire did not.
    File,
    /// It cannot be done with these two descriptors.
    Unsupported,
}

impl Pipes {
    pub(super) fn new(
        input: OwnedFd,
        output: OwnedFd,
        interruption: Option<Signals>,
        patience: Patience,
    ) -> Self {
        let slot = if is_pipe_of_bytes(&output) { PAGE } else { 0 };
        let (clock, room) = (Clock::new(patience), Cell::new(0));
        Self {
            input,
            output,
            ear: Ear::new(interruption),
            splices: Splices::Perhaps,
            is_full: false,
            clock,
            slot,
            room,
        }
    }

    /// Returns the clock that all waiting is measured by.
    pub(super) fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Reads what is there, waiting until something is; 0 at the end of the stream.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize, Abort> {
        #[cfg(feature = "injected-panic")]
        inject_panic();
        loop {
            self.ear.wait_for_input(self.input.as_fd(), &self.clock)?;
            match unistd::read(&self.input, buffer) {
                Ok(length) => return Ok(length),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // A socket whose other end was closed with replies unread: the end all the same.
                Err(Errno::ECONNRESET) => return Ok(0),
                Err(_) => return Err(Abort::Lost),
            }
        }
    }

    /// Tells whether input is there, or comes within `limit`; the end of the stream counts as input.
    pub(super) fn has_input(&self, limit: Duration) -> Result<bool, Abort> {
        let mut fds = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(_) => Err(Abort::Stopped),
        }
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&self, mut bytes: &[u8]) -> Result<(), Abort> {
        #[cfg(feature = "injected-panic")]
        inject_panic();
        while !bytes.is_empty() {
            if bytes.len() > self.room.get() {
                self.ear.wait_for_room(self.output.as_fd(), &self.clock)?;
                self.room.set(self.slot);
            }
            match unistd::write(&self.output, bytes) {
                Ok(length) => {
                    self.room.set(self.room.get().saturating_sub(length));
                    bytes = bytes.get(length..).unwrap_or_default();
                }
                Err(Errno::EINTR | Errno::EAGAIN) => self.room.set(0),
                Err(_) => return Err(Abort::Lost),
            }
        }
        Ok(())
    }

    /// Gets ready for a lot of input: a larger pipe, if it is one.
    pub(super) fn expect_much(&mut self) {
        let _ = enlarge(&self.input);
    }

    /// Moves up to `length` bytes from `file` to the wire; 0 at the end of the file. Never waits inside the call,
    /// where no signal would be seen.
    pub(super) fn splice_out(&mut self, file: &File, length: usize) -> Result<Result<usize, Stuck>, Abort> {
        #[cfg(feature = "injected-panic")]
        inject_panic();
        self.room.set(0);
        if self.splices == Splices::Perhaps {
            self.splices = enlarge(&self.output);
        }
        let Splices::Yes(held) = self.splices else { return Ok(Err(Stuck::Unsupported)) };
        if std::mem::take(&mut self.is_full) {
            self.ear.pause(BREATH)?;
        }
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        loop {
            self.ear.wait_for_room(self.output.as_fd(), &self.clock)?;
            match splice(file, None, &self.output, None, length, flags) {
                Ok(moved) => {
                    self.is_full = moved < length && moved < held / 4 && held >= ROOMY;
                    return Ok(Ok(moved));
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(Errno::EPIPE) => return Err(Abort::Lost),
                Err(Errno::EINVAL) => {
                    self.splices = Splices::No;
                    return Ok(Err(Stuck::Unsupported));
                }
                Err(_) => return Ok(Err(Stuck::File)),
            }
        }
    }

    /// Lets time pass until a moment. The peer is not what is waited for: its deadline moves along.
    pub(super) fn pause(&mut self, until: Instant) -> Result<(), Abort> {
        let began = Instant::now();
        if until <= began {
            return Ok(());
        }
        while let Some(left) = self.clock.left_until(until)? {
            self.ear.pause(left)?;
        }
        self.clock.excuse(began.elapsed());
        Ok(())
    }
}

/// Tells whether it is a pipe in which small writes share a slot: not one of packets.
fn is_pipe_of_bytes(fd: &OwnedFd) -> bool {
    let packets = fcntl(fd, FcntlArg::F_GETFL).map_or(true, |flags| flags & OFlag::O_DIRECT.bits() != 0);
    !packets && fcntl(fd, FcntlArg::F_GETPIPE_SZ).is_ok()
}

/// Makes a pipe larger; only a pipe can be spliced.
fn enlarge(fd: &OwnedFd) -> Splices {
    let size = match fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE)) {
        // It is a pipe all the same.
        Err(Errno::EPERM | Errno::EBUSY) => fcntl(fd, FcntlArg::F_GETPIPE_SZ),
        other => other,
    };
    size.ok().and_then(|size| usize::try_from(size).ok()).map_or(Splices::No, Splices::Yes)
}

/// For one test only: panics when the wire is used for the nth time, n being in the environment.
#[cfg(feature = "injected-panic")]
#[expect(clippy::panic, reason = "it is what the test is about")]
fn inject_panic() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static USES: AtomicU64 = AtomicU64::new(1);
    let wanted = std::env::var("SCP_SERVER_PANIC").ok().and_then(|number| number.parse().ok());
    if wanted == Some(USES.fetch_add(1, Ordering::Relaxed)) {
        panic!("injected");
    }
}
