//! Why a session ends early, and the last words, if any.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::ahead::Untellable;
use crate::policy::Denied;
use crate::refusal::{Cause, Refusal};
use crate::sandbox::Missing;
use crate::wire::{Complaint, Violation, escape};

/// The session is over; nothing after this can be answered.
#[derive(Debug)]
pub enum Abort {
    /// More than one target, or none.
    AmbiguousTarget,
    /// The account may not do this.
    Denied(Denied),
    /// The peer said that it gives up.
    GivenUp,
    /// The peer is gone, or does not listen any more.
    Lost,
    /// The place that the request names cannot be used.
    Refused(Refusal),
    /// A signal asked us to stop.
    Stopped,
    /// An entry was refused, and it is not known which answer the peer would take that for.
    Untellable(Refusal),
    /// The peer was waited for as long as the administrator wants.
    TimedOut,
    /// The administrator requires a record of all that happens, and it cannot be written.
    Unrecorded(Errno),
    /// The administrator requires a layer of the sandbox that this kernel does not have.
    Unprotected(Missing),
    /// The root cannot be opened.
    Unavailable(io::Error),
    /// What was stored could not be made durable.
    Unsettled(io::Error),
    /// The peer does not speak the protocol.
    Violation(Violation),
}

impl Abort {
    /// Returns what the peer is told, unless it cannot hear it or could take it for contents.
    pub fn last_words(&self) -> Option<Complaint> {
        match self {
            // WinSCP knows this text as the word of a server that has gone.
            Self::AmbiguousTarget => Some(Complaint::plain("ambiguous target")),
            // What is wrong is for the log, not for the client.
            Self::Denied(Denied::Misconfigured(_)) => {
                Some(Complaint::plain("this server is not set up as it has to be"))
            }
            Self::Denied(denied) => Some(Complaint::plain(denied.to_string())),
            Self::Refused(refusal) | Self::Untellable(refusal) => {
                Some(Complaint::about(&refusal.what, &refusal.why))
            }
            // Where the record is, and what is wrong with it, is not for the client.
            Self::Unrecorded(_) => Some(Complaint::plain("this server cannot keep its record")),
            // What the kernel lacks is for the log, not for the client.
            Self::Unprotected(_) => Some(Complaint::plain("this server is not protected as it has to be")),
            Self::Unavailable(_) | Self::Unsettled(_) => Some(Complaint::plain(self.to_string())),
            Self::Violation(violation) => Some(Complaint::plain(violation.to_string())),
            Self::GivenUp | Self::Lost | Self::Stopped | Self::TimedOut => None,
        }
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousTarget => f.write_str("ambiguous target"),
            Self::Denied(denied) => denied.fmt(f),
            Self::GivenUp => f.write_str("the client gave up"),
            Self::Lost => f.write_str("the client is gone"),
            Self::Refused(refusal) | Self::Untellable(refusal) => {
                write!(f, "{}: {}", escape(&refusal.what), refusal.why)
            }
            Self::Stopped => f.write_str("stopped by a signal"),
            Self::TimedOut => f.write_str("the client was silent, or the session lasted, for too long"),
            Self::Unprotected(missing) => missing.fmt(f),
            Self::Unrecorded(errno) => write!(f, "the log cannot be written: {}", errno.desc()),
            Self::Unavailable(error) => {
                write!(f, "the directory of this account cannot be used: {}", reason(error))
            }
            Self::Unsettled(error) => write!(f, "the files could not be made durable: {}", reason(error)),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

/// Says why in the system's words alone, without the number that Rust adds.
fn reason(error: &io::Error) -> Cause {
    Cause::from_io(error)
}

impl From<Untellable> for Abort {
    fn from(Untellable(refusal): Untellable) -> Self {
        Self::Untellable(refusal)
    }
}

impl From<Violation> for Abort {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
