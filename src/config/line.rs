//! Plain lines: `key = "value"  # comment`, and the heads of sections. What is not plain is told apart, not read.

use serde::de::value::{BorrowedStrDeserializer, Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::bytes::{self, Beginning};

/// What a line is to the sections.
pub(super) enum Line<'t> {
    /// The first one of a piece.
    Head(Head),
    /// The head of some other table, or the middle of a list: not for us.
    Foreign,
    /// `[[match.path]]`.
    Path,
    /// Of the piece that we are in, but not plain.
    Odd,
    /// Nothing, or a comment.
    Empty,
    /// A plain line: `key = "value"  # comment`.
    Pair(&'t str, Value<'t>),
}

#[derive(Clone, Copy)]
pub(super) enum Head {
    /// None: what is before the first section.
    Preamble,
    /// `[default]`.
    Default,
    /// `[[match]]`.
    Match,
}

pub(super) type Pair<'t> = (&'t str, Value<'t>);

/// A value of the kinds that the keys take.
#[derive(Clone, Copy)]
pub(super) enum Value<'t> {
    Flag(bool),
    Number(i64),
    Text(&'t str),
    /// The texts of a list, to be read again.
    Texts(Texts<'t>),
}

/// A place in the text: what is left from there on.
#[derive(Clone, Copy)]
pub(super) struct Place<'t>(&'t [u8]);

impl<'t> Place<'t> {
    /// Begins.
    pub(super) fn first(text: &'t [u8]) -> Self {
        Self(text)
    }

    /// Tells whether nothing is left.
    pub(super) fn is_last(self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is between here and there, if it is UTF-8.
    pub(super) fn up_to(self, end: Self) -> Option<&'t str> {
        let length = self.0.len().checked_sub(end.0.len())?;
        str::from_utf8(self.0.get(..length)?).ok()
    }

    /// Goes to the end of a text that has to be here.
    pub(super) fn after(self, text: &str) -> Option<Self> {
        self.0.strip_prefix(text.as_bytes()).map(Self)
    }

    /// Remembers what is from here to there.
    pub(super) fn beginning(self, end: Self) -> Option<Beginning> {
        Beginning::of(self.up_to(end)?.as_bytes())
    }

    /// Goes to the end of a beginning that has to be here.
    pub(super) fn after_beginning(self, beginning: &Beginning) -> Option<Self> {
        beginning.cut(self.0).map(Self)
    }

    /// Returns a number below 64 that is the same for lines of the same key, and seldom for others.
    pub(super) fn slot(self) -> usize {
        // The letters that tell the keys apart that sections have most.
        let [first, _, _, _, fifth, ..] = self.0 else { return 0 };
        usize::from((first ^ fifth.rotate_left(1)) % 64)
    }

    /// Reads the line that begins here, and goes to the next one.
    pub(super) fn line(&mut self) -> Line<'t> {
        let first = self.after_blanks();
        let (read, otherwise) = match first.peek() {
            None | Some(b'\n' | b'#') => (first.past().map(|next| (Line::Empty, next)), Line::Odd),
            Some(b'[') => (first.head(), Line::Foreign),
            Some(_) => (first.pair(), Line::Odd),
        };
        let (line, next) = read.unwrap_or_else(|| {
            let end = first.after_all(|byte| byte != b'\n');
            (otherwise, end.eat(b'\n').unwrap_or(end))
        });
        *self = next;
        line
    }

    fn head(self) -> Option<(Line<'t>, Self)> {
        let (line, end) = if let Some(end) = self.after("[[match]]") {
            (Line::Head(Head::Match), end)
        } else if let Some(end) = self.after("[[match.path]]") {
            (Line::Path, end)
        } else {
            (Line::Head(Head::Default), self.after("[default]")?)
        };
        Some((line, end.past()?))
    }

    fn pair(self) -> Option<(Line<'t>, Self)> {
        let (key, value) = self.key()?;
        let (value, end) = value.value()?;
        Some((Line::Pair(key, value), end.past()?))
    }

    /// Reads the key of a line, and goes to where its value begins.
    pub(super) fn key(self) -> Option<(&'t str, Self)> {
        let begin = self.after_blanks();
        let end = begin.after_all(is_of_key);
        let value = end.after_blanks().eat(b'=')?.after_blanks();
        Some((begin.up_to(end)?, value))
    }

    /// Goes to the value of a line that has to be of this key.
    pub(super) fn value_of(self, key: &str) -> Option<Self> {
        Some(self.after(key)?.after_blanks().eat(b'=')?.after_blanks())
    }

    /// Reads the value of a line.
    fn value(self) -> Option<(Value<'t>, Self)> {
        match self.peek()? {
            b'"' | b'\'' => {
                let (text, end) = self.quoted()?;
                Some((Value::Text(str::from_utf8(text).ok()?), end))
            }
            b'[' => {
                let end = self.list(|one| one.quoted().map(|(_, end)| end))?;
                Some((Value::Texts(Texts(self.eat(b'[')?.after_blanks())), end))
            }
            _ => self.flag().map(|(flag, end)| (Value::Flag(flag), end)).or_else(|| {
                let (number, end) = self.number()?;
                Some((Value::Number(number), end))
            }),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(self) -> Option<(bool, Self)> {
        let yes = self.after("true").map(|end| (true, end));
        yes.or_else(|| self.after("false").map(|end| (false, end)))
    }

    /// Reads decimal digits, without zeros before them.
    pub(super) fn number(self) -> Option<(i64, Self)> {
        let (mut number, mut end) = (0_i64, self.0);
        while let [byte @ b'0'..=b'9', rest @ ..] = end {
            number = number.checked_mul(10)?.checked_add(i64::from(byte & 0xf))?;
            end = rest;
        }
        let is_right = matches!(self.0, [b'1'..=b'9', ..]) || self.0.strip_prefix(b"0") == Some(end);
        is_right.then_some((number, Self(end)))
    }

    /// Reads a text that stands for itself: no escapes, no quotes inside, not several lines.
    #[inline]
    pub(super) fn quoted(self) -> Option<(&'t [u8], Self)> {
        let (begin, end) = self.0.split_at_checked(closing(self.0)?)?;
        Some((begin.get(1..)?, Self(end.get(1..)?)))
    }

    /// Reads a text by what takes it from the beginning and returns what follows.
    pub(super) fn quoted_as<T>(
        self,
        read: impl FnOnce(&'t [u8]) -> Option<(T, &'t [u8])>,
    ) -> Option<(T, Self)> {
        let (quote, text) = self.0.split_first().filter(|(byte, _)| matches!(byte, b'"' | b'\''))?;
        let (value, rest) = read(text)?;
        let (end, rest) = rest.split_first()?;
        (end == quote).then_some((value, Self(rest)))
    }

    /// Reads a list by what reads one of it.
    pub(super) fn list(self, mut read: impl FnMut(Self) -> Option<Self>) -> Option<Self> {
        let mut next = self.eat(b'[')?.after_blanks();
        loop {
            if let Some(end) = next.eat(b']') {
                return Some(end);
            }
            let end = read(next)?.after_blanks();
            next = match end.eat(b',') {
                Some(next) => next.after_blanks(),
                None if end.peek() == Some(b']') => end,
                None => return None,
            };
        }
    }

    /// Goes to the next line; nothing but a comment may be left of this one.
    pub(super) fn past(self) -> Option<Self> {
        // Nearly always there is nothing.
        self.eat(b'\n').or_else(|| self.past_comment())
    }

    #[inline(never)] // What there is nearly always is so short that it is not called.
    fn past_comment(self) -> Option<Self> {
        let begin = self.after_blanks();
        let end = if begin.peek() == Some(b'#') { begin.after_comment()? } else { begin };
        if end.is_last() { Some(end) } else { end.eat(b'\n') }
    }

    /// Goes past blanks.
    pub(super) fn after_blanks(self) -> Self {
        let mut left = self.0;
        while let [b' ' | b'\t', rest @ ..] = left {
            left = rest;
        }
        Self(left)
    }

    fn after_comment(self) -> Option<Self> {
        let end = Self(self.0.get(bytes::printable(self.0)..)?);
        match end.peek() {
            None | Some(b'\n') => Some(end),
            Some(_) => self.after_unusual_comment(),
        }
    }

    #[cold] // Words of other languages, or tabs.
    fn after_unusual_comment(self) -> Option<Self> {
        let end = self.after_all(|byte| byte == b'\t' || !byte.is_ascii_control());
        self.up_to(end).map(|_| end)
    }

    fn eat(self, byte: u8) -> Option<Self> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then_some(Self(rest))
    }

    /// Returns the byte that is here.
    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Goes past bytes up to one that is not wanted.
    fn after_all(self, is_wanted: impl Fn(u8) -> bool) -> Self {
        let count = self.0.iter().take_while(|&&byte| is_wanted(byte)).count();
        Self(self.0.get(count..).unwrap_or_default())
    }
}

/// Finds the last quote of a text that begins here.
#[inline(always)] // A text is nearly as short as what a call costs.
fn closing(bytes: &[u8]) -> Option<usize> {
    let quote = bytes.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let mut at = 1_usize;
    loop {
        at = at.wrapping_add(bytes::plain(bytes.get(at..)?));
        match bytes.get(at)? {
            // If two are the beginning of three, nobody who goes on from here takes the third.
            byte if byte == quote => return Some(at),
            b' '..=b'\'' => at = at.wrapping_add(1),
            _ => return None,
        }
    }
}

/// Tells whether a key may have this byte; each that there is, is made up of these.
fn is_of_key(byte: u8) -> bool {
    OF_KEYS.get(usize::from(byte)) == Some(&true)
}

const OF_KEYS: [bool; 256] = bytes::each_of(b"-abcdefghijklmnopqrstuvwxyz");

/// The texts of a list that is plain, and what follows it.
#[derive(Clone, Copy)]
pub(super) struct Texts<'t>(Place<'t>);

impl<'t> Iterator for Texts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let (text, end) = self.0.quoted()?;
        let end = end.after_blanks();
        self.0 = end.eat(b',').unwrap_or(end).after_blanks();
        str::from_utf8(text).ok()
    }
}

/// Has pairs read as the table that they are.
pub(super) fn table<'p, 't>(
    pairs: &'p [Pair<'t>],
) -> MapDeserializer<'t, impl Iterator<Item = (&'t str, &'p Value<'t>)>, Error> {
    MapDeserializer::new(pairs.iter().map(|(key, value)| (*key, value)))
}

impl<'t> IntoDeserializer<'t> for &Value<'t> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => visitor.visit_i64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Texts(texts) => visitor.visit_seq(SeqDeserializer::new(*texts)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Value::Text(text) => BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
