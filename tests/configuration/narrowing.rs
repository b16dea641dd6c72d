//! What the options of a forced command make of what the file gives: key by key, never more.

use std::collections::BTreeSet;

use scp_server::policy::{CONDITIONS, KEYS, Section};

/// What takes away, takes away whoever says it.
const EITHER: &[(&str, &str, &str)] = &[
    ("", "true", "true"),
    ("", "false", "false"),
    ("true", "", "true"),
    ("true", "false", "true"),
    ("false", "true", "true"),
    ("false", "false", "false"),
];

/// What gives has to be said by the file.
const FILE: &[(&str, &str, &str)] =
    &[("", "true", ""), ("false", "true", "false"), ("true", "", "true"), ("true", "true", "true")];

const SMALLER: &[(&str, &str, &str)] =
    &[("2", "3", "2"), ("3", "2", "2"), ("", "3", "3"), ("2", "", "2"), ("0", "3", "0"), ("3", "0", "0")];

/// A rate of nothing has no spelling.
const RATES: &[(&str, &str, &str)] = &[("2", "3", "2"), ("3", "2", "2"), ("", "3", "3"), ("2", "", "2")];

/// Of the file, of the line, and what holds; an empty text is one that says nothing.
type Rows = &'static [(&'static str, &'static str, &'static str)];

/// Every key, and what becomes of its values.
const TABLE: &[(&str, Rows)] = &[
    // The line's is looked up inside the file's.
    ("root", &[("'/a'", "'/b'", "'/a'"), ("'/a'", "", "'/a'"), ("", "'/b'", "")]),
    ("read-only", EITHER),
    ("write-only", EITHER),
    ("no-overwrite", EITHER),
    ("no-recursion", EITHER),
    ("no-preserve", EITHER),
    ("drop-box", EITHER),
    ("ignore-modes", EITHER),
    ("ignore-times", EITHER),
    ("allow-start-up-files", FILE),
    ("allow-set-id", FILE),
    ("allow-control-characters", FILE),
    ("max-file-size", SMALLER),
    ("max-session-size", SMALLER),
    ("max-session-files", SMALLER),
    ("max-depth", SMALLER),
    ("max-sessions", SMALLER),
    ("max-upload-rate", RATES),
    ("max-download-rate", RATES),
    ("min-free-space", &[("2", "3", "3"), ("3", "2", "3"), ("", "3", "3"), ("3", "", "3"), ("3", "0", "3")]),
    ("umask", &[("'022'", "'007'", "'027'"), ("'077'", "'000'", "'077'"), ("", "'007'", "'007'")]),
    ("time-limit", &[("5", "9", "5"), ("9", "5", "5"), ("0", "5", "5"), ("5", "0", "5"), ("", "5", "5")]),
    // What nobody says is an hour, and a quarter of one.
    (
        "idle-timeout",
        &[("", "7200", "3600"), ("", "0", "3600"), ("", "60", "60"), ("0", "60", "60"), ("60", "0", "60")],
    ),
    (
        "stall-timeout",
        &[("", "7200", "900"), ("", "0", "900"), ("", "60", "60"), ("0", "60", "60"), ("60", "0", "60")],
    ),
    (
        "sandbox",
        &[
            ("'require'", "'off'", "'require'"),
            ("'off'", "'require'", "'require'"),
            ("", "'off'", "'try'"),
            ("'off'", "", "'off'"),
        ],
    ),
    (
        "audit",
        &[
            ("'require'", "'try'", "'require'"),
            ("'try'", "'require'", "'require'"),
            ("", "'require'", "'require'"),
        ],
    ),
    (
        "checksum",
        &[("'sha256'", "'none'", "'sha256'"), ("'none'", "'sha256'", "'sha256'"), ("", "'none'", "'none'")],
    ),
    (
        "dot-files",
        &[
            ("'hide'", "'allow'", "'hide'"),
            ("'deny'", "'allow'", "'deny'"),
            ("'allow'", "'hide'", "'hide'"),
            ("", "'allow'", "'allow'"),
        ],
    ),
    ("drop-box-directory", &[("'a'", "'b'", "'a'"), ("", "'b'", "'b'"), ("'a'", "", "'a'")]),
    ("names", &[("['*.csv']", "'*'", "'*.csv'"), ("", "'*.csv'", "'*.csv'")]),
    (
        "path",
        &[
            (
                "[{ pattern = 'x', hide = true }]",
                "[{ pattern = '**', allow = ['all'] }]",
                "[{ pattern = 'x', hide = true }]",
            ),
            ("[]", "", "[]"),
        ],
    ),
    ("file-mode", &[("'600'", "'666'", "'600'"), ("", "'666'", "'666'")]),
    ("directory-mode", &[("'700'", "'777'", "'700'"), ("", "'777'", "'777'")]),
    ("force-group", &[("'a'", "'b'", "'a'"), ("", "'b'", "'b'")]),
    ("atomic", &[("'always'", "'off'", "'always'"), ("", "'off'", "'off'")]),
    ("commit", &[("'tree'", "'file'", "'tree'"), ("", "'tree'", "'tree'")]),
    ("metadata", &[("'strict'", "'ignore'", "'strict'"), ("", "'warn'", "'warn'")]),
    ("sync", &[("'file'", "'none'", "'file'"), ("", "'file'", "'file'")]),
    ("pipeline", &[("'off'", "'on'", "'off'"), ("", "'on'", "'on'")]),
    ("log", &[("'syslog'", "'/tmp/x'", "'syslog'"), ("", "'/tmp/x'", "'/tmp/x'")]),
    ("log-format", &[("'json'", "'xferlog'", "'json'"), ("", "'json'", "'json'")]),
];

fn section(key: &str, value: &str) -> Section {
    let text = if value.is_empty() { String::new() } else { format!("{key} = {value}") };
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_key_of_a_section_meets_the_same_key_of_the_line_as_the_manual_says() {
    let keys: BTreeSet<String> =
        KEYS.iter().filter(|key| !CONDITIONS.contains(key)).map(|key| key.replace('_', "-")).collect();
    let told: BTreeSet<String> = TABLE.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(told, keys);
    for (key, rows) in TABLE {
        for (file, line, wanted) in *rows {
            let found = section(key, file).narrowed_by(&section(key, line));
            let mut wanted = section(key, wanted);
            // These have a value whether somebody names them or not.
            wanted.idle_timeout =
                wanted.idle_timeout.or(found.idle_timeout.filter(|_| *key != "idle-timeout"));
            wanted.stall_timeout =
                wanted.stall_timeout.or(found.stall_timeout.filter(|_| *key != "stall-timeout"));
            assert_eq!(found, wanted, "{key}: {file:?} in the file, {line:?} on the line");
        }
    }
}

/// Whatever else the file says, a key of the line changes that key alone.
#[test]
fn a_word_of_the_line_is_about_its_own_key_only() {
    for (key, rows) in TABLE {
        for (other, values) in TABLE.iter().filter(|(other, _)| other != key) {
            let (file, _, _) = values[0];
            let (_, line, _) = rows[0];
            let alone = section(other, file).narrowed_by(&Section::default());
            let both = section(other, file).narrowed_by(&section(key, line));
            let own = section(key, "").narrowed_by(&section(key, line));
            assert_eq!(both, own.or(&alone), "{other} in the file, {key} on the line");
        }
    }
}
