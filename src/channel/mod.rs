//! The wire as two pipes: read a record, say a reply, pour contents either way, and stay in step.

mod clock;
mod ear;
mod meter;
mod pace;
mod pipes;
mod watch;

pub use meter::Passed;

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::abort::Abort;
use crate::ahead::Say;
use crate::policy::Checksum;
use crate::policy::Patience;
use crate::refusal::{Cause, Refusal};
use crate::signals::Signals;
use crate::wire::{Complaint, LINE, Record, Reply, Violation};
use meter::Meter;
use pace::Pace;
use pipes::{Pipes, Stuck};

/// Bytes that are read ahead, and in which contents are copied.
const BUFFER: usize = 64 * 1024;

/// The same to begin with: a page that is touched costs as much as a system call.
const SMALL_BUFFER: usize = 4 * 1024;

/// The same once a file has come that is larger than the buffer. Larger ones gained nothing.
const LARGE_BUFFER: usize = 128 * 1024;

/// Bytes that one call is asked to move between a pipe and a file.
const MOVED: usize = 1024 * 1024;

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

    /// Takes `size` bytes of contents into `file`, or nowhere, and the sender's word on them.
    ///
    /// All of them are taken whatever happens to the file, so that both sides stay in step. The end of the stream
    /// instead of the sender's last byte means that all is well: libssh2 (curl, PHP) never sends it.
    ///
    /// # Errors
    /// Outer: the session ends. Inner: the contents are not all in the file, or not all that the sender has.
    pub fn receive(&mut self, size: u64, file: Option<&File>) -> Result<Result<(), Cause>, Abort> {
        // What waits here for its turn is taken from a client that may be gone by then.
        let piece = self.pace.as_ref().map_or(size, |pace| pace.piece(size));
        if piece > to_u64(BUFFER) {
            self.expect_much();
        } else if piece > to_u64(SMALL_BUFFER) {
            self.enlarge(BUFFER);
        }
        self.pipes.clock().await_contents();
        self.meter.restart();
        let mut written = Ok(());
        let mut left = size;
        while left > 0 {
            let piece = self.next_piece(left)?;
            left = left.saturating_sub(self.copy_in(piece, file, &mut written)?);
        }
        let status = self.sender_status()?;
        Ok(written.and(status))
    }

    /// Takes all `size` bytes of contents, few enough for the buffer, and the sender's word on them.
    ///
    /// # Errors
    /// As [`Channel::receive`].
    pub fn receive_whole(&mut self, size: usize) -> Result<Result<&[u8], Cause>, Abort> {
        if size >= self.buffer.len() {
            self.enlarge(BUFFER.max(size.saturating_add(1)));
        }
        self.pipes.clock().await_contents();
        self.meter.restart();
        let mut counted = 0_usize;
        loop {
            let ready = self.end.saturating_sub(self.start);
            let mut fresh = to_u64(ready.min(size).saturating_sub(counted));
            while fresh > 0 {
                let piece = self.next_piece(fresh)?;
                self.count(piece);
                fresh = fresh.saturating_sub(piece);
            }
            counted = ready.min(size);
            // With the sender's word: read later, it would take the place of the contents.
            if ready > size {
                break;
            }
            if self.fill()? == 0 {
                if ready == size {
                    break;
                }
                return Err(Violation::CutShort.into());
            }
        }
        let begin = self.start;
        self.start = begin.saturating_add(size);
        let contents = begin..self.start;
        self.meter.see(self.buffer.get(contents.clone()).unwrap_or_default());
        let word = self.sender_status()?;
        Ok(word.map(|()| self.buffer.get(contents).unwrap_or_default()))
    }

    /// Gets ready for a large file, once: fewer and larger turns.
    fn expect_much(&mut self) {
        if self.buffer.len() < LARGE_BUFFER {
            self.enlarge(LARGE_BUFFER);
            self.pipes.expect_much();
        }
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

    /// Waits until contents may move on, and returns how much of the `left` bytes may.
    fn next_piece(&mut self, left: u64) -> Result<u64, Abort> {
        let Some(pace) = &self.pace else { return Ok(left) };
        self.pipes.pause(pace.turn())?;
        Ok(pace.piece(left))
    }

    /// Counts contents that have moved on.
    fn count(&mut self, bytes: u64) {
        self.meter.count(bytes);
        if let Some(pace) = &mut self.pace {
            pace.count(bytes, Instant::now());
        }
        self.pipes.clock().progress(bytes);
    }

    /// Takes some of the `left` bytes through our buffer, at least one. What the file does not take is dropped.
    fn copy_in(
        &mut self,
        left: u64,
        file: Option<&File>,
        written: &mut Result<(), Cause>,
    ) -> Result<u64, Abort> {
        if self.start == self.end && self.fill()? == 0 {
            return Err(Violation::CutShort.into());
        }
        let ready = self.buffer.get(self.start..self.end).unwrap_or_default();
        let length = to_usize(left).min(ready.len());
        if let (Ok(()), Some(mut file)) = (&written, file) {
            *written = file.write_all(ready.get(..length).unwrap_or_default()).map_err(Cause::from);
        }
        self.meter.see(ready.get(..length).unwrap_or_default());
        self.start = self.start.saturating_add(length);
        self.count(to_u64(length));
        Ok(to_u64(length))
    }

    fn sender_status(&mut self) -> Result<Result<(), Cause>, Abort> {
        match self.byte()? {
            None | Some(0) => Ok(Ok(())),
            Some(1) => match self.line() {
                Ok(_) | Err(Abort::Violation(Violation::CutShort)) => Ok(Err(Cause::SenderFailed)),
                Err(abort) => Err(abort),
            },
            Some(2) => Err(Abort::GivenUp),
            Some(_) => Err(Violation::NoStatus.into()),
        }
    }

    /// Sends exactly `size` bytes, zeros where `file` has no more, and then says how it went: in a write of its own,
    /// because phpseclib takes a status that comes together with the last of the contents for a part of them.
    ///
    /// # Errors
    /// Outer: the session ends. Inner: zeros were sent, and the peer was told so in the words of `refuse`.
    pub fn send(
        &mut self,
        size: u64,
        file: &File,
        refuse: impl Fn(Cause) -> Refusal,
    ) -> Result<Result<(), Refusal>, Abort> {
        let mut block = std::mem::take(&mut self.block);
        let poured = self.pour(size, file, &mut block);
        self.block = block;
        let outcome = poured?.map_err(refuse);
        match &outcome {
            Ok(()) => self.write(&[0])?,
            Err(refusal) => self.complain(&Complaint::about(&refusal.what, &refusal.why))?,
        }
        Ok(outcome)
    }

    fn pour(&mut self, size: u64, file: &File, block: &mut Vec<u8>) -> Result<Result<(), Cause>, Abort> {
        self.pipes.clock().await_contents();
        self.meter.restart();
        let mut read = Ok(());
        let mut left = size;
        while left > 0 {
            let piece = self.next_piece(left)?;
            let sent = match read {
                Ok(()) if piece >= to_u64(BUFFER) && !self.meter.looks() => {
                    self.splice_out(piece, file, block, &mut read)?
                }
                _ => self.copy_out(piece, file, block, &mut read)?,
            };
            left = left.saturating_sub(sent);
            self.count(sent);
        }
        Ok(read)
    }

    /// Sends some of the `left` bytes through a block of ours, zeros if the file has no more of them.
    fn copy_out(
        &mut self,
        left: u64,
        mut file: &File,
        block: &mut Vec<u8>,
        read: &mut Result<(), Cause>,
    ) -> Result<u64, Abort> {
        let length = to_usize(left).min(BUFFER);
        if block.len() < length {
            block.resize(length, 0);
        }
        let piece = block.get_mut(..length).unwrap_or_default();
        let filled = if read.is_ok() { file.read(piece).unwrap_or(0) } else { 0 };
        let piece = if filled == 0 {
            *read = Err(Cause::EndedEarly);
            piece.fill(0);
            piece
        } else {
            piece.get_mut(..filled).unwrap_or_default()
        };
        self.meter.see(piece);
        self.write(piece)?;
        Ok(to_u64(piece.len()))
    }

    /// Sends some of the `left` bytes from the file to the pipe without seeing them.
    fn splice_out(
        &mut self,
        left: u64,
        file: &File,
        block: &mut Vec<u8>,
        read: &mut Result<(), Cause>,
    ) -> Result<u64, Abort> {
        match self.pipes.splice_out(file, to_usize(left))? {
            Ok(0) | Err(Stuck::File) => {
                *read = Err(Cause::EndedEarly);
                Ok(0)
            }
            Ok(moved) => Ok(to_u64(moved)),
            Err(Stuck::Unsupported) => self.copy_out(left, file, block, read),
        }
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), Abort> {
        if self.listening == Listening::No {
            return Err(Abort::Lost);
        }
        self.pipes.write(bytes).inspect_err(|_| self.listening = Listening::No)
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A size for one call; the kernel moves less than that anyway.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(MOVED)
}

/// Duplicates standard input and output as the two ends of the wire, bypassing the buffers of the standard library.
///
/// # Errors
/// No descriptor is left.
pub fn standard_streams() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?))
}
