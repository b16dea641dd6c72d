//! Every system call of an upload fails once, at every place in a session: each record has one reply, what was there is old
//! or new, what follows arrives, and nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::tally;
use crate::yard::Yard;

/// The calls that an upload is made of, and what each may say.
const FAULTS: &[(&str, &[&str])] = &[
    ("close", &["EIO", "ENOSPC"]),
    ("fchmod", &["EPERM", "EIO"]),
    ("fcntl", &["EMFILE"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("flock", &["ENOLCK", "EAGAIN"]),
    ("fsync", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("mkdirat", &["EACCES", "ENOSPC", "EDQUOT"]),
    ("newfstatat", &["EIO", "EACCES"]),
    ("openat", &["ENOSPC", "EACCES", "EMFILE"]),
    ("openat2", &["EACCES", "EMFILE"]),
    ("renameat", &["EACCES", "EISDIR", "EIO"]),
    ("unlinkat", &["EIO"]),
    ("utimensat", &["EPERM", "EIO"]),
    ("write", &["ENOSPC", "EDQUOT", "EIO", "EFBIG"]),
];

/// A client that goes step by step, as OpenSSH's.
struct Client {
    child: Child,
    replies: usize,
    records: usize,
    refused: usize,
}

impl Client {
    fn starts(yard: &Yard, trace: &Path, fault: &[String]) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-s", "64", "-o"])
            .arg(trace)
            .args(fault)
            .arg(env!("CARGO_BIN_EXE_scp-server"))
            .arg("--root")
            .arg(yard.path(""))
            .args(["--sync", "file", "-r", "-p", "-t", "."])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, replies: 0, records: 0, refused: 0 }
    }

    /// Hears one reply; nothing where the session has ended.
    fn hears(&mut self) -> Option<bool> {
        let mut byte = [0];
        let stdout = self.child.stdout.as_mut().unwrap();
        if stdout.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        self.replies += 1;
        if byte[0] == 0 {
            return Some(true);
        }
        assert_eq!(byte[0], 1, "a reply is yes, or a line of text");
        while byte[0] != b'\n' && stdout.read(&mut byte).unwrap_or(0) == 1 {}
        self.refused += 1;
        Some(false)
    }

    fn says(&mut self, record: &str) -> Option<bool> {
        self.records += 1;
        self.child.stdin.as_mut().unwrap().write_all(record.as_bytes()).ok()?;
        self.hears()
    }

    fn sends(&mut self, name: &str, contents: &str) -> Option<bool> {
        let wanted = self.says("T1000000000 0 1000000000 0\n")?
            && self.says(&format!("C0644 {} {name}\n", contents.len()))?;
        if wanted { self.says(&format!("{contents}\0")) } else { Some(false) }
    }

    /// The whole session; if it was held to the end, whether the last file was acknowledged.
    fn holds_session(&mut self) -> Option<bool> {
        if !self.hears()? {
            return None;
        }
        if self.says("D0755 0 d\n")? {
            self.sends("old", "newer")?;
            self.sends("fresh", "first")?;
            self.says("E\n")?;
        }
        self.sends("after", "still here")
    }

    fn ends(mut self) -> (usize, usize, usize, Option<i32>) {
        drop(self.child.stdin.take());
        let mut rest = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "a reply that nobody asked for");
        let status = self.child.wait().unwrap();
        (self.replies, self.records, self.refused, status.code())
    }
}

/// Counts, in a trace, the calls before the sandbox was on and all of them; of writes only those to files.
fn calls(trace: &str) -> BTreeMap<String, Vec<usize>> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut places = BTreeMap::<String, Vec<usize>>::new();
    let sandboxed = trace.lines().collect::<Vec<_>>().iter().rposition(|line| line.contains(" seccomp("));
    let sandboxed = sandboxed.expect("the sandbox was on");
    for (number, line) in trace.lines().enumerate() {
        let call = line.split_whitespace().nth(1).unwrap_or("").split('(').next().unwrap().to_owned();
        let count = seen.entry(call.clone()).or_default();
        *count += 1;
        let on_the_wire = call == "write" && (line.contains(r#", "\0", 1"#) || line.contains(r#", "\1"#));
        if number > sandboxed && !on_the_wire {
            places.entry(call).or_default().push(*count);
        }
    }
    places
}

fn prepare(yard: &Yard) {
    for name in ["d", "after"] {
        fs::remove_dir_all(yard.path(name)).or_else(|_| fs::remove_file(yard.path(name))).ok();
    }
    yard.dir("d").file("d/old", "old contents");
}

// covers: security RP-01, security RP-02, security RP-03, security RP-04, security RP-05, security RP-06, security RP-07,
// covers: security RP-08, security RES-10, peers 74, peers H-h
#[test]
fn whatever_fails_each_record_has_one_reply_and_no_file_is_lost() {
    if Command::new("strace").arg("-V").output().is_err() {
        tally::skipped("strace is not here");
        return;
    }
    let Some(yard) = Yard::confined() else { return };
    let trace = yard.home().join("trace");
    prepare(&yard);
    let mut client = Client::starts(&yard, &trace, &[]);
    client.holds_session().expect("without a fault nothing fails");
    let (replies, records, refused, status) = client.ends();
    assert_eq!((replies, refused, status), (records + 1, 0, Some(0)));
    let places = calls(&fs::read_to_string(&trace).unwrap());

    let (mut cases, mut refusals, mut early_ends) = (0, 0, 0);
    for (call, errors) in FAULTS {
        for place in places.get(*call).into_iter().flatten() {
            for error in *errors {
                let case = format!("{call} {place} {error}");
                prepare(&yard);
                let fault = ["-e".into(), format!("inject={call}:error={error}:when={place}")];
                let mut client = Client::starts(&yard, &trace, &fault);
                let held = client.holds_session();
                let (replies, records, refused, status) = client.ends();
                cases += 1;
                refusals += usize::from(refused > 0);
                early_ends += usize::from(held.is_none());
                let failed = refused > 0 || held.is_none();
                // A fault may be harmless: a lock that is not had, a directory that is not searched for stale files.
                assert!(matches!(status, Some(0 | 1)), "{case}: {status:?}");
                assert!(!failed || status == Some(1), "{case}: {refused} refused, {status:?}");
                if let Some(stored) = held {
                    assert_eq!(replies, records + 1, "{case}: one reply each, and the first");
                    // Refused is the record that the fault has met, or each, where it has met the target.
                    assert!(stored || refused > 0, "{case}");
                    if stored {
                        yard.has("after", "still here");
                    }
                }
                let old = yard.contents("d/old");
                assert!(old == b"old contents" || old == b"newer", "{case}: {:?}", old.escape_ascii());
                for dir in ["", "d"] {
                    for entry in fs::read_dir(yard.path(dir)).unwrap() {
                        let name = entry.unwrap().file_name().into_string().unwrap();
                        if name.starts_with(".scp-") {
                            // The call that takes it away was made to fail: the next session does.
                            assert_eq!(*call, "unlinkat", "{case}: {name} was left");
                            fs::remove_file(yard.path(dir).join(name)).unwrap();
                        }
                    }
                }
            }
        }
    }
    assert!(cases > 50 && refusals > 20, "{cases} cases, {refusals} refused");
    tally::figure(&format!(
        "{cases} faults injected (calls x places x errors): {refusals} told, {early_ends} ended the session, no file lost"
    ));
}
