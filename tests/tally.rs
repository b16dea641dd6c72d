//! What was skipped, and where OpenSSH does otherwise.
//!
//! libtest keeps the output of a passing test to itself, so both go to files that `tests/run` prints and counts.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// Notes that the running test was not run to its end, and why.
pub fn skipped(reason: &str) {
    append("skipped.txt", reason);
}

/// Notes that OpenSSH does something else than scp-server in the running test.
pub fn difference(what: &str) {
    append("differences.txt", what);
}

/// Notes a figure that the running test has found.
pub fn figure(what: &str) {
    append("figures.txt", what);
}

fn append(file: &'static str, text: &str) {
    static SAID: Mutex<BTreeSet<(&str, String)>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let line = format!("{}: {text}\n", thread.name().unwrap_or("?"));
    // Said in each turn of a loop, it is still one skip, or one difference.
    if !SAID.lock().unwrap().insert((file, line.clone())) {
        return;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file))
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the tally can be written");
}
