//! Written from the protocol's description and not from the program, for comparison with the program.

/// One line from the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    Complaint,
    Directory {
        mode: u32,
        name: Vec<u8>,
    },
    End,
    File {
        mode: u32,
        size: u64,
        name: Vec<u8>,
    },
    GivenUp,
    /// Seconds and nanoseconds of the last change and the last access.
    Times((i64, u32), (i64, u32)),
}

/// Reads a line, its newline taken off; nothing if it is no record.
pub fn line(bytes: &[u8]) -> Option<Line> {
    if bytes.contains(&0) {
        return None;
    }
    let rest = bytes.get(1..)?;
    match bytes[0] {
        1 => Some(Line::Complaint),
        2 => Some(Line::GivenUp),
        b'E' => rest.is_empty().then_some(Line::End),
        b'T' => times(rest),
        b'C' | b'D' => {
            let fields: Vec<&[u8]> = rest.splitn(3, |&byte| byte == b' ').collect();
            let [mode, size, name] = fields[..] else { return None };
            let (mode, size, name) = (octal(mode)?, number(size)?, name.to_vec());
            let is_name = !name.contains(&b'/') && name != b"." && name != b"..";
            match bytes[0] {
                b'C' => is_name.then_some(Line::File { mode, size, name }),
                _ => (is_name && !name.is_empty()).then_some(Line::Directory { mode, name }),
            }
        }
        _ => None,
    }
}

fn octal(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let all_octal = text.chars().all(|digit| digit.is_digit(8));
    if !all_octal || text.is_empty() || text.len() > 12 {
        return None;
    }
    let value = u64::from_str_radix(text, 8).ok()?;
    Some((value % 0o10000) as u32)
}

/// Up to 2^63-1.
fn number(digits: &[u8]) -> Option<u64> {
    let value = unlimited(digits)?;
    (value <= i64::MAX as u128).then_some(value as u64)
}

/// Up to a number that is too large for anybody.
fn unlimited(digits: &[u8]) -> Option<u128> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value: u128, digit| (value * 10 + u128::from(digit - b'0')).min(1 << 100)))
}

fn times(rest: &[u8]) -> Option<Line> {
    let rest = if rest.first() == Some(&b' ') { &rest[1..] } else { rest };
    let fields: Vec<&[u8]> = rest.split(|&byte| byte == b' ').collect();
    let [modified, modified_micros, accessed, accessed_micros] = fields[..] else { return None };
    let time = |seconds: &[u8], micros: &[u8]| {
        let seconds = match seconds {
            // Before 1970 is 1970, however long before; a number of 64 bits all the same.
            [b'-', digits @ ..] => unlimited(digits).filter(|&value| value < 1 << 64).map(|_| 0)?,
            digits => number(digits)? as i64,
        };
        let micros = unlimited(micros).filter(|&micros| micros < 1_000_000)?;
        Some((seconds, micros as u32 * 1000))
    };
    Some(Line::Times(time(modified, modified_micros)?, time(accessed, accessed_micros)?))
}
