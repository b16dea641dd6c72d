//! Runs every seed and every regression through the body of its target, without a fuzzer.

#![allow(clippy::disallowed_methods, reason = "reads the seeds by their paths")]

use std::fs;
use std::path::Path;

fn run_all(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for collection in ["corpus", "regressions"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(collection).join(target);
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            // What stops says why; the file's name is missing there.
            eprintln!("{}", path.display());
            run(&data);
            // Cut anywhere, it is another conversation.
            (0..data.len().min(400)).for_each(|end| run(&data[..end]));
            count += 1;
        }
    }
    assert!(count > 0, "there is no seed for {target}");
}

#[test]
fn records() {
    run_all("wire", scp_server_fuzz::wire::run);
}

#[test]
fn command_lines_split() {
    run_all("words", scp_server_fuzz::words::run);
}

#[test]
fn patterns() {
    run_all("pattern", scp_server_fuzz::pattern::run);
}

#[test]
fn requests() {
    run_all("request", scp_server_fuzz::request::run);
}

#[test]
fn uploads() {
    run_all("sink", scp_server_fuzz::sink::run);
}

#[test]
fn downloads() {
    run_all("source", scp_server_fuzz::source::run);
}

#[test]
fn configurations() {
    run_all("config", scp_server_fuzz::config::run);
}
