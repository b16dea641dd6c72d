//! The wire as two pipes: read a record, say a reply, pour contents either way, and stay in step.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use crate::abort::Abort;
use crate::refusal::{Cause, Refusal};
use crate::signals::Signals;
use crate::wire::{Complaint, LINE, Record, Reply, Violation};

/// Bytes that are read ahead, and the largest piece in which contents are copied.
const BUFFER: usize = 64 * 1024;

/// Both directions of the conversation.
///
/// Input is buffered once, for the whole life of the session: clients that do not wait for answers (go-scp, packer,
/// `(printf …; cat f) | ssh h scp -t d`) have sent the next records before the first is read.
pub struct Channel {
    input: OwnedFd,
    output: OwnedFd,
    interruption: Option<Signals>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    block: Vec<u8>,
    listening: Listening,
}

/// Whether the peer still takes what is said.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Listening {
    Yes,
    No,
}

impl Channel {
    /// Converses over `input` and `output`. When `interruption` becomes readable, the session is stopped.
    pub fn new(input: OwnedFd, output: OwnedFd, interruption: Option<Signals>) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self {
            input,
            output,
            interruption,
            buffer,
            start: 0,
            end: 0,
            block: Vec::new(),
            listening: Listening::Yes,
        }
    }

    /// Reads the next record; `None` at the end of the stream.
    ///
    /// # Errors
    /// The session ends: a line that is no record, or none at all.
    pub fn next_record(&mut self) -> Result<Option<Record>, Abort> {
        let Some(first) = self.peek()? else { return Ok(None) };
        // Its line may never end: dtylman's client answers each of our bytes with four, and waits for us to leave.
        Record::begins_with(first)?;
        match self.line()? {
            None => Ok(None),
            Some(line) => Ok(Some(Record::parse(&line)?)),
        }
    }

    /// Answers a record, or contents: yes, or why not.
    ///
    /// That the peer does not listen is no error: trilead, wagon and JSch close at once after their last byte, and
    /// what they sent is still to be stored.
    ///
    /// # Errors
    /// A signal.
    pub fn answer(&mut self, outcome: &Result<(), Refusal>) -> Result<(), Abort> {
        match self.answer_heard(outcome) {
            Err(Abort::Lost) => Ok(()),
            other => other,
        }
    }

    fn answer_heard(&mut self, outcome: &Result<(), Refusal>) -> Result<(), Abort> {
        match outcome {
            Ok(()) => self.write(&[0]),
            Err(refusal) => self.complain(&Complaint::about(&refusal.what, &refusal.why)),
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

    /// Takes `size` bytes of contents into `file`, and the sender's word on them.
    ///
    /// All of them are taken whatever happens to the file, so that both sides stay in step. The end of the stream
    /// instead of the sender's last byte means that all is well: libssh2 (curl, PHP) never sends it.
    ///
    /// # Errors
    /// Outer: the session ends. Inner: the contents are not all in the file, or not all that the sender has.
    pub fn receive(&mut self, size: u64, file: &File) -> Result<Result<(), Cause>, Abort> {
        let mut written = Ok(());
        let mut left = size;
        while left > 0 {
            let piece = self.piece(left)?;
            let length = piece.len();
            if written.is_ok() {
                written = { file }.write_all(piece);
            }
            left = left.saturating_sub(to_u64(length));
            self.start = self.start.saturating_add(length);
        }
        let status = self.sender_status()?;
        Ok(written.map_err(Cause::from).and(status))
    }

    /// Returns some of the `left` bytes that are due, at least one.
    fn piece(&mut self, left: u64) -> Result<&[u8], Abort> {
        if self.start == self.end && self.fill()? == 0 {
            return Err(Violation::CutShort.into());
        }
        let ready = self.buffer.get(self.start..self.end).unwrap_or_default();
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(ready.len());
        Ok(ready.get(..length).unwrap_or_default())
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
        self.answer_heard(&outcome)?;
        Ok(outcome)
    }

    fn pour(&mut self, size: u64, mut file: &File, block: &mut Vec<u8>) -> Result<Result<(), Cause>, Abort> {
        let mut read = Ok(());
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            if block.len() < length {
                block.resize(length, 0);
            }
            let piece = block.get_mut(..length).unwrap_or_default();
            let filled = match read {
                Ok(()) => file.read(piece).unwrap_or(0),
                Err(_) => 0,
            };
            let piece = if filled == 0 {
                read = Err(Cause::EndedEarly);
                piece.fill(0);
                piece
            } else {
                piece.get_mut(..filled).unwrap_or_default()
            };
            self.write(piece)?;
            left = left.saturating_sub(to_u64(piece.len()));
        }
        Ok(read)
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
        let mut searched = 0_usize;
        loop {
            let ready = self.buffer.get(self.start..self.end).unwrap_or_default();
            let window = ready.get(..LINE.min(ready.len())).unwrap_or_default();
            let fresh = window.get(searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|&byte| byte == b'\n') {
                let end = searched.saturating_add(found);
                let line = window.get(..end).unwrap_or_default().to_vec();
                self.start = self.start.saturating_add(end).saturating_add(1);
                return Ok(Some(line));
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

    fn discard_partial_line(&mut self) -> Result<Option<Vec<u8>>, Abort> {
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
        loop {
            self.wait(self.input.as_fd(), PollFlags::POLLIN)?;
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match unistd::read(&self.input, free) {
                Ok(length) => {
                    self.end = self.end.saturating_add(length);
                    return Ok(length);
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // A pipe has no read errors; a socket or a terminal that is gone has: ECONNRESET, EIO.
                Err(_) => return Err(Abort::Lost),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Abort> {
        if self.listening == Listening::No {
            return Err(Abort::Lost);
        }
        while !bytes.is_empty() {
            self.wait(self.output.as_fd(), PollFlags::POLLOUT)?;
            match unistd::write(&self.output, bytes) {
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => {
                    self.listening = Listening::No;
                    return Err(Abort::Lost);
                }
            }
        }
        Ok(())
    }

    /// Waits until the descriptor is ready, or a signal asks us to stop.
    fn wait(&self, fd: BorrowedFd<'_>, ready: PollFlags) -> Result<(), Abort> {
        let Some(interruption) = &self.interruption else {
            return Ok(());
        };
        let mut fds = [PollFd::new(interruption.as_fd(), PollFlags::POLLIN), PollFd::new(fd, ready)];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return Err(Abort::Stopped),
            }
        }
        let [interruption, _] = fds;
        if interruption.any() == Some(true) { Err(Abort::Stopped) } else { Ok(()) }
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Duplicates standard input and output as the two ends of the wire, bypassing the buffers of the standard library.
///
/// # Errors
/// No descriptor is left.
pub fn standard_streams() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?))
}
