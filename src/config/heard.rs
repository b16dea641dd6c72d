//! Sections about others, of which nothing is kept: listened to, line by line, whether they are right.

use super::line::{Head, Place};
use super::rules::operations;
use crate::bytes::Beginning;
use crate::policy::{Account, Aside, Spelled};

/// Lines of the file that are read together.
pub(super) struct Piece<'t> {
    pub(super) head: Head,
    pub(super) begin: Place<'t>,
    /// Lines of the file that are before it.
    pub(super) before: usize,
    /// Whether it is known to be right, and nothing is to be made of it: it is about somebody else, or it has been made.
    pub(super) is_aside: bool,
}

/// The keys of earlier sections. Many are written after the same pattern, so that what begins a line has been read before.
pub(super) struct Heard {
    /// What is before the value, and the key.
    keys: [Option<(Beginning, Spelled)>; REMEMBERED],
    /// Where among them is the last of those that have the same slot.
    numbers: [u8; 64],
    /// Where the next one comes.
    next: usize,
    /// Lines that have been read.
    pub(super) lines: usize,
}

/// More than most files have, and so few that they take little of the stack; a further one takes the place of the oldest.
const REMEMBERED: usize = 32;

impl Heard {
    /// Nothing yet.
    pub(super) fn nothing() -> Self {
        Self { keys: [None; REMEMBERED], numbers: [0; 64], next: 0, lines: 0 }
    }

    /// Listens to a section whose head has been read, and to those after it as long as nothing is to be kept of them.
    #[inline(never)] // The loop has the registers for itself.
    pub(super) fn sections<'t>(&mut self, account: &Account, piece: &mut Piece<'t>, place: &mut Place<'t>) {
        loop {
            piece.is_aside = self.section(account, place);
            match place.after("[[match]]\n") {
                Some(next) if piece.is_aside => {
                    (piece.begin, piece.before) = (*place, self.lines);
                    *place = next;
                    self.lines = self.lines.saturating_add(1);
                }
                _ => return,
            }
        }
    }

    /// Listens to a section as far as it is plain; tells whether that is right, and about somebody else.
    fn section(&mut self, account: &Account, place: &mut Place<'_>) -> bool {
        let mut aside = Aside::from(account);
        let (mut here, mut lines) = (*place, self.lines);
        while let Some(next) = self.line(&mut aside, here) {
            (here, lines) = (next, lines.wrapping_add(1));
        }
        (*place, self.lines) = (here, lines);
        aside.is_settled()
    }

    /// Listens to a line if it is right where it is; returns where the next one begins.
    fn line<'t>(&mut self, aside: &mut Aside, begin: Place<'t>) -> Option<Place<'t>> {
        let begin = begin.after_blanks();
        match begin.peek()? {
            b'\n' | b'#' => begin.past(),
            b'[' => begin.after("[[match.path]]").filter(|_| aside.takes_path())?.past(),
            _ => self.pair(aside, begin),
        }
    }

    fn pair<'t>(&mut self, aside: &mut Aside, begin: Place<'t>) -> Option<Place<'t>> {
        let (key, value) = self.key(aside, begin)?;
        let (holds, end) = match value.peek()? {
            b'"' | b'\'' => text(aside, key, value)?,
            b'[' if key.takes_operations() => (true, operations(value)?.1),
            b'[' => list(aside, key, value)?,
            b'0'..=b'9' => {
                let (number, end) = value.number()?;
                (aside.hears(key, number)?, end)
            }
            _ => {
                let (flag, end) = value.flag()?;
                (aside.hears(key, flag)?, end)
            }
        };
        end.past().filter(|_| aside.takes(key, holds))
    }

    /// Finds the key of a line, and where its value begins.
    fn key<'t>(&mut self, aside: &Aside, begin: Place<'t>) -> Option<(Spelled, Place<'t>)> {
        let number = self.numbers.get_mut(begin.slot())?;
        if let Some((beginning, key)) = self.keys.get(usize::from(*number))?
            && let Some(value) = begin.after_beginning(beginning)
        {
            return Some((*key, value));
        }
        let (key, value) = read_key(aside, begin)?;
        if let Some(beginning) = begin.beginning(value) {
            *number = self.next.try_into().ok()?;
            *self.keys.get_mut(self.next)? = Some((beginning, key));
            self.next = self.next.wrapping_add(1) % REMEMBERED;
        }
        Some((key, value))
    }
}

#[cold] // Of two hundred sections, the first is read so.
fn read_key<'t>(aside: &Aside, begin: Place<'t>) -> Option<(Spelled, Place<'t>)> {
    let (key, value) = begin.key()?;
    Some((aside.knows(key)?, value))
}

/// Listens to a text.
fn text<'t>(aside: &Aside, key: Spelled, begin: Place<'t>) -> Option<(bool, Place<'t>)> {
    // Of most kinds, what is right says itself where it ends.
    begin.quoted_as(|text| aside.hears_first(key, text)).or_else(|| unusual_text(aside, key, begin))
}

#[inline(never)]
fn unusual_text<'t>(aside: &Aside, key: Spelled, begin: Place<'t>) -> Option<(bool, Place<'t>)> {
    let (text, end) = begin.quoted()?;
    Some((aside.hears_text(key, text)?, end))
}

/// Listens to a list of texts.
#[inline(never)] // Most sections have none, and the loop has the registers for itself.
fn list<'t>(aside: &Aside, key: Spelled, begin: Place<'t>) -> Option<(bool, Place<'t>)> {
    let mut holds = aside.begins_list(key)?;
    let end = begin.list(|place| {
        let first = place.quoted_as(|text| aside.hears_first(key, text));
        let (one, end) = first.or_else(|| unusual_one(aside, key, place))?;
        holds |= one;
        Some(end)
    })?;
    Some((holds, end))
}

#[inline(never)]
fn unusual_one<'t>(aside: &Aside, key: Spelled, begin: Place<'t>) -> Option<(bool, Place<'t>)> {
    let (text, end) = begin.quoted()?;
    Some((aside.hears_one(key, text)?, end))
}
