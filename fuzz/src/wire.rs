use arbitrary::{Arbitrary, Unstructured};
use filetime::FileTime;
use scp_server::attr::{Mode, Times};
use scp_server::name::FileName;
use scp_server::refusal::Cause;
use scp_server::wire::{Complaint, Record, Reply, escape};

use crate::naive::{self, Line};

/// Bytes of a complaint that every client can hold.
const COMPLAINT: usize = 2046;

pub fn run(data: &[u8]) {
    data.split(|&byte| byte == b'\n').for_each(check_line);
    check_complaint(data);
    if let Ok(Fields { mode, size, kind, seconds, name }) = Fields::arbitrary(&mut Unstructured::new(data)) {
        let time = FileTime::from_unix_time(seconds, 0);
        let mode = Mode::new(mode);
        let Some(name) = FileName::new(name) else { return };
        check_written(&match kind % 3 {
            0 => Record::File { mode, size: size.min(i64::MAX as u64), name: Some(name) },
            1 => Record::Directory { mode, name },
            _ => Record::Times(Times { modified: time, accessed: time }),
        });
    }
}

#[derive(Arbitrary)]
struct Fields<'a> {
    mode: u32,
    size: u64,
    kind: u8,
    seconds: i64,
    name: &'a [u8],
}

/// Parses a line, compares it with a second reading of it, writes it and parses it again.
fn check_line(line: &[u8]) {
    let parsed = Record::parse(line);
    assert_eq!(parsed.as_ref().ok().map(plain), naive::line(line), "{}", line.escape_ascii());
    match &parsed {
        Ok(_) => assert!(Record::begins_with(line[0]).is_ok()),
        Err(violation) => {
            let words = violation.to_string();
            assert!(words.len() < 100 + line.len() * 8 && !words.chars().any(moves), "{words:?}");
        }
    }
    if let Ok(record) = parsed {
        check_written(&record);
    }
    if let Some((&byte, text)) = line.split_first() {
        let reply = Reply::parse(byte, text);
        assert_eq!(reply == Reply::Ok, byte == 0);
    }
}

/// A record is one line, and what is read from it is the record again, as far as clients want to know it.
fn check_written(record: &Record) {
    let written = record.write();
    let (&newline, line) = written.split_last().unwrap();
    assert_eq!(newline, b'\n');
    assert!(!line.contains(&b'\n'), "{record:?}");
    let read = Record::parse(line).unwrap();
    assert_eq!(read.write(), written);
    match (record, &read) {
        (Record::Times(before), Record::Times(after)) => {
            assert_eq!(before.modified.unix_seconds().max(0), after.modified.unix_seconds());
            assert_eq!(before.accessed.unix_seconds().max(0), after.accessed.unix_seconds());
        }
        (Record::File { name: Some(name), .. } | Record::Directory { name, .. }, _)
            if name.as_bytes().contains(&b'\n') => {}
        _ => assert_eq!(*record, read),
    }
}

/// A complaint about anything is one line that every client can hold and no terminal is moved by.
fn check_complaint(name: &[u8]) {
    let escaped = escape(name);
    assert!(!escaped.chars().any(moves), "{escaped:?}");
    assert_eq!(unescape(&escaped), name);
    // Once in a while what is too long.
    let times = if name.len().is_multiple_of(8) { 2000 / name.len().max(1) } else { 0 };
    let long = name.repeat(times + 1);
    for complaint in [
        Complaint::about(name, &Cause::NotRegular),
        Complaint::about(&long, &Cause::TooLarge { size: u64::MAX, limit: 0 }),
        Complaint::plain(escaped),
    ] {
        let line = String::from_utf8(complaint.write()).unwrap();
        assert!(line.len() <= COMPLAINT, "{}", line.len());
        let text = line.strip_prefix("\x01scp: ").unwrap().strip_suffix('\n').unwrap();
        assert!(!text.chars().any(moves), "{text:?}");
    }
}

/// Tells whether a character does more to a terminal than stand in its place.
pub fn moves(character: char) -> bool {
    let code = u32::from(character);
    code < 0x20
        || (0x7f..0xa0).contains(&code)
        || code == 0x61c
        || (0x200e..=0x200f).contains(&code)
        || (0x2028..=0x202e).contains(&code)
        || (0x2066..=0x2069).contains(&code)
}

/// Reads what `escape` wrote: no two names look the same.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(rest[..at].as_bytes());
        let code = &rest[at + 1..];
        let width = match code.as_bytes()[0] {
            b'\\' => (bytes.push(b'\\'), 1).1,
            b'n' => (bytes.push(b'\n'), 1).1,
            b'r' => (bytes.push(b'\r'), 1).1,
            b't' => (bytes.push(b'\t'), 1).1,
            b'x' => (bytes.push(u8::from_str_radix(&code[1..3], 16).unwrap()), 3).1,
            b'u' => {
                let end = code.find('}').unwrap();
                let point = u32::from_str_radix(&code[2..end], 16).unwrap();
                bytes.extend_from_slice(char::from_u32(point).unwrap().to_string().as_bytes());
                end + 1
            }
            other => panic!("an escape that nobody knows: {}", char::from(other)),
        };
        rest = &code[width..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Puts a record into the words of the second reading.
fn plain(record: &Record) -> Line {
    let time = |time: FileTime| (time.unix_seconds(), time.nanoseconds());
    match record {
        Record::Complaint(_) => Line::Complaint,
        Record::Directory { mode, name } => {
            Line::Directory { mode: mode.bits(), name: name.as_bytes().to_vec() }
        }
        Record::End => Line::End,
        Record::File { mode, size, name } => Line::File {
            mode: mode.bits(),
            size: *size,
            name: name.as_ref().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        },
        Record::GivenUp(_) => Line::GivenUp,
        Record::Times(times) => Line::Times(time(times.modified), time(times.accessed)),
    }
}
