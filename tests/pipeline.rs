//! Acknowledging ahead (`--pipeline auto` and `on`): what is said early, and what never is.

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

const AHEAD: [&str; 2] = ["auto", "on"];

fn with<'y>(yard: &'y Yard, mode: &str) -> Server<'y> {
    Server::of(yard).option("--pipeline").option(mode)
}

/// Hears all that is left, which has to be nothing but acknowledgements, and sees the end.
#[track_caller]
fn ends(mut peer: Peer, code: i32) -> usize {
    let rest = peer.hangs_up().hears_the_rest();
    assert!(rest.iter().all(|&byte| byte == 0), "{}", rest.escape_ascii());
    peer.sees_exit(code);
    rest.len()
}

#[test]
fn in_a_root_files_are_acknowledged_early_if_the_administrator_says_nothing_else() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = Server::of(&yard).at_its_own_pace().sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_exactly("\0\0").says("C0644 1 a\n1\0");
    peer.hears_exactly("\0").says_record("C0644 1 b").hears_exactly("\0\0").says("2\0").hears_nothing();
    peer.says_record("E").hears_exactly("\0").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a", "d/b"]);
}

#[test]
fn in_the_place_of_scp_nothing_is_acknowledged_early() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = Server::of(&yard).at_its_own_pace().without_a_root().sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_exactly("\0").hears_nothing();
    peer.says_record("C0644 1 a").hears_exactly("\0").hears_nothing().says("1\0").hears_exactly("\0");
    peer.hears_nothing().says_record("E").hears_exactly("\0").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a"]);
}

#[test]
fn inside_a_tree_the_end_of_a_file_is_acknowledged_with_its_header() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_exactly("\0\0");
    peer.says("C0644 1 a\n1\0").hears_exactly("\0").hears_nothing();
    peer.says_record("C0644 1 b").hears_exactly("\0\0").says("2\0").hears_nothing();
    peer.says_record("E").hears_exactly("\0").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a", "d/b"]);
}

#[test]
fn times_are_acknowledged_together_with_the_record_that_has_to_follow() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").sink("-r -p", ".");
    peer.hears_ok().says_record("T10 0 20 0").hears_exactly("\0");
    peer.says_record("D0750 0 d").hears_exactly("\0\0").says("T30 0 40 0\nC0640 1 a\n").hears_exactly("\0\0");
    peer.says("1\0").hears_nothing();
    peer.says_record("T50 0 60 0")
        .hears_exactly("\0\0\0")
        .says_record("C0600 1 b")
        .says("2\0")
        .hears_nothing();
    peer.says_record("E").hears_exactly("\0").hangs_up().sees_exit(0);
    assert_eq!([yard.stamps("d"), yard.stamps("d/a"), yard.stamps("d/b")], [(10, 20), (30, 40), (50, 60)]);
    assert_eq!([yard.mode("d"), yard.mode("d/a"), yard.mode("d/b")], [0o750, 0o640, 0o600]);
}

// libssh takes what is there with each piece of contents, and then waits behind E.
#[test]
fn deep_in_a_tree_no_more_is_acknowledged_early_than_a_file_asks_for() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_exactly("\0\0").says("D0755 0 e\nD0755 0 f\n");
    // Three records, one of which was answered with the first.
    peer.hears_exactly("\0").says("C0644 1 a\n1\0").hears_exactly("\0\0").hears_nothing();
    peer.says_record("E").hears_exactly("\0").says_record("E").hears_exactly("\0");
    peer.says_record("E").hears_exactly("\0").hangs_up().sees_exit(0);
    yard.has("d/e/f/a", "1");
}

#[test]
fn a_client_in_lock_step_that_reads_byte_by_byte_notices_nothing() {
    for (mode, flags) in AHEAD.into_iter().flat_map(|mode| [(mode, "-r"), (mode, "-r -p")]) {
        let Some(yard) = Yard::confined() else { return };
        let mut peer = with(&yard, mode).sink(flags, ".");
        let times = |peer: &mut Peer, second: u32| {
            if flags == "-r -p" {
                peer.says_record(format!("T{second} 0 {second} 0")).hears_ok();
            }
        };
        peer.hears_ok();
        times(&mut peer, 1);
        // Nothing of this client is slow, whatever the machine is.
        peer.says_record("D0755 0 d").hears_ok().says("C0600 0 empty\n\0").hears_oks(2);
        for (number, dir) in ["e", "f"].into_iter().enumerate() {
            times(&mut peer, 2);
            peer.says_record(format!("D0750 0 {dir}")).hears_ok();
            for file in 0..20 {
                times(&mut peer, 100 + file);
                let contents = format!("{number} {file:04}");
                peer.stores(format!("C0640 6 {file}"), contents);
            }
            peer.says_record("E").hears_ok();
        }
        times(&mut peer, 3);
        peer.stores("C0600 0 last", "").says_record("E").hears_ok();
        assert!(ends(peer, 0) == 0 || mode == "on", "more answers than questions");
        for file in 0..20 {
            yard.has(format!("d/e/{file}"), format!("0 {file:04}"));
            yard.has(format!("d/f/{file}"), format!("1 {file:04}"));
            if flags == "-r -p" {
                assert_eq!(yard.stamps(format!("d/f/{file}")).0, 100 + file);
            }
        }
        yard.has("d/empty", "");
        assert_eq!(yard.mode("d/e"), 0o750, "{mode} {flags}");
    }
}

#[test]
fn a_client_that_takes_what_is_there_for_one_reply_goes_on_in_lock_step() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").whose_writes_are_seen().sink("-r", ".");
    // scp.py: recv(512), and then a look at the first byte.
    peer.hears_at_once("\0").says_record("D0755 0 d").hears_at_once("\0\0");
    for name in ["a", "b"] {
        peer.says_record(format!("C0644 1 {name}")).hears_at_once("\0").says("1\0").hears_at_once("\0");
    }
    peer.says_record("D0755 0 e").hears_at_once("\0").says_record("C0644 1 c").hears_at_once("\0");
    peer.says("1\0").hears_at_once("\0").says_record("E").hears_at_once("\0");
    peer.says_record("E").hears_at_once("\0").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a", "d/b", "d/e/", "d/e/c"]);
}

#[test]
fn a_client_that_takes_what_is_there_for_one_reply_goes_on_in_lock_step_with_times() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").whose_writes_are_seen().sink("-r -p", ".");
    peer.hears_at_once("\0").says_record("T1 0 1 0").hears_at_once("\0");
    peer.says_record("D0755 0 d").hears_at_once("\0\0");
    for name in ["a", "b"] {
        peer.says_record("T1 0 1 0").hears_at_once("\0");
        peer.says_record(format!("C0644 1 {name}")).hears_at_once("\0").says("1\0").hears_at_once("\0");
    }
    peer.says_record("E").hears_at_once("\0").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a", "d/b"]);
}

#[test]
fn a_client_that_reads_byte_by_byte_behind_a_very_long_line_loses_nothing() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    // Its second reply is on the way for so long that it was taken for a client that has not seen it: there is a third.
    peer.says_record("C0644 1 a").hears_oks(2).says("1\0");
    for name in ["b", "c"] {
        peer.says_record(format!("C0644 1 {name}")).hears_ok().says("1\0").hears_ok();
    }
    peer.says_record("E").hears_ok();
    yard.has("d/c", "1");
    let _ = ends(peer, 0);
    yard.holds(["d/", "d/a", "d/b", "d/c"]);
}

#[test]
fn a_client_that_never_waits_is_served_in_every_mode() {
    for mode in AHEAD {
        let Some(yard) = Yard::confined() else { return };
        let mut peer = with(&yard, mode).sink("-r", ".");
        let files: String = (0..1000).map(|number| format!("C0644 4 {number}\n{number:04}\0")).collect();
        peer.says(format!("D0755 0 d\n{files}E\n")).hears_oks(2003);
        assert!(ends(peer, 0) == 0 || mode == "on", "more answers than questions");
        for number in 0..1000 {
            yard.has(format!("d/{number}"), format!("{number:04}"));
        }
    }
}

#[test]
fn a_client_that_leaves_with_its_last_acknowledgement_has_lost_nothing() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "auto").sink("-r", ".");
    peer.hears_ok().says_record("D0705 0 d").hears_ok().says("D0750 0 e\nC0644 1 a\n").hears_oks(2);
    peer.says("1\0").hears_ok();
    for number in 0..50 {
        peer.stores(format!("C0644 2 {number}"), format!("{number:02}"));
    }
    peer.says_record("E").hears_ok().stores("C0604 4 last", "last").hears_nothing();
    peer.says_record("E").hears_ok();
    // In this moment, not when the program has ended.
    for number in 0..50 {
        yard.has(format!("d/e/{number}"), format!("{number:02}"));
    }
    yard.has("d/last", "last");
    assert_eq!([yard.mode("d"), yard.mode("d/e"), yard.mode("d/last")], [0o705, 0o750, 0o604]);
    peer.stops_listening().hangs_up().sees_exit(0);
}

#[test]
fn a_client_that_leaves_before_its_last_file_was_acknowledged_does_not_replace_the_old_one() {
    for mode in AHEAD {
        let Some(yard) = Yard::confined() else { return };
        yard.dir("d").file("d/b", "old");
        let mut peer = with(&yard, mode).sink("-r", ".");
        peer.hears_ok().says_record("D0755 0 d").hears_ok().says("C0644 1 a\n1\0").hears_oks(2);
        peer.says("C0644 10 b\nhalf").stops_listening().hangs_up();
        peer.sees_exit(1);
        yard.holds(["d/", "d/a", "d/b"]);
        yard.has("d/b", "old");
    }
}

#[test]
fn a_file_refused_after_its_acknowledgement_is_drained_and_told_with_a_later_one() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/old", "old");
    let mut peer = with(&yard, "auto").option("--no-overwrite").sink("-r -p", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    peer.says("T1 0 1 0\nC0644 1 a\n1\0").hears_oks(3).says_record("T1 0 1 0").hears_exactly("\0\0\0");
    peer.says_record("C0644 10 old").says("C0644 1 x\n\0").hears_nothing();
    // From now on nothing is said early until it is told.
    peer.says_record("T1 0 1 0").hears_exactly("\0").says_record("C0644 1 b").hears_exactly("\0").says("2\0");
    peer.hears_that("./d/old: File exists");
    peer.says_record("T1 0 1 0").hears_exactly("\0\0\0").says("C0644 1 c\n3\0").hears_nothing();
    peer.says_record("E").hears_exactly("\0").hangs_up().sees_exit(1);
    yard.holds(["d/", "d/a", "d/b", "d/c", "d/old"]);
    yard.has("d/old", "old");
    yard.has("d/b", "2");
}

#[test]
fn a_directory_refused_after_its_acknowledgement_is_drained_with_all_that_is_in_it() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/taken", "a file");
    let mut peer = with(&yard, "auto").sink("-r -p", ".");
    let times = "T1 0 1 0";
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    peer.says("T1 0 1 0\nC0644 1 a\n1\0").hears_oks(3).says_record(times).hears_exactly("\0\0\0");
    // Two more are out: the directory's, and one that the client takes for the next times.
    peer.says_record("D0755 0 taken").hears_nothing().says_record(times).hears_nothing();
    // Here nothing has been said yet, and a refusal means what it says.
    peer.says_record("C0644 10 x").hears_that("./d/taken/x: not stored: its directory was refused");
    peer.says_record("D0755 0 deeper").hears_that("./d/taken/deeper: not stored: its directory was refused");
    peer.says_record("E").hears_that("./d/taken: Not a directory");
    peer.says_record(times).hears_ok().stores("C0644 1 b", "2");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    yard.holds(["d/", "d/a", "d/b", "d/taken"]);
    yard.has("d/taken", "a file");
    yard.has("d/b", "2");
}

#[test]
fn contents_of_a_directory_refused_within_the_window_are_drained() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/taken", "a file");
    let mut peer = with(&yard, "on").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().says_record("D0755 0 taken").hears_ok();
    peer.stores("C0644 10 x", "C0644 1 y\n").says_record("D0755 0 deeper").hears_ok();
    peer.stores("C0644 2 z", "E\n").says_record("E").hears_ok().says_record("E").hears_ok();
    peer.stores("C0644 1 b", "2").says_record("E").hears_ok().hangs_up();
    let rest = peer.hears_the_rest();
    assert!(rest.iter().all(|&byte| byte == 0), "{}", rest.escape_ascii());
    assert_eq!(peer.sees_stderr(), "scp: ./d/taken: Not a directory (and 3 more errors)\n");
    peer.sees_exit(1);
    yard.holds(["d/", "d/b", "d/taken"]);
    yard.has("d/taken", "a file");
}

#[test]
fn what_is_refused_within_the_window_is_told_when_the_window_is_used_up() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "on").option("--max-file-size").option("5").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().says_record("C0644 6 large").hears_ok();
    peer.says("C0644\n\0").hears_ok();
    let mut told = Vec::new();
    for number in 0..300 {
        peer.says_record(format!("C0644 4 {number}")).hears_ok().says(format!("{number:04}\0"));
        if !peer.hears_whether_ok() {
            told.push(peer.hears_refusal());
        }
    }
    peer.says_record("E").hears_ok();
    let _ = ends(peer, 1);
    assert_eq!(told, ["./d/large: 6 bytes is over the limit of 5 bytes for a file"]);
    for number in 0..300 {
        yard.has(format!("d/{number}"), format!("{number:04}"));
    }
    assert!(!yard.path("d/large").exists());
}

#[test]
fn what_cannot_be_told_on_the_wire_any_more_is_one_line_on_the_screen_and_the_exit_status() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/old", "old").file("d/other", "old");
    let mut peer = with(&yard, "on").option("--no-overwrite").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    peer.stores("C0644 3 old", "new").stores("C0644 3 other", "new").stores("C0644 1 a", "1");
    peer.says_record("E").hears_ok().hangs_up();
    let rest = peer.hears_the_rest();
    assert!(rest.iter().all(|&byte| byte == 0), "{}", rest.escape_ascii());
    assert_eq!(peer.sees_stderr(), "scp: ./d/old: File exists (and 1 more errors)\n");
    peer.sees_exit(1);
    yard.has("d/old", "old");
    yard.has("d/other", "old");
    yard.has("d/a", "1");
}

#[test]
fn a_refusal_ends_the_session_where_the_client_could_take_it_for_another_answer() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/old", "old");
    let mut peer = with(&yard, "auto").option("--no-overwrite").sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_exactly("\0\0").says_record("C0644 1 a").hears_ok();
    peer.says("1\0").hears_ok();
    // If it has one answer more than it seems to have, it takes this one for that to the contents.
    peer.says_record("C0644 3 old").hears_that("./d/old: File exists").sees_exit(1);
    yard.has("d/a", "1");
    yard.has("d/old", "old");
}

#[test]
fn the_sender_who_could_not_read_his_file_hears_no_early_answer_twice() {
    for mode in AHEAD {
        let Some(yard) = Yard::confined() else { return };
        let mut peer = with(&yard, mode).sink("-r", ".");
        peer.hears_ok().says_record("D0755 0 d").hears_ok().says("C0644 1 a\n1\0").hears_oks(2);
        peer.says_record("C0644 3 broken")
            .hears_ok()
            .says("\0\0\0\x01scp: broken: Input/output error\n")
            .hears_ok();
        peer.says_record("C0644 1 b").hears_ok().says("2\0");
        let told = !peer.hears_whether_ok();
        assert_eq!(told, mode == "auto");
        if told {
            assert!(peer.hears_refusal().starts_with("./d/broken: not stored"));
        }
        peer.says_record("E").hears_ok().hangs_up();
        let rest = peer.hears_the_rest();
        assert!(rest.iter().all(|&byte| byte == 0), "{}", rest.escape_ascii());
        assert_eq!(peer.sees_stderr().lines().count(), usize::from(!told));
        peer.sees_exit(1);
        yard.holds(["d/", "d/a", "d/b"]);
    }
}

#[test]
fn single_files_are_acknowledged_one_step_at_a_time() {
    for mode in AHEAD {
        let Some(yard) = Yard::confined() else { return };
        let mut peer = with(&yard, mode).sink("-p", ".");
        peer.hears_ok();
        for name in ["a", "b"] {
            peer.says_record("T1 0 1 0").hears_exactly("\0").hears_nothing();
            peer.says_record(format!("C0644 1 {name}")).hears_exactly("\0").hears_nothing();
            peer.says("1\0").hears_exactly("\0").hears_nothing();
        }
        peer.hangs_up().sees_exit(0);
        yard.holds(["a", "b"]);
    }
}

#[test]
fn files_beside_a_tree_are_acknowledged_one_step_at_a_time() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "old");
    let mut peer = with(&yard, "auto").option("--no-overwrite").sink("-r", ".");
    peer.hears_ok()
        .says_record("D0755 0 d")
        .hears_ok()
        .says("C0644 1 a\n1\0")
        .hears_oks(2)
        .says_record("E")
        .hears_ok();
    peer.hears_nothing()
        .says_record("C0644 1 b")
        .hears_exactly("\0")
        .hears_nothing()
        .says("1\0")
        .hears_exactly("\0");
    peer.says_record("C0644 1 old").hears_that("./old: File exists").stores("C0644 1 c", "1");
    peer.hangs_up().sees_exit(1);
    yard.holds(["b", "c", "d/", "d/a", "old"]);
}
