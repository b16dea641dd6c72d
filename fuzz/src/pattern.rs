use scp_server::pattern::{Component, Pattern, TooMany, braces, components, tilde};
use scp_server::words::{Letter, Word, split};

use crate::memory;

/// The documented bounds: words that braces stand for, letters in all of them, the longest component that is a pattern.
const WORDS: usize = 4096;
const LETTERS: usize = 1024 * 1024;
const PATTERN: usize = 1024;

/// Letters of a word that is compared with a slower reading of its braces.
const SHORT: usize = 30;

/// A word, a newline, and a name to match; a word that does not split is one in which all is live.
pub fn run(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let name = data.get(at + 1..).unwrap_or_default();
    let words = split(&data[..at]).unwrap_or_else(|_| {
        let live = |&byte| Letter { byte, live: true };
        vec![Word(data[..at].iter().map(live).collect())]
    });
    for word in words.iter().take(8) {
        check_tilde(word);
        for word in check_braces(word).iter().take(8) {
            check_components(word, name);
        }
    }
}

fn check_tilde(word: &Word) {
    let live = |byte| Letter { byte, live: true };
    let below = match word.0.as_slice() {
        [first] if *first == live(b'~') => Some(vec![]),
        [first, second, rest @ ..] if *first == live(b'~') && *second == live(b'/') => {
            let slashes = rest.iter().take_while(|letter| letter.byte == b'/').count();
            Some(rest[slashes..].to_vec())
        }
        _ => None,
    };
    assert_eq!(tilde(word).map(|word| word.0), below);
}

fn check_braces(word: &Word) -> Vec<Word> {
    // Two bytes a letter, in the words and in what is yet to be written, and a mark for each letter of the word.
    let most = 4 * LETTERS + WORDS * 64 + word.0.len() * 128 + 4096;
    let written = memory::bounded(most, || braces(word));
    if let Ok(written) = &written {
        assert!(written.len() <= WORDS);
        assert!(written.iter().map(|word| word.0.len()).sum::<usize>() <= LETTERS.max(word.0.len()));
        if written != std::slice::from_ref(word) {
            assert!(written.iter().all(|word| !word.0.is_empty()));
        }
    }
    if word.0.len() <= SHORT {
        let mut naive = naive_braces(&word.0);
        if naive.len() > WORDS {
            assert_eq!(written, Err(TooMany));
        } else {
            if naive.len() > 1 {
                naive.retain(|letters| !letters.is_empty());
            }
            let naive: Vec<_> = naive.into_iter().map(Word).collect();
            assert_eq!(written.as_deref(), Ok(naive.as_slice()));
        }
    }
    written.unwrap_or_else(|_| vec![word.clone()])
}

/// Writes braces out by their definition: the first choice, and for each of its words all that can follow.
fn naive_braces(letters: &[Letter]) -> Vec<Vec<Letter>> {
    let Some((&first, rest)) = letters.split_first() else { return vec![vec![]] };
    if let Some((alternatives, after)) = choice(letters) {
        let ends = naive_braces(after);
        let beginnings = alternatives.into_iter().flat_map(naive_braces);
        return beginnings
            .flat_map(|start| ends.iter().map(move |end| [start.as_slice(), end].concat()))
            .collect();
    }
    let ends = naive_braces(rest);
    ends.into_iter().map(|end| [&[first], end.as_slice()].concat()).collect()
}

/// Reads `{a,b}` at the beginning: what may stand there, and what follows.
fn choice(letters: &[Letter]) -> Option<(Vec<&[Letter]>, &[Letter])> {
    let is = |at: usize, byte| letters[at] == Letter { byte, live: true };
    if letters.is_empty() || !is(0, b'{') {
        return None;
    }
    let (mut depth, mut starts) = (0, vec![1]);
    for at in 0..letters.len() {
        if is(at, b'{') {
            depth += 1;
        } else if is(at, b'}') {
            depth -= 1;
        } else if is(at, b',') && depth == 1 {
            starts.push(at + 1);
        }
        if depth == 0 {
            let ends = starts[1..].iter().map(|start| start - 1).chain([at]);
            let alternatives: Vec<_> =
                starts.iter().zip(ends).map(|(&from, to)| &letters[from..to]).collect();
            return (alternatives.len() > 1).then_some((alternatives, &letters[at + 1..]));
        }
    }
    None
}

fn check_components(word: &Word, name: &[u8]) {
    let parts = components(word);
    let pieces: Vec<_> = word.0.split(|letter| letter.byte == b'/').collect();
    assert_eq!(parts.len(), pieces.len());
    for (part, letters) in parts.iter().zip(pieces) {
        match part {
            Component::Literal(literal) => {
                assert!(literal.iter().eq(letters.iter().map(|letter| &letter.byte)));
                assert_eq!(Pattern::new(letters), None);
                let special = |letter: &Letter| letter.live && matches!(letter.byte, b'*' | b'?');
                assert!(letters.len() > PATTERN || !letters.iter().any(special));
            }
            Component::Pattern(pattern) => check_pattern(pattern, letters, name),
        }
    }
}

fn check_pattern(pattern: &Pattern, letters: &[Letter], name: &[u8]) {
    assert!(letters.len() <= PATTERN);
    assert!(!pattern.matches(b".") && !pattern.matches(b".."));
    let places = places(&signs(letters));
    let bytes: Vec<_> = letters.iter().map(|letter| letter.byte).collect();
    for name in [name, b"", b"a", &bytes] {
        assert_eq!(
            pattern.matches(name),
            naive_matches(&places, name),
            "{places:?} {:?}",
            name.escape_ascii().to_string()
        );
    }
    if letters.iter().all(|letter| letter.byte == b'*' && letter.live) {
        assert_eq!(pattern.matches(name), !name.starts_with(b"."));
    }
}

/// A character, or a byte that is part of none: bytes stand after all characters.
type Sign = u32;
const STRAY: Sign = 0x11_0000;

/// What a place of a pattern takes.
#[derive(Debug)]
enum Place {
    Star,
    /// Ranges, and whether it takes what is in none of them.
    Set(Vec<(Sign, Sign)>, bool),
    This(Sign),
}

/// Reads a name one character at a time.
fn name_signs(mut bytes: &[u8]) -> Vec<(Sign, usize)> {
    let mut signs = Vec::new();
    while let Some(&first) = bytes.first() {
        let character = (1..=4).find_map(|width| {
            let text = std::str::from_utf8(bytes.get(..width)?).ok()?;
            Some((u32::from(text.chars().next()?), width))
        });
        let (sign, width) = character.unwrap_or((STRAY + u32::from(first), 1));
        signs.push((sign, width));
        bytes = &bytes[width..];
    }
    signs
}

/// Reads letters so; a character is live if its last byte is.
fn signs(letters: &[Letter]) -> Vec<(Sign, bool)> {
    let bytes: Vec<_> = letters.iter().map(|letter| letter.byte).collect();
    let mut at = 0;
    let signs = name_signs(&bytes).into_iter().map(|(sign, width)| {
        at += width;
        (sign, letters[at - 1].live && sign < STRAY)
    });
    signs.collect()
}

fn places(signs: &[(Sign, bool)]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut at = 0;
    while at < signs.len() {
        let (sign, live) = signs[at];
        at += 1;
        places.push(match char::from_u32(sign) {
            Some('*') if live => Place::Star,
            Some('?') if live => Place::Set(vec![], true),
            Some('[') if live => match set(&signs[at..]) {
                Some((place, width)) => {
                    at += width;
                    place
                }
                None => Place::This(sign),
            },
            _ => Place::This(sign),
        });
    }
    places
}

/// Reads a set up to its `]`, and how many signs it has; nothing if there is no end.
fn set(signs: &[(Sign, bool)]) -> Option<(Place, usize)> {
    let is = |at: usize, character| signs.get(at) == Some(&(u32::from(character), true));
    let negated = is(0, '!') || is(0, '^');
    let begin = usize::from(negated);
    let (mut at, mut ranges) = (begin, Vec::new());
    while at == begin || !is(at, ']') {
        let class = || {
            let name: String = (at + 2..)
                .take_while(|&at| !is(at, ':'))
                .map_while(|at| char::from_u32(signs.get(at)?.0))
                .collect();
            let end = at + 2 + name.chars().count();
            (is(at, '[') && is(at + 1, ':') && is(end, ':') && is(end + 1, ']')).then_some((name, end + 2))
        };
        let class_of_strays = || {
            // A class whose name holds a byte that is no character is unknown, and empty.
            let end = (at + 2..signs.len()).find(|&at| is(at, ':'))?;
            (is(at, '[') && is(at + 1, ':') && is(end + 1, ']')).then_some((String::new(), end + 2))
        };
        if let Some((name, after)) = class().or_else(class_of_strays) {
            ranges.extend(class_members(&name).into_iter().map(|byte| (u32::from(byte), u32::from(byte))));
            at = after;
        } else if is(at + 1, '-') && at + 2 < signs.len() && !is(at + 2, ']') {
            ranges.push((signs[at].0, signs[at + 2].0));
            at += 3;
        } else {
            ranges.push((signs.get(at)?.0, signs[at].0));
            at += 1;
        }
    }
    Some((Place::Set(ranges, negated), at + 1))
}

/// Returns the members of a POSIX class, by the standard library's idea of it.
fn class_members(name: &str) -> Vec<u8> {
    let holds = |byte: &u8| match name {
        "alnum" => byte.is_ascii_alphanumeric(),
        "alpha" => byte.is_ascii_alphabetic(),
        "blank" => matches!(byte, b' ' | b'\t'),
        "cntrl" => byte.is_ascii_control(),
        "digit" => byte.is_ascii_digit(),
        "graph" => byte.is_ascii_graphic(),
        "lower" => byte.is_ascii_lowercase(),
        "print" => byte.is_ascii_graphic() || *byte == b' ',
        "punct" => byte.is_ascii_punctuation(),
        "space" => byte.is_ascii_whitespace() || *byte == 0x0b,
        "upper" => byte.is_ascii_uppercase(),
        "xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    };
    (0..=127).filter(holds).collect()
}

/// Goes through the pattern with every number of signs that may have been taken so far.
fn naive_matches(places: &[Place], name: &[u8]) -> bool {
    let signs: Vec<_> = name_signs(name).into_iter().map(|(sign, _)| sign).collect();
    let dot = u32::from('.');
    let writes_dot = matches!(places.first(), Some(Place::This(sign)) if *sign == dot);
    if name == b"." || name == b".." || (signs.first() == Some(&dot) && !writes_dot) {
        return false;
    }
    let mut reached = vec![false; signs.len() + 1];
    reached[0] = true;
    for place in places {
        let mut further = vec![false; signs.len() + 1];
        for at in (0..=signs.len()).filter(|&at| reached[at]) {
            match place {
                Place::Star => further[at..].fill(true),
                _ if at == signs.len() => {}
                Place::This(sign) => further[at + 1] |= *sign == signs[at],
                Place::Set(ranges, negated) => {
                    let within = ranges.iter().any(|&(from, to)| from <= signs[at] && signs[at] <= to);
                    further[at + 1] |= within != *negated;
                }
            }
        }
        reached = further;
    }
    reached[signs.len()]
}
