//! `key=value` for people: words and numbers as they are, everything else in quotes.

use crate::audit::fields::{Field, Value};
use crate::wire::escape;

/// Bytes of a name in a line that somebody reads.
pub(super) const NAME: usize = 1024;

pub(super) fn write(fields: &[Field<'_>], limit: usize) -> String {
    let words: Vec<String> =
        fields.iter().map(|Field { key, value }| format!("{key}={}", value_of(value, limit))).collect();
    words.join(" ")
}

fn value_of(value: &Value<'_>, limit: usize) -> String {
    match value {
        Value::Flag(true) => "yes".to_owned(),
        Value::Flag(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Seconds(time) => format!("{:.6}", time.as_secs_f64()),
        Value::Text(bytes) => quoted(bytes, limit),
        Value::Word(word) => word.to_string(),
    }
}

/// Puts a value in quotes so that it is one value, on one line, and can only be read.
fn quoted(bytes: &[u8], limit: usize) -> String {
    let (kept, dots) = super::cut(bytes, limit);
    // A quote is escaped as a backslash is, so that all of it can be turned back.
    format!("\"{}{dots}\"", escape(kept).replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: security LOG-01
    #[test]
    fn a_value_is_on_one_line_and_can_only_be_read() {
        let name = b"x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\xc2\x9b\xe2\x80\xae \"q\" \\ \xff";
        assert_eq!(
            quoted(name, NAME),
            r#""x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\u{9b}\u{202e} \"q\" \\ \xff""#
        );
        assert_eq!(quoted(&[b'a'; 4096], 8), "\"aaaaaaaa...\"");
    }
}
