//! Contents, either way: through our buffer, or past it.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Instant;

use super::pipes::Stuck;
use super::{BUFFER, Channel, SMALL_BUFFER};
use crate::abort::Abort;
use crate::refusal::{Cause, Refusal};
use crate::wire::{Complaint, Violation};

/// Bytes of the buffer once a file has come that is larger than it usually is. Larger ones gained nothing.
const LARGE_BUFFER: usize = 128 * 1024;

/// Bytes that one call is asked to move between a pipe and a file.
pub(super) const MOVED: usize = 1024 * 1024;

impl Channel {
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
}

pub(super) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A size for one call; the kernel moves less than that anyway.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(MOVED)
}
