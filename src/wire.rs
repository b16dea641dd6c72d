//! The grammar of the SCP protocol: bytes to records and replies, and back. Nothing is read or written here.
//!
//! # The protocol
//!
//! Two programs talk over two pipes: the *source* sends records and contents, the *sink* answers. A record is one
//! line:
//!
//! | record | meaning |
//! | --- | --- |
//! | `Cmmmm size name` | a file: mode in octal, size in bytes; its contents follow when the sink has answered |
//! | `Dmmmm 0 name` | a directory: what follows is in it, until its `E` |
//! | `E` | the end of a directory |
//! | `Tmtime usec atime usec` | the times of the `C` or `D` that follows |
//! | `\1text` | a complaint: something could not be read; it is not answered |
//!
//! A reply is one byte, `\0` for yes, or `\1text\n`: told and gone on. After the contents, exactly *size* bytes, the
//! source sends a reply of its own, `\0`: all of it was read, and the sink answers once more.
//!
//! So everything that the source sends, `T`, `C`, contents, `D`, `E`, has exactly one answer, and both sides keep in
//! step by counting. An answer too many or too few, and the sink takes contents for records (CVE-2020-12062).

use std::fmt;

use filetime::FileTime;

use crate::attr::{Mode, Times};
use crate::name::{FileName, is_deceptive};

/// Bytes of a line, its newline included. A longer one ends the session: its tail is never the next record.
pub const LINE: usize = 4096;

/// Bytes that most lines have room in.
const USUAL: usize = 64;

/// Bytes of a reply that every client can hold (OpenSSH reads 2,047), `\1` and newline included.
const REPLY: usize = 2046;

/// One line from the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// The source could not read something; it goes on.
    Complaint(Vec<u8>),
    /// `D`: go into a directory.
    Directory {
        /// Its mode once all is in it.
        mode: Mode,
        /// Its name.
        name: FileName,
    },
    /// `E`: leave the directory.
    End,
    /// `C`: a file, and how many bytes of contents follow.
    File {
        /// The file's mode.
        mode: Mode,
        /// Bytes of contents.
        size: u64,
        /// None where the source left it empty: harmless where the target's own name is used (libssh2 with a path
        /// that ends in a slash, SSH.NET up to 2016.1).
        name: Option<FileName>,
    },
    /// `\2`: the source gives up.
    GivenUp(Vec<u8>),
    /// `T`: the times of what follows.
    Times(Times),
}

/// What the other side says to a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Anything else: a line of text from something that is not an scp.
    Garbage(Vec<u8>),
    /// `\2`: refused, and no more.
    GivenUp(Vec<u8>),
    /// `\0`
    Ok,
    /// `\1`: refused; the next one, please.
    Refused(Vec<u8>),
}

/// A line that is no record: there is no staying in step after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Violation {
    /// The mode is not 1 to 12 octal digits.
    BadMode,
    /// This name is empty, `.`, `..` or has a slash: it means another place than an entry of this directory.
    BadName(Vec<u8>),
    /// The size is not a number, or over 2^63-1.
    BadSize,
    /// The times are not four numbers, or the microseconds are over 999,999.
    BadTimes,
    /// The stream ended where a record, a line's end or contents were due.
    CutShort,
    /// `D` in a copy that is not recursive.
    DirectoryWithoutRecursion,
    /// More than a letter where only a letter is due.
    ExtraBytes,
    /// A line of more than [`LINE`] bytes.
    LineTooLong,
    /// A NUL in a line.
    Nul,
    /// The byte after the contents is neither `\0` nor a complaint.
    NoStatus,
    /// `T` that nothing follows.
    TimesOfNothing,
    /// A first byte that no record begins with.
    UnknownRecord(u8),
}

impl Record {
    /// Accepts the first byte of a record.
    ///
    /// # Errors
    /// No record begins so.
    pub fn begins_with(byte: u8) -> Result<(), Violation> {
        if matches!(byte, b'C' | b'D' | b'E' | b'T' | 1 | 2) {
            Ok(())
        } else {
            Err(Violation::UnknownRecord(byte))
        }
    }

    /// Reads a record from its line, the newline taken off.
    ///
    /// # Errors
    /// What is wrong with it. Nothing after a wrong line can be understood.
    pub fn parse(line: &[u8]) -> Result<Self, Violation> {
        if line.contains(&0) {
            // C strings ended here once, and `a\0b` was stored as `a`.
            return Err(Violation::Nul);
        }
        match line.split_first() {
            Some((b'C', rest)) => parse_file(rest),
            Some((b'D', rest)) => parse_directory(rest),
            Some((b'E', [])) => Ok(Self::End),
            Some((b'E', _)) => Err(Violation::ExtraBytes),
            Some((b'T', rest)) => parse_times(rest).map(Self::Times),
            Some((1, text)) => Ok(Self::Complaint(text.to_vec())),
            Some((2, text)) => Ok(Self::GivenUp(text.to_vec())),
            Some((&byte, _)) => Err(Violation::UnknownRecord(byte)),
            None => Err(Violation::UnknownRecord(b'\n')),
        }
    }

    /// Writes the record as its line, newline included: a mode of exactly four digits, a directory's size 0 and
    /// microseconds of 0, because there are clients that read nothing else.
    pub fn write(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(USUAL);
        match self {
            Self::Complaint(text) => line.extend([b"\x01", text.as_slice()].concat()),
            Self::Directory { mode, .. } => {
                line.push(b'D');
                line.extend(four_digits(*mode));
                line.extend(b" 0 ");
            }
            Self::End => line.push(b'E'),
            Self::File { mode, size, .. } => {
                line.push(b'C');
                line.extend(four_digits(*mode));
                line.push(b' ');
                line.extend_from_slice(size.to_string().as_bytes());
                line.push(b' ');
            }
            Self::GivenUp(text) => line.extend([b"\x02", text.as_slice()].concat()),
            Self::Times(times) => {
                let seconds = |time: FileTime| time.unix_seconds().max(0);
                let times = format!("T{} 0 {} 0", seconds(times.modified), seconds(times.accessed));
                line.extend(times.into_bytes());
            }
        }
        if let Self::Directory { name, .. } | Self::File { name: Some(name), .. } = self {
            write_name(name, &mut line);
        }
        line.push(b'\n');
        line
    }
}

/// Writes the permission bits; one by one, because it is done for each file, and formatting takes ten times as long.
fn four_digits(mode: Mode) -> impl Iterator<Item = u8> {
    let digit = move |place: u32| u8::try_from(mode.bits().wrapping_shr(place) & 7).unwrap_or(0);
    [9, 6, 3, 0].into_iter().map(move |place| b'0'.wrapping_add(digit(place)))
}

/// Writes a newline as `\^J`, as OpenSSH does: a raw one would forge a record.
fn write_name(name: &FileName, line: &mut Vec<u8>) {
    for (number, piece) in name.as_bytes().split(|&byte| byte == b'\n').enumerate() {
        if number > 0 {
            line.extend_from_slice(b"\\^J");
        }
        line.extend_from_slice(piece);
    }
}

fn parse_file(rest: &[u8]) -> Result<Record, Violation> {
    let (mode, size, name) = parse_entry(rest)?;
    let name = match name {
        b"" => None,
        _ => Some(FileName::new(name).ok_or_else(|| Violation::BadName(name.to_vec()))?),
    };
    Ok(Record::File { mode, size, name })
}

fn parse_directory(rest: &[u8]) -> Result<Record, Violation> {
    let (mode, _, name) = parse_entry(rest)?;
    Ok(Record::Directory {
        mode,
        name: FileName::new(name).ok_or_else(|| Violation::BadName(name.to_vec()))?,
    })
}

/// Reads `mode size name`, parted by single blanks; all that follows the second one is the name.
fn parse_entry(rest: &[u8]) -> Result<(Mode, u64, &[u8]), Violation> {
    let (mode, rest) = split_at_blank(rest).ok_or(Violation::BadMode)?;
    let (size, name) = split_at_blank(rest).ok_or(Violation::BadSize)?;
    Ok((parse_mode(mode)?, parse_size(size)?, name))
}

/// Clients send 2 to 12 digits: `644` (callers of go-scp), `0100644` (libssh2), `020000000755` (Go's own mode bits).
fn parse_mode(digits: &[u8]) -> Result<Mode, Violation> {
    if !(1..=12).contains(&digits.len()) {
        return Err(Violation::BadMode);
    }
    let mode = digits.iter().try_fold(0_u64, |mode, digit| match digit {
        b'0'..=b'7' => mode.checked_mul(8)?.checked_add(u64::from(digit.wrapping_sub(b'0'))),
        _ => None,
    });
    let low = mode.ok_or(Violation::BadMode)? & 0o7777;
    Ok(Mode::new(u32::try_from(low).map_err(|_| Violation::BadMode)?))
}

fn parse_size(digits: &[u8]) -> Result<u64, Violation> {
    let size = parse_number(digits).ok_or(Violation::BadSize)?;
    i64::try_from(size).map_err(|_| Violation::BadSize)?;
    Ok(size)
}

/// Reads four numbers. JSch's example puts a blank after the `T`; SSH.NET sends negative seconds for a file without
/// times (the year 1601), taken as 0.
fn parse_times(rest: &[u8]) -> Result<Times, Violation> {
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let mut fields = rest.split(|&byte| byte == b' ');
    let mut time = || {
        let seconds = parse_seconds(fields.next()?)?;
        let micros = parse_number(fields.next()?).filter(|&micros| micros <= 999_999)?;
        Some(FileTime::from_unix_time(seconds, u32::try_from(micros.checked_mul(1000)?).ok()?))
    };
    let modified = time().ok_or(Violation::BadTimes)?;
    let accessed = time().ok_or(Violation::BadTimes)?;
    match fields.next() {
        None => Ok(Times { modified, accessed }),
        Some(_) => Err(Violation::BadTimes),
    }
}

fn parse_seconds(field: &[u8]) -> Option<i64> {
    match field.strip_prefix(b"-") {
        Some(digits) => parse_number(digits).map(|_| 0),
        None => i64::try_from(parse_number(field)?).ok(),
    }
}

/// Reads digits and nothing else: `str::parse` would take a sign.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))),
        _ => None,
    })
}

fn split_at_blank(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = bytes.iter().position(|&byte| byte == b' ')?;
    Some((bytes.get(..blank)?, bytes.get(blank.checked_add(1)?..)?))
}

impl Reply {
    /// Tells whether a reply that begins with `byte` goes on to the end of the line.
    pub fn has_text(byte: u8) -> bool {
        byte != 0
    }

    /// Reads a reply from its first byte and the text behind it.
    pub fn parse(byte: u8, text: &[u8]) -> Self {
        match byte {
            0 => Self::Ok,
            1 => Self::Refused(text.to_vec()),
            2 => Self::GivenUp(text.to_vec()),
            _ => Self::Garbage([&[byte], text].concat()),
        }
    }
}

/// One line of text for the other side: `\1scp: `, what is wrong, newline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint(String);

impl Complaint {
    /// Says `why` of the entry `what`, which may hold any bytes.
    pub fn about(what: &[u8], why: &dyn fmt::Display) -> Self {
        Self(format!("{}: {why}", escape(what)))
    }

    /// Says something of the whole session.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Writes the line, shortened in the middle where no client could hold it.
    ///
    /// `\1` also where the session ends: there are clients that drop the text of a `\2` (trilead, wagon).
    pub fn write(&self) -> Vec<u8> {
        let text = shorten(&self.0, REPLY.saturating_sub(b"\x01scp: \n".len()));
        [b"\x01scp: ", text.as_bytes(), b"\n"].concat()
    }

    /// Returns the text alone, for a screen or a log.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Keeps both ends of a text, its middle replaced by three dots, in at most `limit` bytes.
fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit.saturating_sub(3).div_euclid(2);
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len().saturating_sub(half));
    format!("{}...{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}

/// Writes bytes so that they can only be read, on a terminal or in a log: text as it is, everything that would move a
/// cursor, begin a line or turn the writing round, and bytes that are no text, as `\x1b` or `\u{202e}`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                _ if is_deceptive(character) && character.is_ascii() => {
                    text.push_str(&character.to_string().as_bytes().escape_ascii().to_string());
                }
                _ if is_deceptive(character) => text.extend(character.escape_unicode()),
                _ => text.push(character),
            }
        }
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // WinSCP knows from exactly these two beginnings that the server has gone.
            Self::BadName(name) => write!(f, "error: unexpected filename: {}", escape(name)),
            other => write!(f, "protocol error: {}", other.fault()),
        }
    }
}

impl Violation {
    fn fault(&self) -> String {
        match self {
            Self::BadMode => "bad mode".into(),
            Self::BadName(_) => "bad name".into(),
            Self::BadSize => "bad size".into(),
            Self::BadTimes => "bad times".into(),
            Self::CutShort => "the connection ended in the middle".into(),
            Self::DirectoryWithoutRecursion => "received directory without -r".into(),
            Self::ExtraBytes => "bytes after the end of a record".into(),
            Self::LineTooLong => format!("a line of over {LINE} bytes"),
            Self::NoStatus => "no status after the contents".into(),
            Self::Nul => "a NUL in a line".into(),
            Self::TimesOfNothing => "times of nothing".into(),
            Self::UnknownRecord(byte) => format!("unknown record '{}'", byte.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, size: u64, name: &[u8]) -> Result<Record, Violation> {
        Ok(Record::File { mode: Mode::new(mode), size, name: FileName::new(name) })
    }

    fn times(modified: (i64, u32), accessed: (i64, u32)) -> Result<Record, Violation> {
        let time = |(seconds, nanos)| FileTime::from_unix_time(seconds, nanos);
        Ok(Record::Times(Times { modified: time(modified), accessed: time(accessed) }))
    }

    // covers: clients 2.7, security CR-16, security CR-24
    #[test]
    fn modes_of_1_to_12_octal_digits_are_taken_and_their_low_12_bits_kept() {
        for (line, mode) in [
            ("C0644 5 x", 0o644),
            ("C644 5 x", 0o644),
            ("C00644 5 x", 0o644),
            ("C0100644 5 x", 0o644),
            ("C0 5 x", 0),
            ("C040000755 5 x", 0o755),
            ("C020000000755 5 x", 0o755),
            ("C04755 0000005 x", 0o4755),
        ] {
            assert_eq!(Record::parse(line.as_bytes()), file(mode, 5, b"x"), "{line}");
        }
        for line in [
            "C0648 5 x",
            "C 644 5 x",
            "C+644 5 x",
            "C0x1ff 5 x",
            "C",
            "C0644",
            "C-1 5 x",
            "C0000000000644 5 x",
        ] {
            assert_eq!(Record::parse(line.as_bytes()), Err(Violation::BadMode), "{line}");
        }
    }

    // covers: security CR-21, security CR-22, security CR-23, security CR-26, peers 103, peers 104
    #[test]
    fn a_size_is_digits_up_to_two_to_the_63rd_minus_one() {
        assert_eq!(
            Record::parse(b"C0644 9223372036854775807 x"),
            file(0o644, 9_223_372_036_854_775_807, b"x")
        );
        assert_eq!(Record::parse(b"C0644 0000002 x"), file(0o644, 2, b"x"));
        let endless = "9".repeat(5000);
        for size in [
            "-1",
            "+2",
            " 2",
            "",
            "0x10",
            "2\t",
            "12x34",
            "9223372036854775808",
            "18446744073709551618",
            &endless,
        ] {
            let line = format!("C0644 {size} x");
            assert_eq!(Record::parse(line.as_bytes()), Err(Violation::BadSize), "{line}");
        }
        assert_eq!(Record::parse(b"C0644 2"), Err(Violation::BadSize));
        // A second number is a part of the name.
        assert_eq!(Record::parse(b"C0644 2 2 x"), file(0o644, 2, b"2 x"));
    }

    // covers: security CR-01, security CR-02, security CR-03, security CR-05, security CR-06, security CR-08, peers 86
    #[test]
    fn a_name_is_one_component_taken_byte_by_byte() {
        for name in ["../x", "/etc/x", "a/b", ".", "..", "/", "x/"] {
            let line = format!("C0644 2 {name}");
            assert_eq!(Record::parse(line.as_bytes()), Err(Violation::BadName(name.into())), "{line}");
        }
        for name in [&b"..."[..], b" a", b"-rf", b"a b ", b"\\^J", b"C:\\x", b"\xff\xfe", b"%s%n", b"x\r"] {
            let line = [b"C0644 2 ", name].concat();
            assert_eq!(Record::parse(&line), file(0o644, 2, name));
        }
    }

    // covers: security CR-04, security CR-07, clients 2.8
    #[test]
    fn an_empty_name_is_told_from_a_wrong_one_for_files_and_is_wrong_for_directories() {
        let unnamed = Record::File { mode: Mode::new(0o644), size: 2, name: None };
        assert_eq!(Record::parse(b"C0644 2 "), Ok(unnamed));
        for name in ["", ".", ".."] {
            let line = format!("D0777 0 {name}");
            assert_eq!(Record::parse(line.as_bytes()), Err(Violation::BadName(name.into())), "{line}");
        }
    }

    // covers: clients 2.6, security CR-27, security CR-28, peers 105
    #[test]
    fn times_may_have_microseconds_a_blank_in_front_and_lie_before_1970() {
        for (line, expected) in [
            ("T1 0 2 0", times((1, 0), (2, 0))),
            ("T1 999999 2 5", times((1, 999_999_000), (2, 5000))),
            ("T 1 0 2 0", times((1, 0), (2, 0))),
            ("T-11644473600 0 -5 0", times((0, 0), (0, 0))),
            ("T253402300800 0 1 0", times((253_402_300_800, 0), (1, 0))),
        ] {
            assert_eq!(Record::parse(line.as_bytes()), expected, "{line}");
        }
        for line in [
            "T",
            "T1 0 1",
            "T1 1000000 1 0",
            "T1 +0 1 0",
            "T1 0  1 0",
            "T1 0 1 0 ",
            "T1 0 1 0x",
            "T+1 0 1 0",
            "T9223372036854775808 0 1 0",
            "T18446744073709551617 0 1 0",
            "T  1 0 1 0",
            "T1\t0 1 0",
            "T--1 0 1 0",
        ] {
            assert_eq!(Record::parse(line.as_bytes()), Err(Violation::BadTimes), "{line}");
        }
    }

    // covers: security CR-15, security CR-29, security CR-30, peers 102, peers 106
    #[test]
    fn a_line_that_is_no_record_is_named_for_what_is_wrong() {
        for (line, fault) in [
            (&b"Efoo"[..], Violation::ExtraBytes),
            (b"E ", Violation::ExtraBytes),
            (b"", Violation::UnknownRecord(b'\n')),
            (b"Z", Violation::UnknownRecord(b'Z')),
            (b"c0644 1 x", Violation::UnknownRecord(b'c')),
            (b"\x80", Violation::UnknownRecord(0x80)),
            (b"\r", Violation::UnknownRecord(b'\r')),
            (b"\0", Violation::Nul),
            (b"C0644 1 a\0b", Violation::Nul),
            (b"C0644 1\0 a", Violation::Nul),
        ] {
            assert_eq!(Record::parse(line), Err(fault), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let name = |bytes: &[u8]| FileName::new(bytes).unwrap();
        for record in [
            Record::End,
            Record::File {
                mode: Mode::new(0o4755),
                size: u64::from(u32::MAX),
                name: Some(name(b" a\xff b ")),
            },
            Record::File { mode: Mode::new(0), size: 0, name: Some(name(b"-")) },
            Record::Directory { mode: Mode::new(0o755), name: name(b"d") },
            times((1_700_000_000, 0), (0, 0)).unwrap(),
            Record::Complaint(b"scp: x".to_vec()),
            Record::GivenUp(Vec::new()),
        ] {
            let line = record.write();
            assert_eq!(Record::parse(line.strip_suffix(b"\n").unwrap()), Ok(record));
        }
    }

    // covers: clients 3.5, clients 3.6, clients 3.16, security SRC-01
    #[test]
    fn records_are_written_in_the_one_form_that_every_client_reads() {
        let name = FileName::new(b"a\nC0644 5 b").unwrap();
        let record = Record::File { mode: Mode::new(0o64), size: 7, name: Some(name) };
        assert_eq!(record.write(), b"C0064 7 a\\^JC0644 5 b\n");
        let old = FileTime::from_unix_time(-5, 999);
        assert_eq!(Record::Times(Times { modified: old, accessed: old }).write(), b"T0 0 0 0\n");
    }

    // covers: clients 3.12, clients 3.13, security RP-09
    #[test]
    fn a_complaint_is_one_short_line_that_can_only_be_read() {
        let complaint =
            Complaint::about(b"a\n\x1b[2J\xff\xc2\x9b\xe2\x80\xae.gr\xc3\xbcn", &"No such file or directory");
        let text = "\x01scp: a\\n\\x1b[2J\\xff\\u{9b}\\u{202e}.gr\u{fc}n: No such file or directory\n";
        assert_eq!(String::from_utf8(complaint.write()).unwrap(), text);

        let long = Complaint::about(&b"\xc3\xbc".repeat(4000), &"too long").write();
        assert!(long.len() <= REPLY && long.ends_with(b": too long\n"), "{}", long.len());
        assert!(std::str::from_utf8(&long).is_ok());
    }
}
