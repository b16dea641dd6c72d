//! The events.

use std::fmt;
use std::panic::PanicHookInfo;

use super::facts::Transfer;
use crate::abort::Abort;
use crate::jail::Arrival;
use crate::name::FileName;
use crate::refusal::{Cause, Refusal, Tally, Trail};
use crate::sandbox::Missing;

/// Something worth a line in the log.
pub enum Event<'a> {
    /// The session ended before its time.
    Aborted(&'a Abort),
    /// The session began, by this request.
    Began {
        /// What the client asked for, as it wrote it.
        request: &'a [u8],
    },
    /// The client said that it could not read or write something.
    Complained(&'a [u8]),
    /// We have a defect: a panic.
    Defect(&'a PanicHookInfo<'a>),
    /// The session ended, all records answered.
    Ended(&'a Tally),
    /// A directory was made, or gone into.
    Entered(&'a Trail, Arrival),
    /// The account's home lies in the root.
    HomeInside,
    /// Contents came or went, but the file is not whole.
    Incomplete(&'a Transfer<'a>, &'a dyn fmt::Display),
    /// An entry was refused.
    Refused(&'a Refusal),
    /// The name was taken, and it got another.
    Renamed {
        /// What the client wanted it to be.
        what: &'a Trail,
        /// What it is called.
        name: &'a FileName,
    },
    /// The request was refused before a session began.
    Rejected(&'a dyn fmt::Display),
    /// A file was sent, whole.
    Sent(&'a Transfer<'a>),
    /// A file system cannot do something, and the next best was done.
    Storage(&'a fmt::Arguments<'a>),
    /// A file was stored, whole, and has its name.
    Stored(&'a Transfer<'a>),
    /// The kernel does not enforce a layer of the sandbox.
    Unprotected(&'a Missing),
    /// An entry was stored without its mode or its times.
    Unset(&'a Refusal),
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Severity {
    Error,
    Informational,
    Warning,
}

impl Severity {
    /// Returns syslog's number for it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Informational => 6,
        }
    }
}

impl Event<'_> {
    /// Returns the word for the event.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Aborted(_) => "abort",
            Self::Began { .. } => "begin",
            Self::Complained(_) => "complaint",
            Self::Defect(_) => "defect",
            Self::Ended(_) => "end",
            Self::Entered(_, Arrival::Made) => "mkdir",
            Self::Entered(_, Arrival::Found) => "enter",
            Self::HomeInside => "config",
            Self::Incomplete(..) => "incomplete",
            Self::Refused(Refusal { why: Cause::Outside(_), .. }) => "security",
            Self::Refused(_) => "refuse",
            Self::Rejected(_) => "reject",
            Self::Renamed { .. } => "rename",
            Self::Sent(_) => "send",
            Self::Storage(_) => "storage",
            Self::Stored(_) => "store",
            Self::Unprotected(_) => "sandbox",
            Self::Unset(_) => "metadata",
        }
    }

    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Defect(_) => Severity::Error,
            Self::Aborted(_)
            | Self::HomeInside
            | Self::Incomplete(..)
            | Self::Refused(_)
            | Self::Rejected(_)
            | Self::Storage(_)
            | Self::Unprotected(_) => Severity::Warning,
            Self::Began { .. }
            | Self::Complained(_)
            | Self::Ended(_)
            | Self::Entered(..)
            | Self::Renamed { .. }
            | Self::Sent(_)
            | Self::Stored(_)
            | Self::Unset(_) => Severity::Informational,
        }
    }

    /// Returns the file whose contents came or went, and whether it is whole.
    pub(super) fn transfer(&self) -> Option<(&Transfer<'_>, bool)> {
        match self {
            Self::Sent(transfer) | Self::Stored(transfer) => Some((transfer, true)),
            Self::Incomplete(transfer, _) => Some((transfer, false)),
            _ => None,
        }
    }
}
