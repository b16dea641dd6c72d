//! The program's rooms and what each may know: imports go down, never up, never in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. A room may know its own floor's and those below, but nobody who knows it.
const FLOORS: [&[&str]; 5] = [
    &["lib", "main"],
    &["sink", "source", "questions", "sftp"],
    &["channel", "jail", "audit", "sandbox", "abort", "signals", "account", "etc", "seats"],
    &["wire", "words", "request", "config", "policy", "pattern", "options", "ahead"],
    &["name", "attr", "bytes", "refusal", "key", "zones"],
];

/// Every file of a room, without what is compiled for its tests only.
fn rooms() -> BTreeMap<String, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = BTreeMap::<String, String>::new();
    let mut waiting = vec![source.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below: PathBuf = path.strip_prefix(&source).unwrap().with_extension("");
            let room = below.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let program = text.split("#[cfg(test)]\nmod ").next().unwrap();
            rooms.entry(room).or_default().push_str(program);
        }
    }
    assert!(rooms.len() > 5, "where is the source? {rooms:?}");
    rooms
}

/// The rooms that a text names after `crate::`, comments aside.
fn known(text: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            let end =
                part.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(part.len());
            known.insert(part[..end].to_owned());
        }
    }
    // `use crate::{a, b}` would hide names from this test.
    assert!(!known.contains(""), "one `use crate::room` per line");
    known
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("on which floor is {room}?"))
}

#[test]
fn no_import_climbs() {
    let mut climbing = Vec::new();
    for (room, text) in rooms() {
        for other in known(&text).into_iter().filter(|other| *other != room) {
            if floor(&other) < floor(&room) {
                climbing.push(format!("{room} knows {other}"));
            }
        }
    }
    assert!(climbing.is_empty(), "{climbing:?}");
}

#[test]
fn no_two_rooms_know_each_other() {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = rooms()
        .into_iter()
        .map(|(room, text)| {
            let others = known(&text).into_iter().filter(|other| *other != room).collect();
            (room, others)
        })
        .collect();
    // Whoever knows nobody that is left goes; those who stay stand in a circle.
    while let Some(room) = rooms.iter().find(|(_, known)| known.is_empty()).map(|(room, _)| room.clone()) {
        rooms.remove(&room);
        for known in rooms.values_mut() {
            known.remove(&room);
        }
    }
    assert!(rooms.is_empty(), "in a circle, or knowing one: {rooms:?}");
}

#[test]
fn the_grammar_does_no_input_or_output() {
    let wire = &rooms()["wire"];
    for word in ["std::io", "std::fs", "nix::"] {
        assert!(!wire.contains(word), "wire mentions {word}");
    }
}

#[test]
fn the_channel_knows_no_letter_of_the_protocol() {
    let channel = &rooms()["channel"];
    for letter in ["b'C'", "b'D'", "b'E'", "b'T'", "'C'"] {
        assert!(!channel.contains(letter), "channel mentions {letter}");
    }
}

#[test]
fn the_jail_does_not_know_which_protocol_is_spoken() {
    let known = known(&rooms()["jail"]);
    for room in ["wire", "channel", "sink", "source"] {
        assert!(!known.contains(room), "jail knows {room}");
    }
}
