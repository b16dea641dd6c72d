//! What explain says beside what a session does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{ask, file, serves};
use crate::tally;
use crate::yard::Yard;

/// Sections under which requests fare differently; `ROOT` is the yard's.
const KINDS: [&str; 18] = [
    "",
    "write-only = true",
    "read-only = true",
    "no-overwrite = true\nno-preserve = true",
    "drop-box = true",
    "drop-box = true\ndrop-box-directory = 'in/%u'",
    "names = ['*.csv']\ndot-files = 'hide'",
    "dot-files = 'deny'\nallow-control-characters = true",
    "path = [{ pattern = 'd', hide = true }, { pattern = '**', deny = ['overwrite', 'mkdir'] }]",
    "path = [{ pattern = 'd/**', allow = ['all'] }, { pattern = '**', deny = ['all'] }]",
    "path = [{ pattern = 'd/a', allow = ['download'] }, { pattern = 'd', deny = ['download'] }]",
    "commit = 'tree'\nmax-depth = 1",
    "log = 'LOGS/open'\naudit = 'require'",
    "log = 'LOGS/shut/log'\naudit = 'require'",
    "audit = 'require'",
    "sandbox = 'require'",
    "hours = []",
    "expires = '2020-01-31'",
];

const REQUESTS: [&str; 30] = [
    "scp -t .",
    "scp -t /",
    "scp -t ''",
    "scp -t d",
    "scp -d -t d/",
    "scp -d -t none",
    "scp -r -t none",
    "scp -t none/",
    "scp -t none/x",
    "scp -t x.csv",
    "scp -t d/a",
    "scp -p -t d/x.csv",
    "scp -t d/*",
    "scp -t shut/x",
    "scp -t .x",
    "scp -t .ssh/x",
    "scp -t loop",
    "scp -t out/x",
    "scp -t inside/x",
    "scp -t a b",
    "scp -t 'x\u{7}'",
    "scp -f d/a",
    "scp -r -f d",
    "scp -p -f d/a d/x",
    "scp -f 'd/[ab]'",
    "scp -f pipe",
    "scp -f inside/a",
    "scp -f unread",
    "scp -f /d/a",
    "scp -f .x",
];

#[test]
fn explain_agrees_with_sessions_under_rules_of_every_kind() {
    let (mut allowed, mut denied, mut disagreements) = (0, 0, Vec::new());
    for kind in KINDS {
        // What one session stores is not to be there for the next question, so each kind has a yard of its own.
        let Some(yard) = Yard::of_a_user() else { return };
        let root = yard.path("");
        let conditions = kind.starts_with("hours") || kind.starts_with("expires");
        let head = if conditions { "[[match]]" } else { "[default]" };
        let logs = yard.home().join("logs");
        fs::create_dir_all(logs.join("shut")).unwrap();
        fs::write(logs.join("open"), "").unwrap();
        fs::set_permissions(logs.join("open"), Permissions::from_mode(0o666)).unwrap();
        let kind = &kind.replace("LOGS", logs.to_str().unwrap());
        let config = file(&yard, &format!("{head}\nroot = '{}'\n{kind}\n", root.display()));
        for request in REQUESTS {
            for name in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
                let _ = fs::remove_file(&name).or_else(|_| fs::remove_dir_all(&name));
            }
            yard.dir("d").file("d/a", "a").file("d/x", "x").dir("shut").file(".x", "").file("unread", "");
            yard.link("out", "/etc").link("inside", "d").link("loop", "loop").fifo("pipe");
            yard.chmod("shut", 0o500).chmod("unread", 0o000);
            let (status, out, err) = ask(&["explain", "--user", "scptest", "--config", &config, request]);
            assert_eq!(err, "", "{kind}: {request}");
            // Of several things that are asked for, some can be refused.
            let told = status == 0 && !out.contains("\nrefused:");
            if told != serves(&yard, &config, request) {
                disagreements.push(format!("{kind}: {request}: {out}"));
            }
            *if told { &mut allowed } else { &mut denied } += 1;
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert!(allowed >= 60 && denied >= 100, "{allowed} {denied}");
    tally::figure(&format!(
        "explain and {} sessions agree: {allowed} allowed, {denied} denied",
        allowed + denied
    ));
}
