use scp_server::request::{self, Chatter, Depth, Keep, Request, TargetKind, Usage};
use scp_server::words::{Word, split};

use crate::words::quote;

pub fn run(data: &[u8]) {
    let Ok(words) = split(data) else { return };
    check(&words, request::parse(&words), true);
    check(&words, request::arguments(&words), false);
}

fn check(words: &[Word], asked: Result<Request, Usage>, has_program: bool) {
    let bytes: Vec<_> = words.iter().map(Word::bytes).collect();
    match &asked {
        Ok(request) => {
            let options = match has_program {
                true => {
                    assert!(matches!(bytes[0].as_slice(), b"scp" | b"/usr/bin/scp"));
                    &bytes[1..]
                }
                false => &bytes[..],
            };
            let paths = check_options(options, request);
            assert_eq!(paths_of(request), &words[words.len() - paths..]);
            check_canonical(request);
        }
        Err(why) => {
            let text = why.to_string();
            assert!(text.len() < 400 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
        }
    }
}

fn paths_of(request: &Request) -> &[Word] {
    match request {
        Request::Fetch(fetch) => &fetch.sources,
        Request::Store(store) => &store.targets,
    }
}

/// Reads the words once more, knowing only what is allowed, and returns how many of them are paths.
fn check_options(words: &[Vec<u8>], request: &Request) -> usize {
    let mut said = String::new();
    let mut at = 0;
    while at < words.len() {
        let word = &words[at];
        if word == b"--" {
            at += 1;
            break;
        }
        if word.first() != Some(&b'-') || word == b"-" {
            break;
        }
        at += 1;
        let mut letters = word[1..].iter().map(|&byte| char::from(byte));
        while let Some(letter) = letters.next() {
            assert!("tfrpdvqCBT12346OsAl".contains(letter), "{letter:?} got through");
            if letter == 'l' {
                let mut rate: Vec<u8> = letters.by_ref().map(|letter| letter as u8).collect();
                if rate.is_empty() {
                    rate = words[at].clone();
                    at += 1;
                }
                assert!(!rate.is_empty() && rate.iter().all(u8::is_ascii_digit));
            } else {
                said.push(letter);
            }
        }
    }
    let said = |letter| said.contains(letter);
    assert!(said('t') != said('f'));
    let (depth, keep, chatter) = match request {
        Request::Fetch(fetch) => {
            assert!(said('f') && !fetch.sources.is_empty());
            (fetch.depth, fetch.keep, fetch.chatter)
        }
        Request::Store(store) => {
            assert!(said('t'));
            assert_eq!(store.kind == TargetKind::Directory, said('d'));
            (store.depth, store.keep, store.chatter)
        }
    };
    assert_eq!(depth == Depth::Tree, said('r'));
    assert_eq!(keep == Keep::Attributes, said('p'));
    assert_eq!(chatter == Chatter::Verbose, said('v'));
    words.len() - at
}

/// Writes the request as OpenSSH's client would: it is the same request.
fn check_canonical(request: &Request) {
    let mut command = b"scp".to_vec();
    let (depth, keep, kind, way) = match request {
        Request::Fetch(fetch) => (fetch.depth, fetch.keep, TargetKind::Any, b" -f"),
        Request::Store(store) => (store.depth, store.keep, store.kind, b" -t"),
    };
    for (option, said) in [
        (b" -v", request.chatter() == Chatter::Verbose),
        (b" -r", depth == Depth::Tree),
        (b" -p", keep == Keep::Attributes),
        (b" -d", kind == TargetKind::Directory),
        (way, true),
        (b" --", true),
    ] {
        if said {
            command.extend_from_slice(option);
        }
    }
    for path in paths_of(request) {
        command.push(b' ');
        command.extend(quote(&path.bytes()));
    }
    let Ok(words) = split(&command) else { return };
    let mut expected = request.clone();
    let paths = match &mut expected {
        Request::Fetch(fetch) => &mut fetch.sources,
        Request::Store(store) => &mut store.targets,
    };
    for path in paths {
        *path = Word::literal(&path.bytes());
    }
    assert_eq!(request::parse(&words), Ok(expected));
}
