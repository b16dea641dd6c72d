//! What happened: one event per file, per refusal, and per beginning and end of a session, for the administrator's log;
//! and what is shown on the screen of a client that asked (`-v`).
//!
//! An event is turned into fields once (`fields`), which the formats write and the outlet takes away. There is one log
//! in a process, opened before the sandbox is on.

mod event;
mod facts;
mod fields;
mod format;
mod outlet;

pub use event::Event;
pub use facts::{Session, Transfer};

use std::io::{self, Write};
use std::sync::Mutex;

use jiff::Timestamp;
use log::{LevelFilter, Log as Facade, Metadata, Record as Remark};
use nix::errno::Errno;

use crate::abort::Abort;
use crate::policy::{Audit, Format, Journal};
use crate::refusal::Refusal;
use crate::request::Chatter;
use crate::wire::{self, escape};
use format::{Message, NAME};
use outlet::Outlet;

/// Finds out whether a log could be opened, without a word in it.
///
/// # Errors
/// It could not; whether a session goes on without it is the journal's to say.
pub fn foresee(log: &Journal) -> Result<(), Errno> {
    match &log.destination {
        None if log.audit == Audit::Try => Ok(()),
        None => Err(Errno::ENOENT),
        Some(destination) => Outlet::foresee(destination),
    }
}

/// Opens the log, for what happens in `session`. Without a destination nothing is written anywhere.
///
/// # Errors
/// It cannot be opened, and the administrator requires it.
pub fn open(log: &Journal, session: Session) -> Result<(), Abort> {
    let opened = match &log.destination {
        None if log.audit == Audit::Try => return Ok(()),
        None => Err(Errno::ENOENT),
        Some(destination) => Outlet::open(destination, log.audit),
    };
    match (opened, log.audit) {
        (Ok(outlet), audit) => {
            if let Ok(mut desk) = DESK.lock() {
                *desk = Some(Desk { session, format: log.format, audit, outlet });
            }
            // A second call finds the first one's: there is one session in a process.
            if log::set_logger(&Rooms).is_ok() {
                log::set_max_level(LevelFilter::Info);
            }
            Ok(())
        }
        (Err(_), Audit::Try) => Ok(()),
        (Err(errno), Audit::Require) => Err(Abort::Unrecorded(errno)),
    }
}

/// Writes an event to the administrator's log, if there is one.
///
/// # Errors
/// It could not be written, and the administrator requires it.
pub fn record(event: &Event<'_>) -> Result<(), Abort> {
    // Nobody else holds the desk. If it is not free, the defect that is to be told happened at it.
    let Ok(mut desk) = DESK.try_lock() else { return Ok(()) };
    let Some(desk) = desk.as_mut() else { return Ok(()) };
    match (desk.write(event), desk.audit) {
        (Err(errno), Audit::Require) => Err(Abort::Unrecorded(errno)),
        (Ok(()), _) | (Err(_), Audit::Try) => Ok(()),
    }
}

/// Learns more about the session, for the events to come.
pub fn learn(more: impl FnOnce(&mut Session)) {
    if let Ok(mut desk) = DESK.try_lock()
        && let Some(desk) = desk.as_mut()
    {
        more(&mut desk.session);
    }
}

/// Shows a record on the screen of a client that gave `-v`, in the words of OpenSSH's scp.
pub fn show_client(chatter: Chatter, what: &str, record: &wire::Record) {
    if chatter == Chatter::Verbose {
        let line = record.write();
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        show(&format!("{what}: {}\n", escape(line)));
    }
}

/// Tells the client, on its screen, what could not be told on the wire any more.
pub fn tell_screen(refusal: &Refusal, more: usize) {
    let Refusal { what, why } = refusal;
    let rest = if more > 0 { format!(" (and {more} more errors)") } else { String::new() };
    show(&format!("scp: {}: {why}{rest}\n", escape(what)));
}

fn show(line: &str) {
    // A screen that is gone is no reason to stop; the exit status says what matters.
    let _ = io::stderr().write_all(line.as_bytes());
}

static DESK: Mutex<Option<Desk>> = Mutex::new(None);

/// Where events become lines.
struct Desk {
    session: Session,
    format: Format,
    audit: Audit,
    outlet: Outlet,
}

impl Desk {
    fn write(&mut self, event: &Event<'_>) -> Result<(), Errno> {
        self.session.count(event);
        let fields = fields::of(event, &self.session);
        let message = Message { now: Timestamp::now(), event, session: &self.session, fields: &fields };
        // An event too long for where it goes gets shorter names, cut where everybody sees it.
        let mut limit = NAME;
        loop {
            let Some(text) = message.write(self.format, limit) else { return Ok(()) };
            let parcel = self.outlet.wrap(&message, &text, self.format, limit);
            limit = limit.div_euclid(2);
            if limit == 0 || self.outlet.takes(&parcel) {
                return self.outlet.write(&parcel);
            }
        }
    }
}

/// The log, as rooms below know it.
struct Rooms;

impl Facade for Rooms {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, remark: &Remark<'_>) {
        // A remark is no event of a file's, and none of its own is required.
        let _ = record(&Event::Storage(remark.args()));
    }

    fn flush(&self) {}
}
