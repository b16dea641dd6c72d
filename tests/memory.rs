//! Memory is flat: it does not grow with the number of files, nor with a size that somebody claims.

use std::os::unix::fs::MetadataExt;

use crate::peer::Peer;
use crate::yard::Yard;

/// More than this, in KiB, is growth and not chance.
const MARGIN: u64 = 300;

const FEW: usize = 10;
const MANY: usize = 20_000;

/// Stores so many files and returns the peak.
fn peak_of_storing(count: usize) -> u64 {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    let files: Vec<String> = (0..count).map(|number| format!("C0644 1 {number}\n1\0")).collect();
    for some in files.chunks(500) {
        peer.says(some.concat()).hears_oks(2 * some.len());
    }
    let peak = peer.peak_memory();
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    peak
}

/// Fetches a directory of so many files and returns the peak.
fn peak_of_fetching(count: usize) -> u64 {
    let yard = Yard::new();
    yard.dir("d").file("d/0", "1");
    for number in 1..count {
        yard.hard_link(yard.path("d/0"), format!("d/{number}"));
    }
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says(vec![0; 2 + 2 * count]);
    let total: usize = "D0755 0 d\n".len()
        + (0..count).map(|number| format!("C0644 1 {number}\n1\0").len()).sum::<usize>()
        + "E\n".len();
    peer.hears_count(total);
    let peak = peer.peak_memory();
    peer.says_ok().sees_exit(0);
    peak
}

// covers: security RES-03, security SQ-16, peers 18
#[test]
fn storing_many_files_takes_no_more_memory_than_storing_a_few() {
    let (few, many) = (peak_of_storing(FEW), peak_of_storing(MANY));
    assert!(many <= few + MARGIN, "{few} KiB for {FEW} files, {many} KiB for {MANY}");
}

// covers: security SRC-09, peers H-m, peers 119
#[test]
fn fetching_many_files_takes_no_more_memory_than_fetching_a_few() {
    let (few, many) = (peak_of_fetching(FEW), peak_of_fetching(MANY));
    assert!(many <= few + MARGIN, "{few} KiB for {FEW} files, {many} KiB for {MANY}");
}

// covers: security CR-22, peers H-p, clients 3.10
#[test]
fn a_claim_of_endless_size_takes_no_memory_and_is_refused_or_cut_short() {
    let plain = peak_of_storing(FEW);
    for size in [i64::MAX, 1 << 30] {
        let yard = Yard::new();
        yard.file("a", "the old version");
        let mut peer = Peer::sink(&yard, "", ".");
        peer.hears_ok().says_record(format!("C0644 {size} a"));
        // More than there is room for can be refused at once; then the session goes on.
        let accepted = peer.hears_whether_ok();
        if accepted {
            peer.says("some").hears_nothing();
        } else {
            assert!(peer.hears_refusal().contains("a: "));
            peer.stores("C0644 1 b", "1");
        }
        let peak = peer.peak_memory();
        assert!(
            peak <= plain + MARGIN,
            "{plain} KiB for small files, {peak} KiB for a claim of {size} bytes"
        );
        let entries = std::fs::read_dir(yard.path("")).unwrap();
        let blocks: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().blocks()).sum();
        assert!(blocks < 100, "{blocks} blocks for four bytes");
        peer.hangs_up().hears_the_rest();
        peer.sees_exit(1);
        if !yard.openssh("leaves pieces of a file that was cut short, mixed with what was there before") {
            yard.has("a", "the old version");
        }
    }
}

// covers: security CR-13, security CR-12
#[test]
fn a_line_that_does_not_end_takes_no_memory() {
    let plain = peak_of_storing(FEW);
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    // Just what is not too long yet.
    peer.hears_ok().says([b'C'; 2000]).hears_nothing();
    let peak = peer.peak_memory();
    assert!(peak <= plain + MARGIN, "{plain} KiB for small files, {peak} KiB for a long line");
    peer.says(vec![b'C'; 1 << 20]).hears_refusal();
    peer.sees_exit(1);
}
