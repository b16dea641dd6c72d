use scp_server::words::{Letter, NotWords, Word, split};

use crate::memory;

/// The longest command that is read.
const COMMAND: usize = 256 * 1024;

pub fn run(data: &[u8]) {
    check(data);
    // Once in a while what is long, or too long.
    if data.len() > 64 && data.len().is_multiple_of(32) {
        check(&data.repeat(COMMAND / data.len() + 1));
    }
}

fn check(command: &[u8]) {
    // A word is a vector, and every second byte may be one.
    let split_up = memory::bounded(1024 * 1024 + command.len() * 64, || split(command));
    match (&split_up, naive(command)) {
        (Ok(words), Some(naive)) => assert_eq!(*words, naive, "{}", command.escape_ascii()),
        (Err(_), None) => {}
        (split_up, naive) => panic!("{split_up:?} against {naive:?}: {}", command.escape_ascii()),
    }
    match split_up {
        Ok(words) => check_words(&words),
        Err(why) => check_refusal(&why),
    }
}

fn check_words(words: &[Word]) {
    for word in words {
        let live = |letter: &&Letter| letter.live;
        assert!(word.0.iter().filter(live).all(|letter| !b"\0\n\r\t $&'\"();<>\\`|".contains(&letter.byte)));
        assert!(word.0.iter().all(|letter| letter.byte != 0));
    }
    // Quoted by the rule of POSIX, each word is itself again, and all of it quoted.
    let quoted: Vec<_> = words.iter().map(|word| quote(&word.bytes())).collect();
    let quoted = quoted.join(&b' ');
    if quoted.len() <= COMMAND {
        let again = split(&quoted).unwrap();
        let literal: Vec<_> = words.iter().map(|word| Word::literal(&word.bytes())).collect();
        assert_eq!(again, literal);
    }
}

/// Puts a word in single quotes; a single quote of its own goes between two of them.
pub fn quote(bytes: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = bytes.split(|&byte| byte == b'\'').collect();
    [b"'", parts.join(&b"'\\''"[..]).as_slice(), b"'"].concat()
}

fn check_refusal(why: &NotWords) {
    let words = why.to_string();
    assert!(words.len() < 100 && words.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{words:?}");
}

/// Splits as a shell does, one state at a time; nothing where a shell would do anything but split.
fn naive(command: &[u8]) -> Option<Vec<Word>> {
    if command.len() > COMMAND || command.contains(&0) {
        return None;
    }
    // POSIX 2.2.1 takes line continuations out first, but not from single quotes.
    let (mut words, mut word) = (Vec::new(), None::<Word>);
    let mut quote = None;
    let mut at = 0;
    while at < command.len() {
        let byte = command[at];
        let next = command.get(at + 1).copied();
        at += 1;
        let begins = word.is_none();
        let mut add = |byte, live| word.get_or_insert_default().0.push(Letter { byte, live });
        match quote {
            Some(b'\'') if byte == b'\'' => quote = None,
            Some(b'\'') => add(byte, false),
            _ if byte == b'\\' && next == Some(b'\n') => at += 1,
            Some(_) => match byte {
                b'"' => quote = None,
                b'$' | b'`' => return None,
                b'\\' if matches!(next, Some(b'"' | b'\\' | b'$' | b'`')) => {
                    add(next?, false);
                    at += 1;
                }
                _ => add(byte, false),
            },
            None => match byte {
                b'\\' => {
                    add(next?, false);
                    at += 1;
                }
                b'\'' | b'"' => {
                    word.get_or_insert_default();
                    quote = Some(byte);
                }
                b' ' | b'\t' => words.extend(word.take()),
                b'#' if begins => return None,
                b'$' | b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'\n' | b'\r' => return None,
                _ => add(byte, true),
            },
        }
    }
    words.extend(word.take());
    quote.is_none().then_some(words)
}
