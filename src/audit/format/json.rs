//! An object of JSON on a line, in ASCII, for programs.
//!
//! A text that is UTF-8 is a string of the same characters. One that is not has U+FFFD in the place of what is none, and
//! beside it, under its key and `_hex`, all of its bytes. Keys of values that were cut are listed under `cut`.
//!
//! By hand: a library leaves characters as they are that turn the writing round or move a cursor (U+202E, U+009B), and
//! the line is for terminals, too.

use jiff::Timestamp;

use crate::audit::fields::{Field, Value, hex};

pub(super) fn write(now: Timestamp, fields: &[Field<'_>], limit: usize) -> String {
    let mut members = vec![format!("\"time\":\"{now:.3}\""), format!("\"pid\":{}", std::process::id())];
    let mut cut = Vec::new();
    for Field { key, value } in fields {
        let written = match value {
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Seconds(time) => format!("{:.6}", time.as_secs_f64()),
            Value::Word(word) => string(word),
            Value::Text(bytes) => {
                let (mut kept, dots) = super::cut(bytes, limit);
                if !dots.is_empty() {
                    cut.push(string(key));
                    kept = whole_characters(kept);
                }
                if std::str::from_utf8(kept).is_err() {
                    members.push(format!("\"{key}_hex\":\"{}\"", hex(kept)));
                }
                string(&String::from_utf8_lossy(kept))
            }
        };
        members.push(format!("\"{key}\":{written}"));
    }
    if !cut.is_empty() {
        members.push(format!("\"cut\":[{}]", cut.join(",")));
    }
    format!("{{{}}}", members.join(","))
}

/// Leaves out a character at the end that was cut in two.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

/// Writes a string of JSON: printable ASCII, all else as its UTF-16 units.
fn string(text: &str) -> String {
    let mut string = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => string.extend(['\\', character]),
            ' '..='~' => string.push(character),
            _ => character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| string.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], limit: usize) -> String {
        let fields = [Field { key: "path", value: Value::Text(bytes.into()) }];
        let line = write(Timestamp::UNIX_EPOCH, &fields, limit);
        let (head, rest) = line.split_once(",\"pid\":").unwrap();
        assert_eq!(head, "{\"time\":\"1970-01-01T00:00:00.000Z\"");
        rest.split_once(',').unwrap().1.trim_end_matches('}').to_owned()
    }

    // covers: security LOG-01
    #[test]
    fn a_string_is_ascii_and_stands_for_the_same_characters() {
        let name = "a\"b\\c\n\u{7f}\u{9b}\u{202e}\u{2028}é\u{1f600}";
        let expected = r#""path":"a\"b\\c\u000a\u007f\u009b\u202e\u2028\u00e9\ud83d\ude00""#;
        assert_eq!(written(name.as_bytes(), 99), expected);
    }

    #[test]
    fn bytes_that_are_no_text_are_there_as_well() {
        assert_eq!(written(b"a\xff", 99), r#""path_hex":"61ff","path":"a\ufffd""#);
    }

    #[test]
    fn what_was_cut_says_so_and_ends_with_a_whole_character() {
        assert_eq!(written("aaé".as_bytes(), 3), r#""path":"aa","cut":["path"]"#);
        assert_eq!(written("aaé".as_bytes(), 4), r#""path":"aa\u00e9""#);
    }
}
