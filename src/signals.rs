//! Signals: those that ask us to stop are read like input, those that report an error become one.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// HUP, INT and TERM, waiting to be seen: a session ends between two reads and every guard runs.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals and opens the descriptor that becomes readable when one is pending.
    ///
    /// XFSZ and XCPU are blocked too: at the limit of a file's size, write fails with `EFBIG` instead of killing us.
    /// (PIPE is ignored by Rust's own start-up.)
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub fn block() -> Result<Self, Errno> {
        let asking: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        let reporting: SigSet = [Signal::SIGXFSZ, Signal::SIGXCPU].into_iter().collect();
        asking.thread_block()?;
        reporting.thread_block()?;
        SignalFd::with_flags(&asking, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
