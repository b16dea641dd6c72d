//! Many sessions at once, on the same names: each upload is whole, each reader sees one version, nothing is left.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::peer::Peer;
use crate::tally;
use crate::yard::Yard;

/// Contents that show what they are a piece of: one letter, and a length of its own.
fn version(letter: u8) -> Vec<u8> {
    vec![letter; 100_000 + 10_000 * usize::from(letter - b'a')]
}

/// Asserts that these are the contents of one upload, all of them.
#[track_caller]
fn assert_whole(contents: &[u8]) {
    let letter = contents[0];
    assert!(contents == version(letter), "{} bytes that begin with {:?}", contents.len(), letter as char);
}

/// Stores a version under a name in a session of its own.
fn stores(yard: &Yard, name: &str, letter: u8) {
    let contents = version(letter);
    let mut peer = Peer::sink(yard, "", name);
    peer.hears_ok().stores(format!("C0644 {} a", contents.len()), contents).hangs_up().sees_exit(0);
}

/// Does one thing again and again while another one is done; returns how often.
fn meanwhile(again: impl Fn() + Sync, doing: impl FnOnce()) -> usize {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut turns = 0;
            while !ended.load(Ordering::Relaxed) {
                again();
                turns += 1;
            }
            turns
        });
        let end = Ends(&ended);
        doing();
        drop(end);
        counting.join().unwrap()
    })
}

/// Ends what is done meanwhile, even if a test stops.
struct Ends<'e>(&'e AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// covers: security CON-01
#[test]
fn of_many_uploads_of_one_name_at_once_every_one_is_answered_and_one_is_there_whole() {
    let Some(yard) = Yard::ours("mixes two uploads of one name") else { return };
    for _ in 0..3 {
        thread::scope(|scope| {
            for letter in b'a'..b'g' {
                let yard = &yard;
                scope.spawn(move || stores(yard, "a", letter));
            }
        });
        assert_whole(&yard.contents("a"));
        yard.holds(["a"]);
    }
}

// covers: security CON-02
#[test]
fn whoever_reads_a_name_while_it_is_replaced_sees_one_version_and_never_none() {
    let Some(yard) = Yard::ours("a reader meanwhile sees new and old contents mixed") else { return };
    yard.file("a", version(b'a'));
    let turns = meanwhile(
        || assert_whole(&yard.contents("a")),
        || {
            let mut peer = Peer::sink(&yard, "", ".");
            peer.hears_ok();
            for letter in (b'a'..b'f').cycle().take(60) {
                let contents = version(letter);
                peer.stores(format!("C0644 {} a", contents.len()), contents);
            }
            peer.hangs_up().sees_exit(0);
        },
    );
    assert!(turns > 10, "{turns} looks");
}

// covers: security CON-05
#[test]
fn whoever_fetches_a_file_while_it_is_replaced_gets_one_version() {
    let Some(yard) = Yard::ours("a reader meanwhile sees new and old contents mixed") else { return };
    yard.dir("d").file("d/a", version(b'a'));
    let mut letters = 0;
    meanwhile(
        || (b'a'..b'e').for_each(|letter| stores(&yard, "d/a", letter)),
        || {
            for _ in 0..15 {
                let mut peer = Peer::source(&yard, "-r", ["d"]);
                let heard = peer.says([0; 9]).hears_the_rest();
                peer.sees_exit(0);
                let heard = heard.strip_prefix(b"D0755 0 d\n").unwrap();
                let line = heard.iter().position(|&byte| byte == b'\n').unwrap();
                assert!(heard.starts_with(b"C0644 ") && heard.ends_with(b"\0E\n"));
                let contents = &heard[line + 1..heard.len() - 3];
                assert_whole(contents);
                letters |= 1 << (contents[0] - b'a');
            }
        },
    );
    yard.holds(["d/", "d/a"]);
    tally::figure(&format!("{} versions seen", u32::count_ones(letters)));
}

// covers: security CON-03
#[test]
fn a_tree_that_is_removed_and_renamed_meanwhile_is_errors_in_step_and_no_way_out() {
    let Some(yard) = Yard::confined() else { return };
    let (there, away) = (yard.path("d"), yard.path("e"));
    let make = || {
        let _ = fs::create_dir_all(there.join("sub"));
        let _ = fs::write(there.join("sub/f"), "inside");
    };
    make();
    let turns = meanwhile(
        || {
            let _ = fs::rename(&there, &away);
            let _ = fs::remove_dir_all(&away);
            make();
        },
        || {
            for _ in 0..12 {
                let mut source = Peer::source(&yard, "-r -p", ["d"]);
                let heard = source.says([0; 50]).hangs_up().hears_the_rest();
                source.sees_whatever_exit();
                assert!(!heard.windows(6).any(|part| part == b"secret"), "{}", heard.escape_ascii());
                let mut sink = Peer::sink(&yard, "-r -p", ".");
                sink.hears_ok();
                for record in ["T5 0 5 0", "D0755 0 d", "D0700 0 sub", "C0600 3 f"] {
                    sink.says_record(record);
                    if !sink.hears_whether_ok() {
                        sink.hears_refusal();
                    } else if record.starts_with('C') {
                        sink.says("new\0");
                        if !sink.hears_whether_ok() {
                            sink.hears_refusal();
                        }
                    }
                }
                sink.hangs_up().hears_the_rest();
                sink.sees_whatever_exit();
            }
        },
    );
    assert!(turns > 10, "{turns} removals");
    // Stored beside it where the directory was refused; in it, where it was there for long enough.
    assert!(
        yard.listing().iter().all(|name| ["d", "e", "f", "s"].iter().any(|known| name.starts_with(known)))
    );
}

// covers: security CON-04
#[test]
fn sessions_that_make_the_same_directories_at_once_all_find_them_made() {
    let yard = Yard::new();
    if yard.openssh("refuses a directory that another session makes between its look and its mkdir") {
        return;
    }
    thread::scope(|scope| {
        for number in 0..8 {
            let yard = &yard;
            scope.spawn(move || {
                let mut peer = Peer::sink(yard, "-r", ".");
                peer.hears_ok();
                for name in ["a", "b", "c", "d"] {
                    peer.says_record(format!("D0755 0 {name}")).hears_ok();
                }
                peer.stores(format!("C0644 1 {number}"), "x");
                peer.says("E\nE\nE\nE\n").hears_oks(4).hangs_up().sees_exit(0);
            });
        }
    });
    let mut names = vec!["a/".to_owned(), "a/b/".to_owned(), "a/b/c/".to_owned(), "a/b/c/d/".to_owned()];
    names.extend((0..8).map(|number| format!("a/b/c/d/{number}")));
    assert_eq!(yard.listing(), names);
}

// covers: security CON-06
#[test]
fn two_hundred_sessions_at_once_are_served() {
    let yard = Yard::new();
    yard.file("shared", "shared");
    // Three pipes for each of them.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 2000 {
        return tally::skipped("not enough descriptors for two hundred sessions");
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(2000), hard).unwrap();
    let mut sinks: Vec<Peer> = (0..100).map(|_| Peer::sink(&yard, "", ".")).collect();
    let mut sources: Vec<Peer> = (0..100).map(|_| Peer::source(&yard, "", ["shared"])).collect();
    for (number, peer) in sinks.iter_mut().enumerate() {
        peer.hears_ok().says_record(format!("C0644 1 {number}")).hears_ok().says("x");
    }
    for peer in &mut sources {
        peer.says_ok().hears_record("C0644 6 shared");
    }
    for peer in &mut sinks {
        peer.says_ok().hears_ok().hangs_up().sees_exit(0);
    }
    for peer in &mut sources {
        peer.says_ok().hears_exactly("shared\0").says_ok().sees_exit(0);
    }
    assert_eq!(yard.listing().len(), 101);
}
