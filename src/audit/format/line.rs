//! `key=value` for people: words and numbers as they are, everything else in quotes.

use crate::audit::fields::{Field, Value};

/// Bytes of a name in a line that somebody reads.
pub(super) const NAME: usize = 1024;

pub(super) fn write(fields: &[Field<'_>], limit: usize) -> String {
    let words: Vec<String> = fields.iter().map(|field| pair(field, limit)).collect();
    words.join(" ")
}

fn pair(Field { key, value }: &Field<'_>, limit: usize) -> String {
    let bare = bare(value, limit);
    match value {
        // A quote is escaped as a backslash is, so that all of it can be turned back.
        Value::Text(_) => format!("{key}=\"{}\"", bare.replace('"', "\\\"")),
        Value::Flag(_) | Value::Number(_) | Value::Seconds(_) | Value::Word(_) => format!("{key}={bare}"),
    }
}

/// Writes a value so that it is on one line, and can only be read.
pub(super) fn bare(value: &Value<'_>, limit: usize) -> String {
    match value {
        Value::Flag(true) => "yes".to_owned(),
        Value::Flag(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Seconds(time) => format!("{:.6}", time.as_secs_f64()),
        Value::Text(bytes) => super::shown(bytes, limit),
        Value::Word(word) => word.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: security LOG-01
    #[test]
    fn a_value_is_on_one_line_and_can_only_be_read() {
        let name = b"x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\xc2\x9b\xe2\x80\xae \"q\" \\ \xff";
        let path = |name: &'static [u8]| Field { key: "path", value: Value::Text(name.into()) };
        assert_eq!(
            pair(&path(name), NAME),
            r#"path="x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\u{9b}\u{202e} \"q\" \\ \xff""#
        );
        assert_eq!(pair(&path(&[b'a'; 4096]), 8), "path=\"aaaaaaaa...\"");
    }
}
