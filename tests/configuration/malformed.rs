//! Files that are wrong: cut, mistyped, random. None of them serves anybody, and none of them is a panic.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use scp_server::config;
use scp_server::policy::Account;
use serde::de::IgnoredAny;

use super::{logging, serves_nobody};
use crate::cell;
use crate::sshd::bench::noise;
use crate::tally;
use crate::yard::Yard;

/// Files that are right, and have all there is.
const EXAMPLES: [&str; 3] = [
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/scp-server.toml")),
    "[default]\nroot='/x'\nmax-file-size=1_000\nnames=[ '*.a',\n'b' ]\n[[match]]\nuser='a'\nread-only=true\n",
    "default = { root = \"\\u0041\", umask = '027' }\nmatch = [{ key = [], path = [{ pattern = 'x' }] }]\n",
];

/// What somebody's hand, or a bad disk, puts into a file.
const SLIPS: [&str; 22] = [
    "=",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    "#",
    "\n",
    "\r",
    "\0",
    "\u{202e}",
    "\\",
    "\u{feff}",
    "99999999999999999999",
    "-1",
    "[default]\n",
    "true",
];

/// Returns numbers that look like nothing in particular, the same ones on every day.
struct Chance(Vec<u8>, usize);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        let bytes = &self.0[self.1..self.1 + 8];
        self.1 += 8;
        (u64::from_le_bytes(bytes.try_into().unwrap()) % most.max(1) as u64) as usize
    }
}

/// A boundary of characters at or before this byte.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap()
}

/// Changes a text in one place.
fn slip(text: &str, chance: &mut Chance) -> String {
    let at = boundary(text, chance.below(text.len() + 1));
    let lines: Vec<&str> = text.lines().collect();
    let line = chance.below(lines.len());
    let among = |lines: &[&str]| lines.join("\n") + "\n";
    match chance.below(6) {
        0 => format!("{}{}{}", &text[..at], SLIPS[chance.below(SLIPS.len())], &text[at..]),
        1 => {
            let end = boundary(text, at + 1 + chance.below(12)).max(at);
            format!("{}{}", &text[..at], &text[end..])
        }
        2 => among(&[&lines[..line], &lines[(line + 1).min(lines.len())..]].concat()),
        3 if !lines.is_empty() => among(&[&lines[..=line], &lines[line..]].concat()),
        4 if !lines.is_empty() => {
            let (mut moved, other) = (lines.clone(), chance.below(lines.len()));
            moved.swap(line, other);
            among(&moved)
        }
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

/// Cut at every byte, with slips in it, or random altogether.
fn texts() -> BTreeSet<String> {
    let mut chance = Chance(noise(1 << 20, 2026), 0);
    let mut texts = BTreeSet::new();
    for example in EXAMPLES {
        for end in (0..example.len()).filter(|&end| example.is_char_boundary(end)) {
            texts.insert(example[..end].to_owned());
        }
        for _ in 0..1000 {
            let mut text = example.to_owned();
            for _ in 0..=chance.below(3) {
                text = slip(&text, &mut chance);
            }
            texts.insert(text);
        }
    }
    for seed in 0..500 {
        texts.insert(String::from_utf8_lossy(&noise(chance.below(300), seed)).into_owned());
    }
    texts
}

#[test]
fn no_text_is_a_panic_and_what_is_wrong_has_one_line_and_a_place_in_it() {
    let (mut right, mut wrong) = (0, 0);
    let nobody = Account::default();
    for text in texts() {
        let lines = text.split('\n').count();
        let read = config::read("f", &text, None);
        // A section that is about nobody here is as wrong as the others.
        assert_eq!(config::read("f", &text, Some(&nobody)).is_ok(), read.is_ok(), "{text:?}");
        match read {
            Ok(_) => {
                right += 1;
                // Whatever reads it, it is what its library takes for TOML.
                assert!(toml::from_str::<IgnoredAny>(&text).is_ok(), "{text:?}");
            }
            Err(error) => {
                wrong += 1;
                let said = error.to_string();
                assert!(said.starts_with("f:") && !said.contains('\n'), "{said:?}: {text:?}");
                if let Some((line, column)) = error.at {
                    assert!((1..=lines).contains(&line) && column >= 1, "{said:?}: {text:?}");
                }
            }
        }
    }
    assert!(right > 300 && wrong > 3000, "{right} right, {wrong} wrong: the texts are of both kinds");
    tally::figure(&format!(
        "{wrong} broken configuration files, each told with its place; {right} that are still right"
    ));
}

// covers: security ENV-10
#[test]
fn a_file_that_is_wrong_serves_nobody_and_the_client_hears_one_sentence() {
    if !cell::is_root() {
        return;
    }
    let Some(yard) = Yard::confined() else { return };
    let config = yard.home().join("config.toml");
    let place = config.display().to_string();
    let serves = |text: &[u8], why: &str| {
        fs::write(&config, text).unwrap();
        for line in ["scp -t .", "scp -r -f ."] {
            let mut peer = logging(&yard).option("--config").option(&config).asks(line);
            serves_nobody(&yard, &mut peer, why);
        }
    };
    let texts = texts();
    let some = texts.len() / 60;
    let broken = texts.into_iter().step_by(some).filter_map(|text| {
        let wrong = config::read(&place, &text, None).err()?;
        let why = match wrong.at {
            Some((line, column)) => format!("{place}:{line}:{column}: "),
            None => format!("{place}: "),
        };
        Some((text, why))
    });
    let broken: Vec<(String, String)> = broken.collect();
    assert!(broken.len() > 30, "{}", broken.len());
    for (text, why) in &broken {
        serves(text.as_bytes(), why);
    }
    for seed in 0..10 {
        let bytes = [b"\xff".to_vec(), noise(1000, seed)].concat();
        serves(&bytes, &format!("{place}: stream did not contain valid UTF-8"));
    }
    // The same in a file that is included.
    let part = yard.home().join("part.toml");
    fs::write(&part, "[default]\nread-onyl = true\n").unwrap();
    let text = "include = ['part.toml']\n";
    serves(text.as_bytes(), &format!("{}:2:1: unknown field", Path::new(&part).display()));
}
