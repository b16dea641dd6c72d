//! Every key of the file makes a difference to a session.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Group, User, getegid, getuid};
use scp_server::policy::KEYS;

use super::log_of;
use crate::cell;
use crate::server::Server;
use crate::sshd::bench::run;
use crate::yard::Yard;

/// A key; two files that differ in it; what is asked and said; what is seen with the first file only, and with the second.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const PUT: &str = "scp -t .";
const NEW: &str = "C0644 1 new\n1\0";
const UP: &str = "uploads are not allowed here";
const DOWN: &str = "downloads are not allowed here";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("user", "[[match]]\nuser = 'ME'\nread-only = true", "[[match]]\nuser = 'ME?'\nread-only = true", PUT, NEW, UP, " new:"),
    ("group", "[[match]]\ngroup = 'GROUP'\nread-only = true", "[[match]]\ngroup = 'GROUP?'\nread-only = true", PUT, NEW, UP, " new:"),
    ("from", "[[match]]\nfrom = '192.0.2.0/24'\nread-only = true", "[[match]]\nfrom = '192.0.3.0/24'\nread-only = true", PUT, NEW, UP, " new:"),
    ("hours", "[[match]]\nhours = 'Mon-Sun'", "[[match]]\nhours = 'LATER 10:00-11:00'", PUT, NEW, " new:", "transfers are not allowed at this time"),
    ("zone", "[[match]]\nexpires = 'TODAY'\nzone = 'Etc/GMT+12'", "[[match]]\nexpires = 'TODAY'\nzone = 'Pacific/Kiritimati'", PUT, NEW, " new:", "this access has expired"),
    ("expires", "[[match]]\nexpires = '2001-12-31'", "[[match]]\nexpires = '2999-12-31'", PUT, NEW, "this access has expired", " new:"),
    ("read-only", "[default]\nread-only = true", "[default]\nread-only = false", PUT, NEW, UP, " new:"),
    ("write-only", "[default]\nwrite-only = true", "[default]\nwrite-only = false", "scp -f old", "\0\0\0", DOWN, "C0644 3 old"),
    ("no-overwrite", "[default]\nno-overwrite = true", "[default]\nno-overwrite = false", PUT, "C0644 1 old\n1\0", "File exists", "old:644:1:"),
    ("no-recursion", "[default]\nno-recursion = true", "[default]\nno-recursion = false", "scp -r -t .", "D0755 0 new\nE\n", "directories (-r) are not allowed here", " new:"),
    ("no-preserve", "[default]\nno-preserve = true", "[default]\nno-preserve = false", "scp -p -t .", NEW, "(-p) is not allowed here", " new:"),
    ("drop-box", "[default]\ndrop-box = true", "[default]\ndrop-box = false", PUT, "C0644 1 old\n1\0", "old.2:", "old:644:1:"),
    ("drop-box-directory", "[default]\ndrop-box = true\ndrop-box-directory = 'in/%a'", "[default]\ndrop-box = true", PUT, NEW, "in/192.0.2.7/new:", " new:"),
    ("allow-set-id", "[default]\nallow-set-id = true", "[default]\nallow-set-id = false", "scp -p -t .", "T1 0 1 0\nC4755 1 new\n1\0", "new:4755:", "new:755:"),
    ("allow-control-characters", "[default]\nallow-control-characters = true", "[default]\n", PUT, "C0644 1 a\x07b\n1\0", "a\\x07b:", "control characters in the name are not allowed"),
    ("dot-files", "[default]\ndot-files = 'deny'", "[default]\ndot-files = 'allow'", PUT, "C0644 1 .new\n1\0", "begin with a dot are not allowed", ".new:644"),
    ("names", "[default]\nnames = '*.csv'", "[default]\nnames = ['*.csv', 'n?w']", PUT, NEW, "this name is not allowed here", " new:"),
    ("path", "[default]\npath = [{ pattern = 'new', deny = ['create'] }]", "[default]\npath = []", PUT, NEW, "storing this is not allowed here", " new:"),
    ("pattern", "[default]\npath = [{ pattern = 'n*', deny = ['all'] }]", "[default]\npath = [{ pattern = 'o*', deny = ['all'] }]", PUT, NEW, "storing this is not", " new:"),
    ("allow", "[default]\npath = [{ pattern = 'new', allow = ['upload'] }, { pattern = '**', deny = ['all'] }]", "[default]\npath = [{ pattern = 'new', allow = ['mkdir'] }, { pattern = '**', deny = ['all'] }]", PUT, NEW, " new:", "storing this is not allowed here"),
    ("deny", "[default]\npath = [{ pattern = 'old', deny = ['download'] }]", "[default]\npath = [{ pattern = 'old', deny = ['upload'] }]", "scp -f old", "\0\0\0", "downloading this is not allowed here", "C0644 3 old"),
    ("hide", "[default]\npath = [{ pattern = 'old', hide = true }]", "[default]\npath = [{ pattern = 'old', hide = false }]", "scp -f old", "\0\0\0", "No such file or directory", "C0644 3 old"),
    ("max-file-size", "[default]\nmax-file-size = 0", "[default]\nmax-file-size = 1", PUT, NEW, "is over the limit of", " new:"),
    ("max-session-size", "[default]\nmax-session-size = 1", "[default]\nmax-session-size = 2", PUT, "C0644 1 a\n1\0C0644 1 new\n1\0", "\\x01", " new:"),
    ("max-session-files", "[default]\nmax-session-files = 1", "[default]\nmax-session-files = 2", PUT, "C0644 1 a\n1\0C0644 1 new\n1\0", "\\x01", " new:"),
    ("max-depth", "[default]\nmax-depth = 1", "[default]\nmax-depth = 2", "scp -r -t .", "D0755 0 a\nD0755 0 b\nE\nE\n", "nested too deeply", " a/b:755"),
    ("min-free-space", "[default]\nmin-free-space = '1000T'", "[default]\nmin-free-space = 1", PUT, NEW, "\\x01", " new:"),
    ("umask", "[default]\numask = '077'", "[default]\numask = '007'", PUT, "C0666 1 new\n1\0", "new:600:", "new:660:"),
    ("file-mode", "[default]\nfile-mode = '604'", "[default]\nfile-mode = '640'", PUT, NEW, "new:604:", "new:640:"),
    ("directory-mode", "[default]\ndirectory-mode = '705'", "[default]\ndirectory-mode = '750'", "scp -r -t .", "D0700 0 new\nE\n", "new:705:", "new:750:"),
    ("ignore-modes", "[default]\nignore-modes = true", "[default]\nignore-modes = false", "scp -p -t .", "T1 0 1 0\nC0777 1 new\n1\0", "new:755:", "new:777:"),
    ("ignore-times", "[default]\nignore-times = false", "[default]\nignore-times = true", "scp -p -t .", "T7 0 7 0\nC0644 1 new\n1\0", "new:644:1:7 ", "new:644:1:now "),
    ("commit", "[default]\ncommit = 'tree'", "[default]\ncommit = 'file'", "scp -r -t .", "D0755 0 d\nC0644 1 x\n1\0E\n", "event=mkdir", " d/y:"),
    ("pipeline", "[default]\npipeline = 'auto'", "[default]\npipeline = 'off'", PUT, NEW, "pipeline=auto", "pipeline=off"),
    ("sandbox", "[default]\nsandbox = 'off'", "[default]\nsandbox = 'try'", PUT, NEW, "layers=none", "layers=limits"),
    ("log-format", "[default]\nlog-format = 'json'", "[default]\nlog-format = 'line'", PUT, NEW, "\"event\":\"store\"", "event=store "),
    ("checksum", "[default]\nchecksum = 'sha256'", "[default]\nchecksum = 'none'", PUT, NEW, " sha256=6b86b273ff34fce1", ""),
    ("audit", "[default]\naudit = 'require'\nlog = '/dev/full'", "[default]\naudit = 'try'\nlog = '/dev/full'", PUT, NEW, "\\x01", " new:"),
    ("log", "[default]\nlog = 'LOG'", "[default]\n", PUT, NEW, "event=store", ""),
];

/// Keys whose difference takes more than a session, and where it is tried: the file has the key, or an option of its name.
const ELSEWHERE: [(&str, &str); 15] = [
    ("root", "rights.rs"),
    ("key", "configuration/keys.rs"),
    ("principal", "configuration/keys.rs"),
    ("include", "configuration/order.rs"),
    ("allow-start-up-files", "mounts.rs"),
    ("max-sessions", "seats.rs"),
    ("max-upload-rate", "rates.rs"),
    ("max-download-rate", "rates.rs"),
    ("force-group", "storage.rs"),
    ("atomic", "policy.rs"),
    ("metadata", "commit_tree.rs"),
    ("sync", "durability.rs"),
    ("idle-timeout", "deadlines.rs"),
    ("stall-timeout", "rates.rs"),
    ("time-limit", "rates.rs"),
];

#[test]
fn every_key_of_the_file_makes_a_difference() {
    let rows = ROWS.iter().map(|row| row.0).chain(ELSEWHERE.map(|(key, _)| key));
    let tried: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(tried.len(), ROWS.len() + ELSEWHERE.len(), "each key has one place");
    let outermost = ["include", "pattern", "allow", "deny", "hide"].map(str::to_owned);
    let keys: BTreeSet<String> = KEYS.iter().map(|key| key.replace('_', "-")).chain(outermost).collect();
    assert_eq!(tried, keys);
    for (key, file) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        assert!(fs::read_to_string(path).unwrap().contains(key), "{key} is tried in {file}");
    }
    for (key, one, other, request, said, first, second) in ROWS {
        let Some([one, other]) = observe_both([one, other], request, said) else { return };
        assert!(
            one.contains(first) && (first.is_empty() || !other.contains(first)),
            "{key}: {one}\n\n{other}"
        );
        assert!(
            other.contains(second) && (second.is_empty() || !one.contains(second)),
            "{key}: {one}\n\n{other}"
        );
    }
}

fn observe_both(texts: [&str; 2], request: &str, said: &str) -> Option<[String; 2]> {
    let [one, other] = texts;
    Some([observe(one, request, said)?, observe(other, request, said)?])
}

/// Plays one session, and returns all that can be seen of it: the exit status, the replies, what is there, the log.
fn observe(text: &str, request: &str, said: &str) -> Option<String> {
    if !cell::is_root() {
        return None;
    }
    let yard = Yard::confined()?;
    yard.file("old", "old").dir("d").file("d/y", "y");
    let log = log_of(&yard);
    let date = |zone: &str, word: &str, format: &str| {
        let mut date = Command::new("date");
        run(date.envs([("TZ", zone), ("LC_ALL", "C")]).args(["-d", word, format])).out.trim().to_owned()
    };
    let text = text
        .replace("ME", &User::from_uid(getuid()).unwrap().unwrap().name)
        .replace("GROUP", &Group::from_gid(getegid()).unwrap().unwrap().name)
        .replace("LATER", &date("UTC", "+3 days", "+%a"))
        .replace("TODAY", &date("Etc/GMT+12", "now", "+%F"))
        .replace("LOG", log.to_str().unwrap());
    let mut server = Server::of(&yard).configured(&format!("{text}\n"))?;
    if !text.contains("log = ") && !text.ends_with("[default]\n") {
        server = server.option("--log").option(&log);
    }
    let mut peer = server.variable("SSH_CONNECTION", "192.0.2.7 4000 192.0.2.1 22").asks(request);
    peer.says_without_listening(said).hangs_up();
    let heard = peer.hears_the_rest();
    let exit = peer.sees_whatever_exit();
    let mut seen = format!("{exit} {} ", heard.escape_ascii());
    for entry in yard.listing() {
        let path = yard.path(entry.trim_end_matches('/').replace("\\x07", "\x07"));
        let about = fs::symlink_metadata(path).unwrap();
        let size = if about.is_file() { about.size() } else { 0 };
        let time = if about.mtime() < 1000 { about.mtime().to_string() } else { "now".to_owned() };
        seen += &format!("{}:{:o}:{size}:{time} ", entry.trim_end_matches('/'), about.mode() & 0o7777);
    }
    seen += &fs::read_to_string(&log).unwrap_or_default();
    Some(seen)
}
