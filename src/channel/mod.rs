//! The wire as two pipes: read a record, say a reply, pour contents either way, and stay in step.

mod clock;
mod contents;
mod ear;
mod meter;
mod pace;
mod pipes;
mod watch;

pub use meter::Passed;

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::abort::Abort;
use crate::ahead::Say;
use crate::policy::{Checksum, Patience};
use crate::refusal::Refusal;
use crate::signals::Signals;
use crate::wire::{Complaint, LINE, Record, Reply, Violation};
use meter::Meter;
use pace::Pace;
use pipes::Pipes;

/// Bytes that are read ahead, and in which contents are copied.
const BUFFER: usize = 64 * 1024;

/// The same to begin with: a page that is touched costs as much as a system call.
const SMALL_BUFFER: usize = 4 * 1024;

/// As many times yes as are usually said at once.
const YES: [u8; 512] = [0; 512];

/// Both directions of the conversation.
///
/// Input is buffered once, for the whole life of the session: clients that do not wait for answers (go-scp, packer,
/// `(printf …; cat f) | ssh h scp -t d`) have sent the next records before the first is read.
pub struct Channel {
    pipes: Pipes,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    block: Vec<u8>,
    listening: Listening,
    meter: Meter,
    pace: Option<Pace>,
}

/// Whether the peer still takes what is said.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Listening {
    Yes,
    No,
}

impl Channel {
    /// Converses over `input` and `output`. When `interruption` becomes readable, the session is stopped.
    pub fn new(input: OwnedFd, output: OwnedFd, interruption: Option<Signals>, patience: Patience) -> Self {
        let buffer = vec![0; SMALL_BUFFER].into_boxed_slice();
        Self {
            pipes: Pipes::new(input, output, interruption, patience),
            buffer,
            start: 0,
            end: 0,
            block: Vec::new(),
            listening: Listening::Yes,
            meter: Meter::default(),
            pace: None,
        }
    }

    /// Looks at contents as they pass, for this checksum.
    #[must_use]
    pub fn with_checksum(mut self, checksum: Checksum) -> Self {
        if checksum == Checksum::Sha256 {
            self.meter.look();
        }
        self
    }

    /// Moves contents no faster than so many bytes in a second.
    #[must_use]
    pub fn with_rate(mut self, rate: Option<NonZeroU64>) -> Self {
        self.pace = rate.map(|rate| Pace::new(rate, Instant::now()));
        self
    }

    /// Returns what has passed of the contents that are under way, or were last.
    pub fn passed(&self) -> Passed {
        self.meter.passed()
    }

    /// Reads the next record; `None` at the end of the stream.
    ///
    /// # Errors
    /// The session ends: a line that is no record, or none at all.
    pub fn next_record(&mut self) -> Result<Option<Record>, Abort> {
        self.pipes.clock().await_record();
        let Some(first) = self.peek()? else { return Ok(None) };
        // Its line may never end: dtylman's client answers each of our bytes with four, and waits for us to leave.
        Record::begins_with(first)?;
        let Some(length) = self.line_length()? else { return Ok(None) };
        Ok(Some(Record::parse(self.take_line(length))?))
    }

    /// Tells whether more has come behind the last record, or does within `limit`.
    ///
    /// # Errors
    /// A signal.
    pub fn is_followed(&mut self, limit: Duration) -> Result<bool, Abort> {
        Ok(self.start < self.end || self.pipes.has_input(limit)?)
    }

    /// Says what is due to a record, or to contents: yes, or why not.
    ///
    /// That the peer does not listen is no error: trilead, wagon and JSch close at once after their last byte, and
    /// what they sent is still to be stored.
    ///
    /// # Errors
    /// A signal.
    pub fn say(&mut self, say: &Say) -> Result<(), Abort> {
        let said = match say {
            Say::Yes(0) => Ok(()),
            Say::Yes(times) => match YES.get(..*times) {
                Some(yes) => self.write(yes),
                None => self.write(&vec![0; *times]),
            },
            Say::No(refusal, 0) => self.complain(&Complaint::about(&refusal.what, &refusal.why)),
            Say::No(Refusal { what, why }, more) => {
                self.complain(&Complaint::about(what, &format_args!("{why} (and {more} more errors)")))
            }
        };
        match said {
            Err(Abort::Lost) => Ok(()),
            other => other,
        }
    }

    /// Says a line of complaint where a record or a reply is due.
    ///
    /// # Errors
    /// The peer is gone, or a signal.
    pub fn complain(&mut self, complaint: &Complaint) -> Result<(), Abort> {
        self.write(&complaint.write())
    }

    /// Sends a record. In one piece: there are clients that read one record with one read (scp.py, JSch, ssh-rs).
    ///
    /// # Errors
    /// The peer is gone, or a signal.
    pub fn ask(&mut self, record: &Record) -> Result<(), Abort> {
        self.write(&record.write())
    }

    /// Reads the reply to a record. Surplus replies are left for the next one, and never waited for.
    ///
    /// # Errors
    /// The peer is gone, or a signal, or a reply without end.
    pub fn hear(&mut self) -> Result<Reply, Abort> {
        self.pipes.clock().await_record();
        let byte = self.byte()?.ok_or(Abort::Lost)?;
        if !Reply::has_text(byte) {
            return Ok(Reply::parse(byte, b""));
        }
        // scp.py sends `\1text` without a newline, and leaves.
        let text = match self.line() {
            Err(Abort::Violation(Violation::CutShort)) | Ok(None) => Vec::new(),
            Ok(Some(text)) => text,
            Err(abort) => return Err(abort),
        };
        Ok(Reply::parse(byte, &text))
    }

    /// Returns one byte, or `None` at the end of the stream.
    fn byte(&mut self) -> Result<Option<u8>, Abort> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.start = self.start.saturating_add(1);
        }
        Ok(byte)
    }

    /// Returns the next byte without taking it.
    fn peek(&mut self) -> Result<Option<u8>, Abort> {
        if self.start == self.end && self.fill()? == 0 {
            return Ok(None);
        }
        Ok(self.buffer.get(self.start).copied())
    }

    /// Returns a line without its newline, or `None` at the end of the stream.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Abort> {
        Ok(self.line_length()?.map(|length| self.take_line(length).to_vec()))
    }

    /// Takes a line of so many bytes, and its newline.
    fn take_line(&mut self, length: usize) -> &[u8] {
        let end = self.start.saturating_add(length);
        let line = self.buffer.get(self.start..end).unwrap_or_default();
        self.start = end.saturating_add(1);
        line
    }

    /// Returns how long the next line is, or `None` at the end of the stream.
    fn line_length(&mut self) -> Result<Option<usize>, Abort> {
        let mut searched = 0_usize;
        loop {
            let ready = self.buffer.get(self.start..self.end).unwrap_or_default();
            let window = ready.get(..LINE.min(ready.len())).unwrap_or_default();
            let fresh = window.get(searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|&byte| byte == b'\n') {
                return Ok(Some(searched.saturating_add(found)));
            }
            if window.len() == LINE {
                return Err(Violation::LineTooLong.into());
            }
            searched = window.len();
            if self.fill()? == 0 {
                return if searched == 0 { Ok(None) } else { self.discard_partial_line() };
            }
        }
    }

    fn discard_partial_line(&mut self) -> Result<Option<usize>, Abort> {
        self.start = self.end;
        Err(Violation::CutShort.into())
    }

    /// Reads more behind what is in the buffer, and returns how much; 0 at the end of the stream.
    fn fill(&mut self) -> Result<usize, Abort> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let length = self.pipes.read(free)?;
        let filled = length == free.len();
        self.end = self.end.saturating_add(length);
        if filled {
            // Somebody sends ahead of our answers: there may be more.
            self.enlarge(BUFFER);
        }
        Ok(length)
    }

    fn enlarge(&mut self, length: usize) {
        if self.buffer.len() < length {
            let mut larger = vec![0; length];
            let ready = self.buffer.get(self.start..self.end).unwrap_or_default();
            larger.iter_mut().zip(ready).for_each(|(to, from)| *to = *from);
            (self.start, self.end) = (0, ready.len());
            self.buffer = larger.into_boxed_slice();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Abort> {
        if self.listening == Listening::No {
            return Err(Abort::Lost);
        }
        self.pipes.write(bytes).inspect_err(|_| self.listening = Listening::No)
    }
}

/// Duplicates standard input and output as the two ends of the wire, bypassing the buffers of the standard library.
///
/// # Errors
/// No descriptor is left.
pub fn standard_streams() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?))
}
