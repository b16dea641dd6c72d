//! Permission bits and times: what is kept, what is never set.

use std::os::unix::fs::MetadataExt;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

/// Stores a file in a session of its own and returns its mode.
fn stored_mode(yard: &Yard, flags: &str, mode: &str) -> u32 {
    let mut peer = Peer::sink(yard, flags, "a");
    peer.hears_ok().stores(format!("C{mode} 1 a"), "1").hangs_up().sees_exit(0);
    yard.mode("a")
}

// covers: security CR-16, clients 2.7, peers 70
#[test]
fn a_mode_has_one_to_twelve_octal_digits() {
    for (mode, bits) in [
        ("0644", 0o644),
        ("7", 0o7),
        ("44", 0o44),
        ("644", 0o644),
        ("00644", 0o644),
        ("0100644", 0o644),
        ("100644", 0o644),
        ("020000000755", 0o755),
        ("000000000640", 0o640),
    ] {
        let yard = Yard::new();
        if mode.len() != 4 && yard.openssh("takes a mode that has not four digits for an error") {
            let mut peer = Peer::sink(&yard, "-p", "a");
            peer.hears_ok().says_record(format!("C{mode} 1 a"));
            assert!(peer.hears_refusal().starts_with("protocol error: "));
            peer.sees_exit(1);
            continue;
        }
        assert_eq!(stored_mode(&yard, "-p", mode), bits, "{mode}");
    }
}

// covers: security CR-17, security CR-18, peers 69
#[test]
fn set_id_and_sticky_bits_are_never_set_without_p() {
    for mode in ["4755", "2755", "1755", "6755", "7755"] {
        let yard = Yard::new();
        assert_eq!(stored_mode(&yard, "", mode), 0o755, "{mode}");
        assert_eq!(stored_mode(&yard, "", mode), 0o755, "{mode}, the second time");
    }
}

// covers: security CR-18
#[test]
fn set_id_and_sticky_bits_are_kept_with_p_only_in_place_of_scp() {
    for mode in ["4755", "2755", "1755", "7755"] {
        let yard = Yard::new();
        let bits = u32::from_str_radix(mode, 8).unwrap();
        yard.openssh("sets set-id bits with -p, as scp-server does without --root");
        let wanted = if yard.unconfined() { bits } else { 0o755 };
        assert_eq!(stored_mode(&yard, "-p", mode), wanted, "{mode}");
    }
}

// covers: security CR-17, security CR-18, peers 69
#[test]
fn a_directorys_set_id_and_sticky_bits_are_not_set_in_a_root() {
    let Some(yard) = Yard::confined() else { return };
    for (flags, name) in [("-r", "a"), ("-r -p", "b")] {
        let mut peer = Peer::sink(&yard, flags, ".");
        peer.hears_ok().says_record(format!("D7755 0 {name}")).hears_ok();
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        assert_eq!(yard.mode(name), 0o755);
    }
}

// covers: security ENV-07, security CR-19, peers H-j
#[test]
fn without_p_a_new_files_mode_is_subject_to_the_umask_and_with_p_it_is_not() {
    for (umask, without, with) in
        [("000", 0o666, 0o666), ("027", 0o640, 0o666), ("077", 0o600, 0o666), ("0777", 0, 0o666)]
    {
        for (flags, wanted) in [("", without), ("-p", with)] {
            let yard = Yard::new();
            let mut peer = Server::of(&yard).umask(umask).sink(flags, "a");
            peer.hears_ok().stores("C0666 1 a", "1").hangs_up().sees_exit(0);
            assert_eq!(yard.mode("a"), wanted, "umask {umask} flags {flags:?}");
        }
    }
}

// covers: security ENV-07, peers 66
#[test]
fn without_p_a_new_directorys_mode_is_subject_to_the_umask_and_with_p_it_is_not() {
    for (flags, wanted) in [("-r", 0o770), ("-r -p", 0o777)] {
        let yard = Yard::new();
        let mut peer = Server::of(&yard).umask("007").sink(flags, ".");
        peer.hears_ok().says_record("D0777 0 d").hears_ok().stores("C0666 1 a", "1");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        assert_eq!(yard.mode("d"), wanted, "{flags}");
        assert_eq!(yard.mode("d/a"), wanted & 0o666, "{flags}");
    }
}

// covers: peers H-j
#[test]
fn without_p_an_old_file_keeps_its_permission_bits_and_with_p_it_does_not() {
    for (flags, wanted) in [("", 0o604), ("-p", 0o640)] {
        let yard = Yard::new();
        yard.file("a", "old").chmod("a", 0o604);
        assert_eq!(stored_mode(&yard, flags, "0640"), wanted, "{flags}");
    }
}

// covers: peers H-j
#[test]
fn an_old_file_loses_its_set_id_bits_with_its_contents() {
    let Some(yard) = Yard::ours("an unprivileged scp loses them too, one run by root keeps them") else {
        return;
    };
    yard.file("a", "old").chmod("a", 0o6755);
    assert_eq!(stored_mode(&yard, "", "0755"), 0o755);
}

// covers: peers H-j
#[test]
fn without_p_an_old_directory_keeps_its_mode() {
    let yard = Yard::new();
    yard.dir("d").chmod("d", 0o751);
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0700 0 d").hears_ok().says_record("E").hears_ok().hangs_up().sees_exit(0);
    assert_eq!(yard.mode("d"), 0o751);
}

// covers: security CR-19
#[test]
fn a_file_of_mode_zero_is_stored_and_its_mode_set_in_the_end() {
    let Some(yard) = Yard::of_a_user() else { return };
    for flags in ["", "-p"] {
        assert_eq!(stored_mode(&yard, flags, "0000"), 0, "{flags:?}");
        std::fs::remove_file(yard.path("a")).unwrap();
    }
}

// covers: security CR-20, peers 44, peers 65
#[test]
fn a_directory_that_is_closed_is_filled_first_and_closed_at_its_end() {
    for (mode, bits) in [("0000", 0), ("0500", 0o500), ("0555", 0o555)] {
        let Some(yard) = Yard::of_a_user() else { return };
        for name in ["new", "old"] {
            if name == "old" {
                if yard.openssh("with -p, closes a directory that is there already before it fills it") {
                    continue;
                }
                yard.dir("old").chmod("old", 0o555);
            }
            let mut peer = Peer::sink(&yard, "-r -p", ".");
            peer.hears_ok().says_record("T1000 0 1000 0").hears_ok();
            peer.says_record(format!("D{mode} 0 {name}")).hears_ok();
            peer.stores("C0444 1 a", "1");
            peer.says_record("D0555 0 sub").hears_ok().stores("C0404 1 b", "2").says_record("E").hears_ok();
            peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
            assert_eq!(yard.mode(name), bits);
            assert_eq!(yard.stat(name).mtime(), 1000);
            yard.chmod(name, 0o755);
            assert_eq!(yard.mode(format!("{name}/a")), 0o444);
            assert_eq!(yard.mode(format!("{name}/sub")), 0o555);
            assert_eq!(yard.mode(format!("{name}/sub/b")), 0o404);
        }
    }
}

// covers: peers 44
#[test]
fn without_p_a_tree_of_closed_directories_can_be_stored() {
    let Some(yard) = Yard::of_a_user() else { return };
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0500 0 d").hears_ok().stores("C0400 1 a", "1");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a"]);
    assert_eq!(yard.mode("d/a"), 0o400);
}

// covers: peers H-u
#[test]
fn a_directory_made_in_a_set_group_id_directory_stays_one() {
    let yard = Yard::new();
    yard.dir("d").chmod("d", 0o2755);
    for (flags, name) in [("-r", "a"), ("-r -p", "b")] {
        let mut peer = Peer::sink(&yard, flags, "d");
        peer.hears_ok().says_record(format!("D0755 0 {name}")).hears_ok();
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        if yard.openssh("takes the inherited set-group-id bit from a directory with -p") {
            continue;
        }
        assert_eq!(yard.mode(format!("d/{name}")), 0o2755, "{flags}");
    }
}

// covers: peers 64, peers 65, peers 75, clients 3.4
#[test]
fn times_of_files_and_directories_are_set_after_their_contents() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r -p", ".");
    peer.hears_ok().says_record("T1000 0 2000 0").hears_ok().says_record("D0755 0 d").hears_ok();
    peer.says_record("T3000 0 4000 0").hears_ok().stores("C0644 1 a", "1");
    peer.says_record("T500 0 600 0").hears_ok().says_record("D0755 0 sub").hears_ok();
    peer.stores("C0644 1 b", "2").says_record("E").hears_ok();
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    assert_eq!(yard.stamps("d/a"), (3000, 4000));
    assert_eq!(yard.stamps("d/sub"), (500, 600));
    assert_eq!(yard.stamps("d").0, 1000);
    assert!(yard.stamps("d/sub/b").0 > 1_000_000_000, "no T was meant for it");
}

// covers: clients 2.5, peers 67, peers 68
#[test]
fn times_without_p_are_acknowledged_and_set() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("T1000 0 2000 0").hears_ok().stores("C0644 1 a", "1");
    peer.says_record("T3000 0 4000 0").hears_ok().says_record("D0755 0 d").hears_ok();
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    assert_eq!(yard.stamps("a"), (1000, 2000));
    assert_eq!(yard.stamps("d"), (3000, 4000));
}

// covers: clients 2.6, security CR-27, peers 64
#[test]
fn microseconds_are_kept() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-p", "a");
    peer.hears_ok().says_record("T1600000000 123456 1600000001 999999").hears_ok();
    peer.stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    let stat = yard.stat("a");
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_600_000_000, 123_456_000));
    assert_eq!((stat.atime(), stat.atime_nsec()), (1_600_000_001, 999_999_000));
}

// covers: clients 2.6, security CR-27
#[test]
fn a_blank_after_t_is_passed_over_and_times_before_1970_are_taken_for_1970() {
    for (record, stamps) in [("T 5 0 7 0", (5, 7)), ("T-5 0 7 0", (0, 7)), ("T-11644473600 0 -1 0", (0, 0))] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, "-p", "a");
        peer.hears_ok().says_record(record);
        if yard.openssh("takes a blank after T, or seconds before 1970, for an error") {
            peer.hears_refusal();
            peer.sees_exit(1);
            continue;
        }
        peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        assert_eq!(yard.stamps("a"), stamps, "{record}");
    }
}

// covers: security CR-28
#[test]
fn times_far_away_are_set_as_far_as_the_file_system_goes() {
    for seconds in ["0", "2147483648", "4294967296", "8589934592", "253402300800", "9223372036854775807"] {
        let yard = Yard::new();
        let mut peer = Peer::sink(&yard, "-p", "a");
        peer.hears_ok().says_record(format!("T{seconds} 0 {seconds} 0")).hears_ok();
        peer.stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        let wanted: i64 = seconds.parse().unwrap();
        let (modified, _) = yard.stamps("a");
        assert!(
            modified == wanted || (modified < wanted && modified > 2_000_000_000),
            "{modified} for {seconds}"
        );
    }
}

// covers: security SQ-06, peers H-o
#[test]
fn of_two_times_in_a_row_the_last_counts() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-p", "a");
    peer.hears_ok().says_record("T1 0 1 0").hears_ok().says_record("T2000 0 3000 0").hears_ok();
    peer.stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    assert_eq!(yard.stamps("a"), (2000, 3000));
}

// covers: security SQ-07
#[test]
fn the_times_of_a_file_that_was_refused_are_not_the_next_ones() {
    let yard = Yard::new();
    yard.dir("a");
    let mut peer = Peer::sink(&yard, "-p", ".");
    peer.hears_ok().says_record("T1000 0 1000 0").hears_ok().says_record("C0644 1 a").hears_refusal();
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    if yard.openssh("gives the times of a file that it refused to the next one") {
        return;
    }
    assert!(yard.stamps("b").0 > 1_000_000_000);
}

// covers: peers 77, security CR-07
#[test]
fn the_target_directory_itself_keeps_its_mode_and_times() {
    let yard = Yard::new();
    yard.dir("d").file("d/old", "").chmod("d", 0o711).times("d", 1000, 1000);
    let mut peer = Peer::sink(&yard, "-r -p", "d");
    peer.hears_ok().says_record("T1 0 1 0").hears_ok().says_record("D0777 0 .").hears_refusal();
    peer.sees_exit(1);
    assert_eq!(yard.mode("d"), 0o711);
    assert_eq!(yard.stamps("d").0, 1000);
}
