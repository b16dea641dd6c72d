//! The log beside what the stock client did, through a real sshd.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::account;
use super::reader::{can_read, of, read};
use crate::sshd::bench::{Scratch, noise, run, skip};
use crate::sshd::server::{Setup, Sshd};
use crate::tally;

const CLIENTS: usize = 6;
const FILES: usize = 10;

/// Returns what sha256sum says of the files in a directory: the sum, and how many bytes.
fn sums(directory: &Path) -> BTreeMap<String, u64> {
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let output = Command::new("sha256sum").args(&files).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sizes = files.iter().map(|file| fs::metadata(file).unwrap().len());
    text.lines().map(|line| line[..64].to_owned()).zip(sizes).collect()
}

// covers: peers 135, peers 136
#[test]
fn the_log_accounts_for_every_transfer_of_many_clients_with_its_bytes_and_its_checksum() {
    if !Sshd::is_installed() {
        return skip("sshd is not installed");
    }
    if !can_read() {
        return;
    }
    let scratch = Scratch::new();
    let (root, log) = (scratch.dir("root"), scratch.path().join("log"));
    let options = format!(
        "--log {} --log-format json --audit require --checksum sha256 --sandbox require",
        log.display()
    );
    let options: Vec<&str> = options.split(' ').collect();
    let sshd = Sshd::start(&Setup { root: &root, options: &options, account: None });
    let mut expected = BTreeMap::new();
    for client in 0..CLIENTS {
        let sent = scratch.dir(&format!("client{client}"));
        for file in 0..FILES {
            let contents = noise(16 + file * file * 7001, (client * FILES + file) as u64);
            fs::write(sent.join(format!("file {file}")), contents).unwrap();
        }
        expected.extend(sums(&sent));
    }
    assert_eq!(expected.len(), CLIENTS * FILES, "no two files are the same");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (sshd, scratch) = (&sshd, &scratch);
            scope.spawn(move || {
                let sent = scratch.path().join(format!("client{client}"));
                let back = scratch.dir(&format!("back{client}"));
                run(sshd.scp().arg("-r").arg(&sent).arg("host:")).succeeded();
                run(sshd.scp().arg("-r").arg(format!("host:client{client}")).arg(&back)).succeeded();
                run(sshd.scp().arg("host:absent").arg(&back)).failed_with(1);
                run(sshd.scp().arg(sent.join("file 0")).arg("host:../outside/x")).failed_with(1);
            });
        }
    });
    let found = read("json", &log);
    for (event, direction) in [("store", "upload"), ("send", "download")] {
        let files = of(&found, event).into_iter().map(|entry| {
            entry.says(&format!("user={} from=127.0.0.1 result=ok direction={direction}", account()));
            assert!(entry.text("port").parse::<u16>().is_ok_and(|port| port > 1023));
            (entry.text("sha256"), entry.text("bytes").parse().unwrap())
        });
        let files: Vec<(String, u64)> = files.collect();
        assert_eq!(files.len(), CLIENTS * FILES, "{event}");
        assert_eq!(files.into_iter().collect::<BTreeMap<_, _>>(), expected, "{event}");
    }
    let count = |event| of(&found, event).len();
    assert_eq!((count("begin"), count("end")), (4 * CLIENTS, 4 * CLIENTS));
    assert_eq!((count("refuse"), count("security"), count("incomplete")), (CLIENTS, CLIENTS, 0));
    tally::figure(&format!(
        "{} transfers and {} refusals of {} sessions through sshd, each on record with its bytes and checksum",
        2 * CLIENTS * FILES,
        2 * CLIENTS,
        4 * CLIENTS
    ));
}
