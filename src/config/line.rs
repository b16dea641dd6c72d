//! Plain lines: `key = "value"  # comment`, and the heads of sections. What is not plain is told apart, not read.

use serde::de::value::{BorrowedStrDeserializer, Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

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

/// A place in the text.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Place<'t> {
    /// Begins.
    pub(super) fn first(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Tells whether nothing is left.
    pub(super) fn is_last(self) -> bool {
        self.at >= self.text.len()
    }

    /// Returns what is between here and there.
    pub(super) fn up_to(self, end: Self) -> &'t str {
        self.text.get(self.at..end.at).unwrap_or_default()
    }

    /// Counts the lines from here to there.
    pub(super) fn lines_to(self, end: Self) -> usize {
        self.up_to(end).bytes().filter(|&byte| byte == b'\n').count()
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

    /// Tells whether a section begins here, or something that is not for us.
    pub(super) fn is_at_head(self) -> bool {
        self.peek() == Some(b'[') && self.after("[[match.path]]").is_none()
    }

    /// Goes past lines in which there is nothing at all.
    pub(super) fn skip_empty(&mut self) {
        while let Some(next) = self.eat(b'\n') {
            *self = next;
        }
    }

    /// Reads the line that begins here, and goes to the next one.
    pub(super) fn line(&mut self) -> Line<'t> {
        let first = self.after_blanks();
        let (line, end) = match first.peek() {
            None | Some(b'\n' | b'#') => (Line::Empty, first),
            Some(b'[') => first.head().unwrap_or((Line::Foreign, first)),
            Some(_) => first.pair().unwrap_or((Line::Odd, first)),
        };
        let end = if end.peek() == Some(b'\n') { end } else { end.after_comment() };
        *self = end.eat(b'\n').unwrap_or(end);
        if end.at < self.at || self.is_last() {
            return line;
        }
        // A letter that no comment may have.
        let (_, end) = end.span(|byte| byte != b'\n');
        *self = end.eat(b'\n').unwrap_or(end);
        match line {
            Line::Head(_) | Line::Foreign => Line::Foreign,
            Line::Path | Line::Odd | Line::Empty | Line::Pair(..) => Line::Odd,
        }
    }

    fn head(self) -> Option<(Line<'t>, Self)> {
        let (line, end) = if let Some(end) = self.after("[[match]]") {
            (Line::Head(Head::Match), end)
        } else if let Some(end) = self.after("[[match.path]]") {
            (Line::Path, end)
        } else {
            (Line::Head(Head::Default), self.after("[default]")?)
        };
        Some((line, end.over()?))
    }

    fn pair(self) -> Option<(Line<'t>, Self)> {
        let (key, end) = self.span(is_of_key);
        let value = end.after_blanks().eat(b'=')?.after_blanks();
        let (value, end) = match value.peek()? {
            b'"' | b'\'' => value.quoted().map(|(text, end)| (Value::Text(text), end))?,
            b'[' => value.list().map(|(texts, end)| (Value::Texts(texts), end))?,
            _ => value.word()?,
        };
        Some((Line::Pair(key, value), end.over()?))
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
        let quote = self.peek().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let (inside, end) = self.plus(1).span(is_plain);
        let end = end.eat(quote)?;
        // Two quotes may be the beginning of three.
        (end.peek() != Some(quote)).then_some((inside, end))
    }

    fn list(self) -> Option<(Texts<'t>, Self)> {
        let first = self.eat(b'[')?.after_blanks();
        let mut next = first;
        loop {
            if let Some(end) = next.eat(b']') {
                return Some((Texts(first), end));
            }
            let (_, end) = next.quoted()?;
            let end = end.after_blanks();
            next = match end.eat(b',') {
                Some(next) => next.after_blanks(),
                None if end.peek() == Some(b']') => end,
                None => return None,
            };
        }
    }

    /// Goes to the end of the line, or to a comment; nothing else may be left of it.
    fn over(self) -> Option<Self> {
        let end = self.after_blanks();
        matches!(end.peek(), None | Some(b'\n' | b'#')).then_some(end)
    }

    fn after_blanks(self) -> Self {
        self.span(|byte| matches!(byte, b' ' | b'\t')).1
    }

    fn after_comment(self) -> Self {
        let mut end = self;
        // Without an early end, which lets the compiler take many bytes at once.
        while let Some(many) = end.rest().first_chunk::<16>()
            && many.iter().fold(true, |yes, &byte| yes & is_of_comment(byte))
        {
            end = end.plus(many.len());
        }
        end.span(is_of_comment).1
    }

    fn eat(self, byte: u8) -> Option<Self> {
        (self.peek() == Some(byte)).then_some(self.plus(1))
    }

    fn peek(self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes bytes up to one that is not wanted.
    fn span(self, is_wanted: impl Fn(u8) -> bool) -> (&'t str, Self) {
        let mut end = self;
        while end.peek().is_some_and(&is_wanted) {
            end = end.plus(1);
        }
        (self.up_to(end), end)
    }

    fn plus(self, length: usize) -> Self {
        Self { at: self.at.saturating_add(length), ..self }
    }

    fn rest(self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// Tells whether a key may have this byte; each that there is, is made up of these.
fn is_of_key(byte: u8) -> bool {
    OF_KEYS.get(usize::from(byte)) == Some(&true)
}

/// Tells whether a byte stands for itself wherever there are quotes around it.
fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)) == Some(&true)
}

// Tables, as every byte of a file is asked about.
const OF_KEYS: [bool; 256] = each_of(b"-abcdefghijklmnopqrstuvwxyz");
const PLAIN: [bool; 256] =
    each_of(b" !#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~");

#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "done by the compiler, which would say")]
const fn each_of(bytes: &[u8]) -> [bool; 256] {
    let (mut table, mut left) = ([false; 256], bytes);
    while let [byte, rest @ ..] = left {
        table[*byte as usize] = true;
        left = rest;
    }
    table
}

/// Tells whether a comment may have this byte: control characters are not allowed.
fn is_of_comment(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
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
