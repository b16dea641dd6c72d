//! What happens meanwhile: trees that change under a session, two sessions at once, signals, limits.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

// covers: security PT-13
#[test]
fn a_root_whose_name_is_given_to_another_directory_is_still_the_old_one() {
    let Some(mut yard) = Yard::confined() else { return };
    yard.dir("d").file("d/a", "inside");
    fs::write(yard.outside("a"), "outside").unwrap();
    yard.looks_outside_again();
    let mut sink = Peer::sink(&yard, "-r", ".");
    sink.hears_ok();
    let mut source = Peer::source(&yard, "-r", ["d"]);
    source.says_ok().hears_record("D0755 0 d");
    let away = yard.home().join("away");
    fs::rename(yard.path(""), &away).unwrap();
    symlink(yard.outside(""), yard.path("")).unwrap();
    source.says_ok().hears_file("C0644 6 a", "inside").hears_record("E").says_ok().sees_exit(0);
    sink.stores("C0644 3 secret", "new").says_record("D0755 0 d").hears_ok().stores("C0644 1 b", "1");
    sink.says_record("E").hears_ok().hangs_up().sees_exit(0);
    fs::remove_file(yard.path("")).unwrap();
    fs::rename(&away, yard.path("")).unwrap();
    yard.holds(["d/", "d/a", "d/b", "secret"]);
}

// covers: security PT-12, peers 95, peers 96
#[test]
fn a_directory_swapped_for_a_link_in_the_middle_of_a_session_leads_nowhere() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/inner", "inside");
    let mut sink = Peer::sink(&yard, "-r -p", ".");
    sink.hears_ok().says_record("T5 0 5 0").hears_ok().says_record("D0777 0 d").hears_ok();
    let mut source = Peer::source(&yard, "-r", ["d"]);
    source.says_ok().hears_record("D0755 0 d");
    fs::rename(yard.path("d"), yard.path("moved")).unwrap();
    yard.link("d", "../outside/d");
    sink.stores("C0644 3 inner", "new").stores("C0644 1 b", "1");
    sink.says_record("E").hears_ok().hangs_up().sees_exit(0);
    source.hangs_up().hears_the_rest();
    source.sees_exit(1);
    yard.holds(["d -> ../outside/d", "moved/", "moved/b", "moved/inner"]);
    assert_eq!((yard.mode("moved"), yard.stamps("moved").0), (0o777, 5));
}

// covers: security PT-12, security PT-01
#[test]
fn a_name_swapped_for_a_link_between_header_and_contents_is_replaced() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "old").dir("t");
    let mut peer = Peer::sink(&yard, "-p", ".");
    peer.hears_ok().says_record("T5 0 5 0").hears_ok().says_record("C0600 3 a").hears_ok().says("ne");
    fs::remove_file(yard.path("a")).unwrap();
    yard.link("a", "../outside/secret");
    peer.says("w\0").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["a", "t/"]);
    yard.has("a", "new");
}

// covers: security PT-11, clients 2.14
#[test]
fn a_name_that_becomes_a_directory_between_header_and_contents_is_an_error_in_step() {
    let Some(yard) = Yard::ours("has the file open by then") else {
        return;
    };
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0600 3 a").hears_ok().says("ne");
    let _ = fs::remove_file(yard.path("a"));
    yard.dir("a");
    peer.says("w\0");
    let heard = peer.hears_refusal();
    // The sandbox has no right to remove directories, and the kernel asks it first.
    assert!(heard.ends_with("a: Is a directory") || heard.ends_with("a: Permission denied"), "{heard}");
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["a/", "b"]);
}

// covers: security SRC-07, clients 3.15, peers H-d, peers 113
#[test]
fn a_file_that_shrinks_is_filled_up_and_told_of() {
    let yard = Yard::new();
    yard.file("a", "hello").file("b", "2");
    let mut peer = Peer::source(&yard, "", ["a", "b"]);
    peer.says_ok().hears_record("C0644 5 a");
    fs::write(yard.path("a"), "he").unwrap();
    peer.says_ok().hears_exactly("he\0\0\0");
    peer.hears_refusal();
    peer.says_ok().hears_file("C0644 1 b", "2").sees_exit(1);
}

// covers: security SRC-07, clients 2.16, peers H-d
#[test]
fn a_file_that_grows_is_replaced_or_deleted_is_sent_as_announced() {
    for change in ["grows", "is replaced", "is deleted", "is closed"] {
        let yard = Yard::new();
        yard.file("a", "hello").file("b", "2");
        let mut peer = Peer::source(&yard, "", ["a", "b"]);
        peer.says_ok().hears_record("C0644 5 a");
        match change {
            "grows" => fs::write(yard.path("a"), "hello, world").unwrap(),
            "is replaced" => fs::rename(yard.path("b"), yard.path("a")).unwrap(),
            "is deleted" => fs::remove_file(yard.path("a")).unwrap(),
            _ => drop(yard.chmod("a", 0)),
        }
        yard.file("b", "2");
        peer.says_ok().hears_exactly("hello\0").says_ok().hears_file("C0644 1 b", "2").sees_exit(0);
    }
}

// covers: security SRC-10, security CON-03
#[test]
fn entries_that_go_while_a_directory_is_sent_are_told_of_or_left_out() {
    let yard = Yard::new();
    yard.dir("d").dir("d/x").dir("d/y").file("d/x/f", "").file("d/y/f", "");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    let first = peer.hears_line();
    fs::remove_dir_all(yard.path("d")).unwrap();
    assert!(first.starts_with("D0755 0 "), "{first}");
    let rest = peer.says([0; 9]).hangs_up().hears_the_rest();
    peer.sees_whatever_exit();
    let rest = rest.escape_ascii().to_string();
    assert!(rest.ends_with("E\\n") && !rest.contains("C0644"), "{rest}");
}

// covers: peers 15
#[test]
fn a_file_can_be_copied_onto_itself() {
    let yard = Yard::new();
    let contents = "all of it, all of it".repeat(5000);
    yard.file("a", &contents);
    let (mut source, mut sink) = (Peer::source(&yard, "", ["a"]), Peer::sink(&yard, "", "a"));
    sink.hears_ok();
    source.says_ok().hears_record("C0644 100000 a");
    sink.says_record("C0644 100000 a").hears_ok();
    source.says_ok();
    let bytes = source.hears_count(100_001);
    sink.says(bytes).hears_ok().hangs_up().sees_exit(0);
    source.says_ok().sees_exit(0);
    yard.has("a", contents);
}

// covers: peers H-f, security CON-01
#[test]
fn of_two_uploads_of_one_name_each_is_whole_and_the_last_is_kept() {
    let yard = Yard::new();
    yard.file("a", "old");
    let (mut one, mut two) = (Peer::sink(&yard, "", "a"), Peer::sink(&yard, "", "a"));
    one.hears_ok().says_record("C0644 6 a").hears_ok().says("one");
    two.hears_ok().says_record("C0644 6 a").hears_ok().says("two");
    one.says("one\0").hears_ok();
    let between = yard.contents("a");
    two.says("two\0").hears_ok();
    one.hangs_up().sees_exit(0);
    two.hangs_up().sees_exit(0);
    if !yard.openssh("mixes two uploads of one name") {
        assert_eq!(between, b"oneone");
        yard.has("a", "twotwo");
    }
    yard.holds(["a"]);
}

// covers: security CON-02, security CON-05
#[test]
fn a_fetch_during_an_upload_gets_the_old_file() {
    let Some(yard) = Yard::ours("a reader meanwhile sees new and old contents mixed") else {
        return;
    };
    yard.file("a", "old");
    let mut sink = Peer::sink(&yard, "", "a");
    sink.hears_ok().says_record("C0644 3 a").hears_ok().says("ne").hears_nothing();
    let mut source = Peer::source(&yard, "", ["a"]);
    source.says_ok().hears_record("C0644 3 a");
    sink.says("w\0").hears_ok().hangs_up().sees_exit(0);
    source.says_ok().hears_exactly("old\0").says_ok().sees_exit(0);
    yard.has("a", "new");
}

// covers: security CON-04
#[test]
fn two_sessions_can_make_one_directory() {
    let yard = Yard::new();
    let mut peers = [Peer::sink(&yard, "-r", "."), Peer::sink(&yard, "-r", ".")];
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.hears_ok().says_record("D0755 0 d").hears_ok().stores(format!("C0644 1 {number}"), "x");
    }
    for peer in &mut peers {
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    }
    yard.holds(["d/", "d/0", "d/1"]);
}

// covers: peers H-r, security RES-09, peers 110
#[test]
fn a_signal_ends_an_upload_with_the_old_file_in_place_and_no_trace() {
    let Some(yard) = Yard::ours("leaves what it has written so far") else {
        return;
    };
    yard.file("a", "old");
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        for name in ["a", "new"] {
            let mut peer = Peer::sink(&yard, "", ".");
            peer.hears_ok().says_record(format!("C0644 9 {name}")).hears_ok().says("some").hears_nothing();
            peer.signals(signal).hears_the_rest();
            peer.sees_exit(1);
            yard.holds(["a"]);
            yard.has("a", "old");
        }
        let mut peer = Peer::sink(&yard, "", ".");
        peer.hears_ok().signals(signal).hears_the_rest();
        peer.sees_exit(1);
        let mut peer = Peer::source(&yard, "", ["a"]);
        peer.says_ok().hears_record("C0644 3 a").signals(signal).hears_the_rest();
        peer.sees_exit(1);
    }
}

// covers: peers H-a, security RES-09
#[test]
fn a_server_that_is_killed_leaves_the_old_file() {
    let yard = Yard::new();
    yard.file("a", "the old version");
    let mut peer = Peer::sink(&yard, "", "a");
    peer.hears_ok().says_record("C0644 9 a").hears_ok().says("some").hears_nothing();
    peer.signals(Signal::SIGKILL).sees_any_end();
    if !yard.openssh("leaves pieces of a file that was cut short, mixed with what was there before") {
        yard.has("a", "the old version");
    }
    // Whatever had no name of its own yet may be left, if nothing else is.
    for name in yard.listing().iter().filter(|name| *name != "a") {
        assert!(name.starts_with(".scp-"), "{name}");
        fs::remove_file(yard.path(name)).unwrap();
    }
}

// covers: peers H-s, security SQ-20
#[test]
fn what_a_killed_server_left_is_cleared_away_by_the_next_and_what_a_living_one_has_is_not() {
    let Some(yard) = Yard::ours("has no temporaries") else { return };
    yard.dir("d").file("d/.scp-0123456789abcdef", "somebody else's, and new");
    let mut killed = Peer::sink(&yard, "", "d");
    killed.hears_ok().says_record("C0644 9 a").hears_ok().says("some").hears_nothing();
    killed.signals(Signal::SIGKILL).sees_any_end();
    assert_eq!(yard.listing().len(), 3, "{:?}", yard.listing());
    let mut living = Peer::sink(&yard, "", "d");
    living.hears_ok().says_record("C0644 8 b").hears_ok().says("half").hears_nothing();
    for name in ["c", "d"] {
        Peer::sink(&yard, "", "d").hears_ok().stores(format!("C0644 1 {name}"), "1").hangs_up().sees_exit(0);
    }
    living.says("half\0").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["d/", "d/.scp-0123456789abcdef", "d/b", "d/c", "d/d"]);
    yard.has("d/b", "halfhalf");
    fs::remove_file(yard.path("d/.scp-0123456789abcdef")).unwrap();
}

// covers: peers H-c, peers 114, security RES-07, security ENV-08, clients 2.14
#[test]
fn a_limit_on_file_sizes_is_an_error_in_step_and_the_next_file_is_stored() {
    let Some(yard) = Yard::ours("dies of SIGXFSZ") else {
        return;
    };
    yard.file("a", "the old version");
    let mut peer = Server::of(&yard).after("ulimit -f 8").sink("", ".");
    peer.hears_ok().says_record("C0644 100000 a");
    if peer.hears_whether_ok() {
        peer.says(vec![b'x'; 100_000]).says_ok();
    }
    assert!(peer.hears_refusal().ends_with("a: File too large"));
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["a", "b"]);
    yard.has("a", "the old version");
}

// covers: security PT-22
#[test]
fn a_file_of_somebody_elses_in_a_sticky_directory_is_refused_in_step() {
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.user().is_none() {
        return;
    }
    yard.dir("t").file("t/a", "root's").chmod("t", 0o1777);
    for name in ["t", "t/a"] {
        std::os::unix::fs::chown(yard.path(name), Some(0), Some(0)).unwrap();
    }
    let mut peer = Peer::sink(&yard, "", "t");
    peer.hears_ok().says_record("C0644 3 a");
    if peer.hears_whether_ok() {
        peer.says("new\0");
    }
    let heard = peer.hears_refusal();
    assert!(heard.ends_with("Operation not permitted") || heard.ends_with("Permission denied"), "{heard}");
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["t/", "t/a", "t/b"]);
    yard.has("t/a", "root's");
}

// covers: peers H-h, peers 74
#[test]
fn times_and_mode_that_cannot_be_set_are_an_error_and_the_next_file_is_intact() {
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.user().is_none() {
        return;
    }
    yard.file("a", "root's").chmod("a", 0o666);
    std::os::unix::fs::chown(yard.path("a"), Some(0), Some(0)).unwrap();
    let mut peer = Peer::sink(&yard, "-p", ".");
    peer.hears_ok().says_record("T5 0 5 0").hears_ok().says_record("C0640 3 a").hears_ok().says("new\0");
    let stored = peer.hears_whether_ok();
    if !stored {
        peer.hears_refusal();
    }
    peer.says_record("T7 0 7 0")
        .hears_ok()
        .stores("C0644 4 b", "next")
        .hangs_up()
        .sees_exit(i32::from(!stored));
    // In a root the file is another one, and ours; without, it is still root's: its times and mode are too.
    assert_eq!(stored, !yard.unconfined());
    yard.has("a", "new");
    assert_eq!((yard.stamps("b").0, yard.mode("b")), (7, 0o644));
    yard.has("b", "next");
}

// covers: security CON-06
#[test]
fn many_sessions_at_once_are_served() {
    let yard = Yard::new();
    let mut peers: Vec<Peer> = (0..50).map(|_| Peer::sink(&yard, "", ".")).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.hears_ok().says_record(format!("C0644 1 {number}")).hears_ok().says("x");
    }
    for peer in &mut peers {
        peer.says_ok().hears_ok().hangs_up().sees_exit(0);
    }
    assert_eq!(yard.listing().len(), 50);
}
