//! What the manual promises: every option has its paragraph, and the examples do what they say.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use scp_server::config;
use scp_server::policy::KEYS;

use crate::yard::Yard;

const PROGRAM: &str = env!("CARGO_BIN_EXE_scp-server");

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn help() -> String {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert!(output.status.success(), "help was asked for, and given");
    String::from_utf8(output.stdout).unwrap()
}

/// The long options in a text, without their dashes.
fn options(text: &str, sign: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .split(sign)
        .skip(1)
        .map(|rest| rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect())
        .filter(|option: &String| !option.is_empty())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_manual_names_every_option_that_the_program_knows_and_no_other() {
    let known = options(&help(), "--");
    assert!(known.len() > 10, "{known:?}");
    let manual = document("man/scp-server.8");
    let named: Vec<String> =
        manual.lines().filter(|line| line.starts_with(".It Fl ")).map(str::to_owned).collect();
    assert_eq!(known, options(&named.join("\n"), " -"));
}

#[test]
fn the_example_without_a_network_stores_the_file() {
    let manual = document("man/scp-server.8");
    let line =
        manual.lines().find(|line| line.contains("printf") && line.contains("--root /tmp/box")).unwrap();
    let yard = Yard::new();
    let script = line
        .trim_start_matches("$ ")
        .replace("\\e", "\\")
        .replace("scp-server", PROGRAM)
        .replace("/tmp/box", yard.path("").to_str().unwrap());
    let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    yard.has("hello", "world\n");
}

#[test]
fn every_configuration_line_in_a_document_is_one_that_the_program_takes() {
    let mut lines = 0;
    for path in ["README.md", "man/scp-server.8", "packaging/sshd_config.d/scp-server.conf"] {
        for line in document(path)
            .lines()
            .filter(|line| line.contains("scp-server --root /") && !line.contains("printf"))
        {
            let options = line.split("scp-server ").nth(1).unwrap().split('"').next().unwrap();
            let mut words: Vec<&str> = options.split_whitespace().collect();
            if let Some(word) = words.iter().position(|word| *word == "--log") {
                words.drain(word..=word + 1);
            }
            // Understood, it gets as far as the root, which is not there.
            let mut child = Command::new(PROGRAM)
                .args(&words)
                .env("SSH_ORIGINAL_COMMAND", "scp -t .")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().flush().unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let denied =
                said.contains("uploads are not allowed") || said.contains("directory of this account");
            assert!(denied, "{path}: {line}: {said:?} {}", String::from_utf8_lossy(&output.stderr));
            lines += 1;
        }
    }
    assert!(lines >= 5, "{lines}");
}

/// The keys of the configuration file as they are written there: what the program knows.
fn keys() -> BTreeSet<String> {
    let known = KEYS.iter().map(|key| key.replace('_', "-"));
    // Of the outermost level, and of a `path` rule.
    known.chain(["include", "pattern", "allow", "deny", "hide"].map(str::to_owned)).collect()
}

#[test]
fn the_manual_of_the_file_names_every_key_that_the_program_knows_and_no_other() {
    let manual = document("man/scp-server.toml.5");
    let named: Vec<String> =
        manual.lines().filter_map(|line| line.strip_prefix(".It Cm ")).map(str::to_owned).collect();
    let once: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(named.len(), once.len(), "a key has two paragraphs");
    assert_eq!(once, keys());
    // The outermost level has no other keys than these.
    let unknown = config::read("f", "key = 1", None).unwrap_err();
    assert!(unknown.why.ends_with("expected one of `include`, `match`, `default`"), "{unknown}");
    let unknown = config::read("f", "[default]\npath = [{ x = 1 }]", None).unwrap_err();
    assert!(unknown.why.ends_with("expected one of `pattern`, `allow`, `deny`, `hide`"), "{unknown}");
}

#[test]
fn the_example_of_the_file_is_one_that_the_program_takes_and_has_every_key() {
    let example = document("packaging/scp-server.toml");
    let text = config::read("scp-server.toml", &example, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(text.matches.len() >= 5 && text.default.is_some());
    let used: BTreeSet<String> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        // What is named in a table's heading.
        .chain(example.contains("\n[[match.path]]\n").then(|| "path".to_owned()))
        .collect();
    assert_eq!(used, keys());
}
