//! Many bytes at a time, for texts that are read while somebody waits: eight to a number, the first one lowest.
//!
//! Of eight bytes, those that are looked for have their highest bit marked. A borrow or a carry may mark a byte behind one that is
//! marked rightly, never one before it: only the first mark counts.

/// Counts the bytes before the first one that a quoted text may not simply have: those up to both quotes, with the space, the
/// backslash, and what is above the tilde.
pub fn plain(bytes: &[u8]) -> usize {
    before(bytes, |eight| {
        let odd = eight.wrapping_sub(each(b'\'' + 1)) | eight.wrapping_add(each(1));
        odd | (eight ^ each(b'\\')).wrapping_sub(each(1))
    })
}

/// Counts the bytes before the first one that is not printable ASCII.
pub fn printable(bytes: &[u8]) -> usize {
    // Without an early end, which lets the compiler take many at once.
    let is_whole = |chunk: &&[u8; 16]| chunk.iter().fold(true, |yes, byte| yes & matches!(byte, b' '..=b'~'));
    let whole = bytes.as_chunks().0.iter().take_while(is_whole).count().wrapping_mul(16);
    let rest = bytes.get(whole..).unwrap_or_default();
    whole.wrapping_add(before(rest, |eight| eight.wrapping_sub(each(b' ')) | eight.wrapping_add(each(1))))
}

/// What a text may begin with, of up to thirty-two bytes. Sixteen of it are compared at once.
#[derive(Clone, Copy)]
pub struct Beginning {
    first: [u8; 16],
    /// The bits of the first sixteen that belong to it.
    bits: [u8; 16],
    more: [u8; 16],
    length: u8,
}

impl Beginning {
    /// Takes all of `bytes` for it; none if they are too many.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; 32];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let length = u8::try_from(bytes.len()).ok()?;
        let behind = u128::MAX.checked_shl(u32::from(length).saturating_mul(8)).unwrap_or_default();
        let bits = (!behind).to_le_bytes();
        Some(Self { first: *all.first_chunk()?, bits, more: *all.last_chunk()?, length })
    }

    /// Returns what follows it in a text that begins so, and has sixteen bytes at least.
    pub fn cut<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let differ = u128::from_le_bytes(*text.first_chunk()?) ^ u128::from_le_bytes(self.first);
        let length = usize::from(self.length);
        match length.checked_sub(16) {
            _ if differ & u128::from_le_bytes(self.bits) != 0 => None,
            None | Some(0) => text.get(length..),
            Some(more) => text.get(16..)?.strip_prefix(self.more.get(..more)?),
        }
    }
}

/// Tells whether one of `wanted`, which are ASCII, is among the bytes.
pub fn have<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> bool {
    let has = |eight: u64| {
        let marks = wanted.iter().fold(0, |marks, &one| marks | (eight ^ each(one)).wrapping_sub(each(1)));
        marks & !eight & each(0x80) != 0
    };
    let four = |four: &[u8; 4]| u64::from(u32::from_le_bytes(*four));
    let eight = |eight: &[u8; 8]| u64::from_le_bytes(*eight);
    // What does not fill the last eight is looked at together with what is before.
    match (bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
        (Some(last), _, _) => has(eight(last)) || bytes.as_chunks().0.iter().any(|bytes| has(eight(bytes))),
        (_, Some(first), Some(last)) => has(four(first) | four(last).rotate_right(32)),
        _ => bytes.iter().any(|byte| wanted.contains(byte)),
    }
}

/// Tells of each byte whether it is one of these.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "done by the compiler, which would say")]
pub const fn each_of(bytes: &[u8]) -> [bool; 256] {
    let (mut table, mut left) = ([false; 256], bytes);
    while let [byte, rest @ ..] = left {
        table[*byte as usize] = true;
        left = rest;
    }
    table
}

/// Counts the bytes before the first one that is marked; a control character always is.
fn before(bytes: &[u8], mark: impl Fn(u64) -> u64) -> usize {
    let marked = |eight: [u8; 8]| mark(u64::from_le_bytes(eight)) & each(0x80);
    let mut left = bytes;
    let mut count = 0_usize;
    while let Some((eight, rest)) = left.split_first_chunk() {
        let marks = marked(*eight);
        if marks != 0 {
            return count.wrapping_add(first(marks));
        }
        (count, left) = (count.wrapping_add(8), rest);
    }
    count.wrapping_add(first(marked(filled(left))))
}

/// Fills up with control characters what is shorter than eight bytes.
fn filled(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut eight = [0; 8];
        eight.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        eight
    })
}

/// Returns which byte has the lowest bit that is set.
fn first(bits: u64) -> usize {
    usize::try_from(bits.trailing_zeros() / 8).unwrap_or_default()
}

/// Returns the number that has this byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte, between others at every offset, in texts of every length up to three times eight.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let around = [b'a', b'~', b' ', 0x80, 0xff, b'\n'];
        (0..=u8::MAX).flat_map(move |byte| {
            around.into_iter().flat_map(move |other| {
                (0..24_usize).flat_map(move |length| {
                    (0..=length).map(move |at| {
                        let mut text = vec![b'x'; length];
                        if let Some(place) = text.get_mut(at) {
                            *place = byte;
                        }
                        text.iter_mut().skip(at).skip(1).for_each(|place| *place = other);
                        text
                    })
                })
            })
        })
    }

    #[test]
    fn what_follows_a_beginning_is_what_follows_a_prefix() {
        let one = b"partner one, partner two, partne";
        assert!(Beginning::of(&[one.as_slice(), b"r"].concat()).is_none());
        for length in 0..=one.len() {
            for at in 0..=length {
                let mut other = one[..length].to_vec();
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 1 << (at % 8);
                }
                for count in 0..=one.len() {
                    let beginning = Beginning::of(&one[..count]).unwrap();
                    let rest = other.strip_prefix(&one[..count]).filter(|_| length >= 16);
                    assert_eq!(beginning.cut(&other), rest, "{length} {at} {count}");
                }
            }
        }
    }

    #[test]
    fn what_is_counted_by_eight_is_what_is_counted_one_by_one() {
        let count =
            |text: &[u8], wanted: fn(&u8) -> bool| text.iter().take_while(|byte| wanted(byte)).count();
        for text in texts() {
            let is_plain = |byte: &u8| matches!(byte, b'('..=b'~') && *byte != b'\\';
            assert_eq!(plain(&text), count(&text, is_plain), "{text:?}");
            let wanted = *b"*/~a";
            assert_eq!(have(&text, wanted), text.iter().any(|byte| wanted.contains(byte)), "{text:?}");
            assert_eq!(printable(&text), count(&text, |byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
}
