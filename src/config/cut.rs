//! Where a file can be cut in two between its sections, while not all of it has been seen.

/// Finds the last head: what is before it is whole, wherever the bytes were cut off.
pub(super) fn last_head(bytes: &[u8]) -> usize {
    let mut before = bytes;
    while let Some((others, last)) = last_newline(before).and_then(|end| bytes.split_at_checked(end)) {
        if last.starts_with(b"\n[[match]]") {
            return others.len().saturating_add(1);
        }
        before = others;
    }
    0
}

/// Finds the last end of a line, but for those behind which there is no head, which are gone past sixteen bytes at a time:
/// a section may have hundreds of lines.
fn last_newline(bytes: &[u8]) -> Option<usize> {
    let mut left = bytes;
    while let Some(last) = left.last_chunk()
        && !has_brackets(last)
    {
        left = left.get(..left.len().saturating_sub(16))?;
    }
    left.iter().rposition(|&byte| byte == b'\n')
}

/// Tells whether one of the first sixteen bytes is a bracket that another one closes where `[[match]]` has one.
fn has_brackets(bytes: &[u8; 23]) -> bool {
    let pairs = bytes.iter().zip(bytes.iter().skip(7));
    pairs.fold(false, |found, (&one, &other)| found | (one == b'[') & (other == b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_is_found_wherever_the_bytes_are_cut_off() {
        let text = "[[match]]\n[[match.path]]\nallow = [\"upload\"]\n# [[match]]\n[[match]]\nuser = '[1234567]'\n\n\
                    [[match]]\n[[match]] # and\n  [[match]]\nroot = '/a/directory/that/is/far/away'\nx = [      ]\n";
        for cut in 0..=text.len() {
            let heads = text[..cut].match_indices("\n[[match]]");
            let last = heads.last().map_or(0, |(at, _)| at + 1);
            assert_eq!(last_head(&text.as_bytes()[..cut]), last, "{}", &text[..cut]);
        }
    }
}
