//! Plain lines: `key = "value"  # comment`, and the heads of sections. What is not plain is told apart, not read.

use serde::de::value::{BorrowedStrDeserializer, Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::bytes;

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
    /// What is said in tables of one name, such as `[[match.path]]`; no line has that as a value.
    Tables(&'t [Vec<Pair<'t>>]),
}

/// A place in the text: what is left from there on.
#[derive(Clone, Copy)]
pub(super) struct Place<'t>(&'t str);

impl<'t> Place<'t> {
    /// Begins.
    pub(super) fn first(text: &'t str) -> Self {
        Self(text)
    }

    /// Tells whether nothing is left.
    pub(super) fn is_last(self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is between here and there.
    pub(super) fn up_to(self, end: Self) -> &'t str {
        self.0.get(..self.length_to(end)).unwrap_or_default()
    }

    /// Counts the bytes from here to there.
    pub(super) fn length_to(self, end: Self) -> usize {
        self.0.len().saturating_sub(end.0.len())
    }

    /// Counts the lines from here to there.
    pub(super) fn lines_to(self, end: Self) -> usize {
        self.up_to(end).bytes().filter(|&byte| byte == b'\n').count()
    }

    /// Goes on by so many bytes; to the end if there are none so many, or a letter would be cut through.
    pub(super) fn plus(self, length: usize) -> Self {
        Self(self.0.get(length..).unwrap_or_default())
    }

    /// Counts the bytes that are the same here and there, of the first so many.
    pub(super) fn alike(self, other: Self, most: usize) -> usize {
        bytes::alike(self.rest(), other.rest(), most)
    }

    /// Goes to the end of a text that has to be here.
    pub(super) fn after(self, text: &str) -> Option<Self> {
        self.rest().starts_with(text.as_bytes()).then_some(self.plus(text.len()))
    }

    /// Returns a number below 64 that is the same for lines of the same key, and seldom for others.
    pub(super) fn beginning(self) -> usize {
        // The letters that tell the keys apart that sections have most.
        let [first, _, _, _, fifth, ..] = self.rest() else { return 0 };
        usize::from((first ^ fifth.rotate_left(1)) % 64)
    }

    /// Goes past lines in which there is nothing, or only a comment.
    pub(super) fn skip_empty(&mut self) {
        while let Some(b'\n' | b'#') = self.peek()
            && let Some(next) = self.past()
        {
            *self = next;
        }
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
            let (_, end) = first.span(|byte| byte != b'\n');
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
        let (value, next) = value.value()?;
        Some((Line::Pair(key, value), next))
    }

    /// Reads the key of a line, and goes to where its value begins.
    pub(super) fn key(self) -> Option<(&'t str, Self)> {
        let (key, end) = self.after_blanks().span(is_of_key);
        let value = end.after_blanks().eat(b'=')?.after_blanks();
        Some((key, value))
    }

    /// Reads a text, and goes to the next line. So many bytes of it, with the quote, are known to be plain.
    pub(super) fn text(self, known: usize) -> Option<(&'t str, Self)> {
        let end = self.closing(known)?;
        let text = self.0.get(1..end)?;
        let next = match self.rest().get(end.wrapping_add(1)) {
            Some(b'\n') => Self(self.0.get(end.wrapping_add(2)..)?),
            _ => self.plus(end.wrapping_add(1)).past()?,
        };
        Some((text, next))
    }

    /// Reads a list of texts, each of which is taken, and goes to the next line.
    pub(super) fn texts(self, take: impl FnMut(&'t str) -> Option<()>) -> Option<Self> {
        self.list(take)?.past()
    }

    /// Reads the value of a line, and goes to the next one.
    pub(super) fn value(self) -> Option<(Value<'t>, Self)> {
        let (value, end) = match self.peek()? {
            b'"' | b'\'' => self.quoted().map(|(text, end)| (Value::Text(text), end))?,
            b'[' => (Value::Texts(Texts(self.plus(1).after_blanks())), self.list(|_| Some(()))?),
            _ => self.word()?,
        };
        Some((value, end.past()?))
    }

    fn word(self) -> Option<(Value<'t>, Self)> {
        let (word, end) = self.span(|byte| byte.is_ascii_alphanumeric());
        let value = match word {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            digits if digits.len() > 1 && digits.starts_with('0') => return None,
            digits => Value::Number(digits.parse().ok()?),
        };
        Some((value, end))
    }

    /// Reads a text that stands for itself: no escapes, no quotes inside, not several lines.
    fn quoted(self) -> Option<(&'t str, Self)> {
        let end = self.closing(1)?;
        Some((self.0.get(1..end)?, Self(self.0.get(end.wrapping_add(1)..)?)))
    }

    /// Finds the last quote of such a text, of which so many bytes are known to be plain.
    fn closing(self, known: usize) -> Option<usize> {
        let bytes = self.rest();
        let quote = bytes.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let known = known.max(1);
        let end = known.wrapping_add(bytes::printable(bytes.get(known..)?, [*quote, b'\\']));
        // Two quotes may be the beginning of three.
        (bytes.get(end) == Some(quote) && bytes.get(end.wrapping_add(1)) != Some(quote)).then_some(end)
    }

    fn list(self, mut take: impl FnMut(&'t str) -> Option<()>) -> Option<Self> {
        let mut next = self.eat(b'[')?.after_blanks();
        loop {
            if let Some(end) = next.eat(b']') {
                return Some(end);
            }
            let (text, end) = next.quoted()?;
            take(text)?;
            let end = end.after_blanks();
            next = match end.eat(b',') {
                Some(next) => next.after_blanks(),
                None if end.peek() == Some(b']') => end,
                None => return None,
            };
        }
    }

    /// Goes to the next line; nothing but a comment may be left of this one.
    fn past(self) -> Option<Self> {
        let mut end = self.after_blanks();
        if end.peek() == Some(b'#') {
            end = end.after_comment();
        }
        if end.is_last() { Some(end) } else { end.eat(b'\n') }
    }

    fn after_blanks(self) -> Self {
        self.span(|byte| matches!(byte, b' ' | b'\t')).1
    }

    fn after_comment(self) -> Self {
        let mut end = self;
        loop {
            end = end.plus(bytes::uncontrolled(end.rest()));
            match end.eat(b'\t') {
                Some(next) => end = next,
                None => return end,
            }
        }
    }

    fn eat(self, byte: u8) -> Option<Self> {
        (self.peek() == Some(byte)).then_some(self.plus(1))
    }

    /// Returns the byte that is here.
    pub(super) fn peek(self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Takes bytes up to one that is not wanted.
    fn span(self, is_wanted: impl Fn(u8) -> bool) -> (&'t str, Self) {
        let count = self.rest().iter().take_while(|&&byte| is_wanted(byte)).count();
        let end = self.plus(count);
        (self.up_to(end), end)
    }

    fn rest(self) -> &'t [u8] {
        self.0.as_bytes()
    }
}

/// Tells whether a key may have this byte; each that there is, is made up of these.
fn is_of_key(byte: u8) -> bool {
    OF_KEYS.get(usize::from(byte)) == Some(&true)
}

const OF_KEYS: [bool; 256] = each_of(b"-abcdefghijklmnopqrstuvwxyz");

#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "done by the compiler, which would say")]
const fn each_of(bytes: &[u8]) -> [bool; 256] {
    let (mut table, mut left) = ([false; 256], bytes);
    while let [byte, rest @ ..] = left {
        table[*byte as usize] = true;
        left = rest;
    }
    table
}

/// The texts of a list that is plain, and what follows it.
#[derive(Clone, Copy)]
pub(super) struct Texts<'t>(Place<'t>);

impl<'t> Iterator for Texts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let (text, end) = self.0.quoted()?;
        let end = end.after_blanks();
        self.0 = end.eat(b',').unwrap_or(end).after_blanks();
        Some(text)
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
            Value::Tables(tables) => {
                visitor.visit_seq(SeqDeserializer::new(tables.iter().map(|pairs| table(pairs))))
            }
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
