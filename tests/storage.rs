//! Modes, times and groups that the administrator insists on.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, User, chown};

use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// A group that every Debian has, and no account of the tests is in.
const GROUP: &str = "games";

fn sink(yard: &Yard, text: &str, flags: &str, target: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(text)?.sink(flags, target))
}

fn group() -> Gid {
    Group::from_name(GROUP).unwrap().expect("Debian has the group").gid
}

/// Sends a tree: two directories, one in the other, and a file in the inner one.
fn sends_a_tree(peer: &mut Peer, with_times: bool) {
    let times = |peer: &mut Peer| {
        if with_times {
            peer.says_record("T5 0 6 0").hears_ok();
        }
    };
    peer.hears_ok();
    for name in ["d", "e"] {
        times(peer);
        peer.says_record(format!("D0705 0 {name}")).hears_ok();
    }
    times(peer);
    peer.stores("C0604 1 a", "1");
    peer.says_record("E").hears_ok().says_record("E").hears_ok();
}

// covers: peers 71, peers 72
#[test]
fn the_clients_modes_and_times_do_not_count_where_they_are_ignored() {
    for (ignored, mode, time) in [
        ("", 0o705, true),
        ("ignore-modes = true\n", 0o705 & !0o027, true),
        ("ignore-times = true\n", 0o705, false),
        ("ignore-modes = true\nignore-times = true\n", 0o705 & !0o027, false),
    ] {
        let Some(yard) = Yard::confined() else { return };
        let Some(mut peer) = sink(&yard, &format!("[default]\numask = '027'\n{ignored}"), "-r -p", ".")
        else {
            return;
        };
        sends_a_tree(&mut peer, true);
        peer.hangs_up().sees_exit(0);
        for name in ["d", "d/e", "d/e/a"] {
            assert_eq!(yard.stamps(name).0 == 5, time, "{name} with {ignored}");
            let mode = if name == "d/e/a" { mode & 0o676 } else { mode };
            assert_eq!(yard.mode(name), mode, "{name} with {ignored}");
        }
        // An old file keeps its mode then, as without -p.
        yard.chmod("d/e/a", 0o640);
        let mut peer = sink(&yard, &format!("[default]\n{ignored}"), "-p", "d/e").unwrap();
        peer.hears_ok().says_record("T5 0 6 0").hears_ok().stores("C0606 1 a", "2").hangs_up().sees_exit(0);
        let kept = if ignored.contains("modes") { 0o640 } else { 0o606 };
        assert_eq!(yard.mode("d/e/a"), kept, "{ignored}");
    }
}

// covers: peers 71
#[test]
fn every_file_and_every_new_directory_has_the_mode_that_the_administrator_wants() {
    for (flags, replacement) in [("-r", "auto"), ("-r -p", "auto"), ("-r -p", "off"), ("-r", "always")] {
        let Some(yard) = Yard::confined() else { return };
        let text =
            format!("[default]\natomic = '{replacement}'\nfile-mode = '440'\ndirectory-mode = '751'\n");
        yard.dir("found").chmod("found", 0o500).file("old", "old").chmod("old", 0o666);
        let Some(mut peer) = sink(&yard, &text, flags, ".") else { return };
        sends_a_tree(&mut peer, flags.contains('p'));
        peer.stores("C0777 3 old", "new");
        peer.says_record("D0777 0 found").hears_ok().stores("C0777 1 b", "1").says_record("E").hears_ok();
        peer.hangs_up().sees_exit(0);
        for (name, mode) in [
            ("d", 0o751),
            ("d/e", 0o751),
            ("d/e/a", 0o440),
            ("old", 0o440),
            ("found", 0o500),
            ("found/b", 0o440),
        ] {
            assert_eq!(yard.mode(name), mode, "{name} with {flags} and {replacement}");
        }
        yard.has("old", "new");
    }
}

// covers: peers 73
#[test]
fn what_is_made_belongs_to_the_administrators_group() {
    let Some(yard) = Yard::confined() else { return };
    let text = format!("[default]\nforce-group = '{GROUP}'\n");
    yard.dir("found").file("old", "old").dir("setgid").chmod("setgid", 0o2755);
    let before = yard.stat("found").gid();
    let Some(mut peer) = sink(&yard, &text, "-r", ".") else { return };
    sends_a_tree(&mut peer, false);
    peer.stores("C0644 3 old", "new");
    for name in ["found", "setgid"] {
        peer.says_record(format!("D0755 0 {name}")).hears_ok().stores("C0644 1 b", "1");
        peer.says_record("D0755 0 new").hears_ok().says_record("E").hears_ok().says_record("E").hears_ok();
    }
    peer.hangs_up().sees_exit(0);
    for name in ["d", "d/e", "d/e/a", "old", "found/b", "found/new", "setgid/b", "setgid/new"] {
        assert_eq!(yard.stat(name).gid(), group().as_raw(), "{name}");
    }
    assert_eq!(yard.stat("found").gid(), before, "what was there stays as it was");
    assert_eq!(yard.mode("setgid/new"), 0o2755, "a directory hands its bit on all the same");
}

// covers: peers 73
#[test]
fn who_is_in_the_group_can_give_it_and_who_is_not_says_so() {
    for (metadata, told) in [("strict", true), ("warn", false), ("ignore", false)] {
        if Yard::confined().is_none() {
            return;
        }
        let Some(yard) = Yard::of_a_user() else { return };
        let Some((uid, _)) = yard.user() else { return };
        let own = Group::from_gid(User::from_uid(uid).unwrap().unwrap().gid).unwrap().unwrap().name;
        let text = |group: &str| format!("[default]\nmetadata = '{metadata}'\nforce-group = '{group}'\n");
        let mut peer = sink(&yard, &text(&own), "", ".").unwrap();
        peer.hears_ok().stores("C0664 1 mine", "1").hangs_up().sees_exit(0);
        assert_eq!(yard.mode("mine"), 0o644);

        let mut peer = sink(&yard, &text(GROUP), "-r -p", ".").unwrap();
        peer.hears_ok().says_record("C0660 1 a").hears_ok().says("1\0");
        if told {
            peer.hears_that("./a: set group: Operation not permitted");
        } else {
            peer.hears_ok();
        }
        peer.says_record("D0770 0 d").hears_ok().says_record("E");
        if told {
            peer.hears_that("./d: set group: Operation not permitted");
        } else {
            peer.hears_ok();
        }
        peer.hangs_up().sees_exit(i32::from(told));
        // What the group was to be allowed is not for another one.
        assert_eq!((yard.mode("a"), yard.mode("d")), (0o600, 0o700), "{metadata}");
        yard.has("a", "1");
    }
}

#[test]
fn a_group_that_there_is_not_serves_nobody() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, "[default]\nforce-group = 'no-such-group'\n", "", ".") else { return };
    peer.hears_that("this server is not set up as it has to be").sees_exit(1);
    yard.holds([]);
}

// covers: peers 73
#[test]
fn a_forced_group_counts_more_than_the_old_files() {
    let Some(yard) = Yard::confined() else { return };
    let daemon = Group::from_name("daemon").unwrap().unwrap().gid;
    yard.file("old", "old").chmod("old", 0o664);
    if chown(&yard.path("old"), None, Some(daemon)).is_err() {
        return tally::skipped("no right to give a file away");
    }
    let Some(mut peer) = sink(&yard, &format!("[default]\nforce-group = '{GROUP}'\n"), "", ".") else {
        return;
    };
    peer.hears_ok().stores("C0600 3 old", "new").hangs_up().sees_exit(0);
    let stat = fs::metadata(yard.path("old")).unwrap();
    assert_eq!((stat.gid(), stat.mode() & 0o777), (group().as_raw(), 0o644), "what daemon could write");
}
