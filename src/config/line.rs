//! Plain lines: `key = "value"  # comment`, and the heads of sections. What is not plain is told apart, not read.

use serde::de::value::{BorrowedStrDeserializer, Error, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// What a line is to the sections.
pub(super) enum Line<'t> {
    /// The first one of a piece.
    Head(Head),
    /// The head of some other table, or the middle of a list: not for us.
    Foreign,
    /// Of the piece that we are in, such as `[[match.path]]`, but not plain.
    Odd,
    /// Nothing, or a comment.
    Empty,
    /// A plain line: `key = "value"  # comment`.
    Pair(Pair<'t>),
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

/// A key and its value.
pub(super) type Pair<'t> = (&'t str, Value<'t>);

/// A value of the kinds that the keys take.
#[derive(Clone, Debug)]
pub(super) enum Value<'t> {
    Flag(bool),
    Number(i64),
    Text(&'t str),
    Texts(Vec<&'t str>),
}

/// A place in the text. Nothing but `line` goes past the end of a line.
pub(super) struct Cursor<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Cursor<'t> {
    /// Reads a line, and goes to the next one.
    pub(super) fn line(&mut self) -> Line<'t> {
        self.skip_blanks();
        let line = match self.peek() {
            None | Some(b'\n' | b'#') => Line::Empty,
            Some(b'[') => self.head(),
            Some(_) => self.pair().map_or(Line::Odd, Line::Pair),
        };
        if !self.eat(b'\n') {
            self.take(|byte| byte != b'\n');
            self.eat(b'\n');
        }
        line
    }

    fn head(&mut self) -> Line<'t> {
        let heads: [(&[u8], _); 3] = [
            (b"[[match]]", Line::Head(Head::Match)),
            (b"[default]", Line::Head(Head::Default)),
            (b"[[match.path]]", Line::Odd),
        ];
        for (head, line) in heads {
            if self.rest().starts_with(head) {
                self.at = self.at.saturating_add(head.len());
                return if self.is_over() { line } else { Line::Foreign };
            }
        }
        Line::Foreign
    }

    fn pair(&mut self) -> Option<Pair<'t>> {
        let key = self.take(is_bare);
        self.skip_blanks();
        if key.is_empty() || !self.eat(b'=') {
            return None;
        }
        self.skip_blanks();
        let value = match self.peek()? {
            b'"' | b'\'' => Value::Text(self.quoted()?),
            b'[' => Value::Texts(self.list()?),
            _ => match self.take(is_bare) {
                "true" => Value::Flag(true),
                "false" => Value::Flag(false),
                digits if digits.len() > 1 && digits.starts_with('0') => return None,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Value::Number(digits.parse().ok()?)
                }
                _ => return None,
            },
        };
        self.is_over().then_some((key, value))
    }

    /// Reads a text that stands for itself: no escapes, not several lines.
    fn quoted(&mut self) -> Option<&'t str> {
        let quote = self.peek().filter(|quote| matches!(quote, b'"' | b'\''))?;
        self.eat(quote);
        let inside = self.take(|byte| byte != quote && !matches!(byte, b'\\' | b'\n'));
        // Two quotes may be the beginning of three.
        (self.eat(quote) && !self.eat(quote)).then_some(inside)
    }

    fn list(&mut self) -> Option<Vec<&'t str>> {
        let mut texts = Vec::new();
        self.eat(b'[');
        self.skip_blanks();
        while !self.eat(b']') {
            texts.push(self.quoted()?);
            self.skip_blanks();
            if !self.eat(b',') && self.peek() != Some(b']') {
                return None;
            }
            self.skip_blanks();
        }
        Some(texts)
    }

    /// Tells whether nothing but a comment is left of the line.
    fn is_over(&mut self) -> bool {
        self.skip_blanks();
        matches!(self.peek(), None | Some(b'\n' | b'#'))
    }

    pub(super) fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at = self.at.saturating_add(usize::from(is_there));
        is_there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at = self.at.saturating_add(1);
        }
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
        let (begin, end) = (self.at, self.at.saturating_add(length));
        self.at = end;
        self.text.get(begin..end).unwrap_or_default()
    }
}

fn is_bare(byte: u8) -> bool {
    // What is likely first: this is asked of every other byte of the file.
    byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_alphanumeric() || byte == b'_'
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
            Value::Texts(texts) => visitor.visit_seq(SeqDeserializer::new(texts.iter().copied())),
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
