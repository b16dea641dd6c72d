//! The configuration file as a session reads it, against the TOML library alone.

use scp_server::config;
use scp_server::key::Key;
use scp_server::policy::{Account, Match, Section, When};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default, rename = "match")]
    matches: Vec<Match>,
    default: Option<Section>,
}

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let tables = toml::from_str::<Tables>(text);
    for account in [bob(), Account::default()] {
        let read = config::read("f", text, Some(&account));
        // As from a file, of which not all is seen at once.
        for size in [1, 64] {
            if let Some(in_parts) = config::read_in_parts("f", data, size, Some(&account)).unwrap() {
                assert_eq!(read.as_ref(), Ok(&in_parts));
            }
        }
        let (read, tables) = match (&read, &tables) {
            (Ok(read), Ok(tables)) => (read, tables),
            (Err(wrong), Err(_)) => {
                assert!(!wrong.why.contains('\n'), "{wrong}");
                continue;
            }
            (read, tables) => panic!("{read:?}, the library: {:?}", tables.as_ref().err()),
        };
        assert_eq!(read.include, tables.include);
        let default = read.default.as_ref().map(|entry| (entry.when.clone(), entry.section.clone()));
        assert_eq!(default, tables.default.clone().map(|section| (When::default(), section)));
        let all = tables.matches.iter().map(|table| table.clone().split());
        let kept: Vec<_> = all.filter(|(when, _)| when.concerns(&account)).collect();
        let entries = read.matches.iter().map(|entry| (entry.when.clone(), entry.section.clone()));
        assert_eq!(entries.collect::<Vec<_>>(), kept);
        for entry in read.matches.iter().chain(read.default.as_deref()) {
            assert!((1..=text.split('\n').count()).contains(&entry.origin.line), "{}", entry.origin);
        }
    }
}

/// Somebody whom sections can be about in every way.
fn bob() -> Account {
    let print = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    Account {
        uid: 1000,
        name: Some("bob".into()),
        home: Some("/home/bob".into()),
        groups: vec!["staff".into()].into(),
        address: "192.0.2.7".parse().ok(),
        keys: vec![Key::with(print.into(), vec!["deploy-1".into()])],
    }
}
