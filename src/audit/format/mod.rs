//! An event in writing. Whatever a name holds, an event is one line, and can only be read.

mod journal;
mod json;
mod line;
mod xferlog;

use jiff::Timestamp;

use super::event::Event;
use super::facts::Session;
use super::fields::Field;
use crate::policy::Format;
use crate::wire::escape;

/// Bytes of a value that are written: as many as a path may have. A longer one is cut, and says so.
pub(super) const NAME: usize = 4096;

/// An event and all that is to be said about it.
pub(super) struct Message<'a> {
    pub(super) now: Timestamp,
    pub(super) event: &'a Event<'a>,
    pub(super) session: &'a Session,
    pub(super) fields: &'a [Field<'a>],
}

impl Message<'_> {
    /// Writes the event, without a line feed, no value longer than `limit`; none if the format has no line for it.
    pub(super) fn write(&self, format: Format, limit: usize) -> Option<String> {
        match format {
            Format::Json => Some(json::write(self.now, self.fields, limit)),
            Format::Line => Some(line::write(self.fields, limit.min(line::NAME))),
            Format::Xferlog => {
                let (transfer, whole) = self.event.transfer()?;
                Some(xferlog::write(self.now, self.session, transfer, whole, limit))
            }
        }
    }

    /// Writes the event, and `text` about it, as the journal's entry.
    pub(super) fn write_entry(&self, text: &str, limit: usize) -> String {
        journal::write(self.event.severity(), text, self.fields, limit)
    }
}

/// Writes bytes so that they can only be read, and that they were cut.
fn shown(bytes: &[u8], limit: usize) -> String {
    let (kept, dots) = cut(bytes, limit);
    escape(kept) + dots
}

/// Returns what is written of a value, and what is put behind it.
fn cut(bytes: &[u8], limit: usize) -> (&[u8], &'static str) {
    match bytes.get(..limit) {
        Some(kept) if kept.len() < bytes.len() => (kept, "..."),
        _ => (bytes, ""),
    }
}
