//! Directories and what is in them, both ways.

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

// covers: peers 26, clients 2.9
#[test]
fn a_tree_is_stored_under_a_new_name() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", "new");
    peer.hears_ok().says_record("D0755 0 whatever").hears_ok();
    peer.stores("C0644 1 a", "1");
    peer.says_record("D0755 0 sub").hears_ok().stores("C0644 1 b", "2").says_record("E").hears_ok();
    peer.stores("C0644 1 c", "3");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["new/", "new/a", "new/c", "new/sub/", "new/sub/b"]);
}

// covers: peers 27, peers 31, peers 32, peers 29, peers 47, peers 18
#[test]
fn trees_and_files_in_any_order_nest_in_an_existing_directory() {
    let yard = Yard::new();
    yard.dir("d");
    let mut peer = Peer::sink(&yard, "-r -d", "d");
    peer.hears_ok();
    for name in ["foo", "foobar", "fo"] {
        peer.says_record(format!("D0755 0 {name}")).hears_ok();
        peer.says_record("D0755 0 foo").hears_ok().says_record("E").hears_ok();
        peer.stores("C0644 3 foobar", name.get(..2).unwrap_or(name).to_owned() + "!");
        peer.says_record("E").hears_ok();
        peer.stores(format!("C0644 1 {name}.txt"), "1");
    }
    peer.hangs_up().sees_exit(0);
    yard.holds([
        "d/",
        "d/fo/",
        "d/fo/foo/",
        "d/fo/foobar",
        "d/fo.txt",
        "d/foo/",
        "d/foo/foo/",
        "d/foo/foobar",
        "d/foo.txt",
        "d/foobar/",
        "d/foobar/foo/",
        "d/foobar/foobar",
        "d/foobar.txt",
    ]);
}

// covers: peers 28
#[test]
fn a_tree_can_be_stored_twice_and_what_else_is_there_stays() {
    let yard = Yard::new();
    yard.dir("d").file("d/other", "stays");
    for contents in ["first", "2nd"] {
        let mut peer = Peer::sink(&yard, "-r", ".");
        peer.hears_ok().says_record("D0755 0 d").hears_ok();
        peer.stores(format!("C0644 {} a", contents.len()), contents);
        peer.says_record("D0755 0 sub").hears_ok().says_record("E").hears_ok();
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    }
    yard.holds(["d/", "d/a", "d/other", "d/sub/"]);
    yard.has("d/a", "2nd");
}

// covers: security SQ-01, clients 2.9, peers 117
#[test]
fn an_e_at_the_top_is_acknowledged_and_ends_the_session_without_waiting_for_the_client() {
    let yard = Yard::new();
    Peer::sink(&yard, "", ".").hears_ok().stores("C0644 1 a", "1").says_record("E").hears_ok().sees_exit(0);
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().says_record("E").hears_ok();
    peer.says("E\nC0644 1 b\n1\0").hears_ok().sees_exit(0);
    yard.holds(["a", "d/"]);
}

// covers: security SQ-01, clients 2.9
#[test]
fn an_e_at_the_top_ends_a_session_that_had_an_error_with_one() {
    let yard = Yard::new();
    yard.dir("a");
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("C0644 1 a").hears_refusal();
    peer.says_record("E").hears_ok().sees_exit(1);
}

// covers: security SQ-02, peers 88, peers 117
#[test]
fn more_es_than_ds_never_climb_out_of_the_target() {
    let yard = Yard::new();
    yard.dir("t");
    let mut peer = Peer::sink(&yard, "-r", "t");
    peer.hears_ok().says("D0755 0 d\nE\nE\nE\nC0644 4 evil\nevil\0").hears_oks(3).sees_exit(0);
    yard.holds(["t/", "t/d/"]);
}

// covers: security SQ-04, peers 35, peers 107
#[test]
fn a_directory_without_r_ends_the_session() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().says_record("D0755 0 d");
    assert!(peer.hears_refusal().contains("without -r"));
    peer.sees_exit(1);
    yard.holds([]);
}

// covers: security SQ-05, peers 37, clients 2.14, peers 89
#[test]
fn a_directory_onto_a_file_is_refused_and_a_client_that_goes_on_regardless_stays_in_the_target() {
    let yard = Yard::new();
    yard.dir("t").file("t/x", "old");
    let mut peer = Peer::sink(&yard, "-r", "t");
    peer.hears_ok().says_record("D0755 0 x").hears_that("t/x: Not a directory");
    peer.stores("C0644 1 a", "1");
    peer.says_record("E").hears_ok().sees_exit(1);
    yard.holds(["t/", "t/a", "t/x"]);
    yard.has("t/x", "old");
}

// covers: peers 37, peers 39
#[test]
fn a_directory_for_a_target_that_is_a_file_is_refused() {
    let yard = Yard::new();
    yard.file("x", "old");
    let mut peer = Peer::sink(&yard, "-r", "x");
    peer.hears_ok().says_record("D0755 0 d").hears_that("x: Not a directory").hangs_up().sees_exit(1);
    yard.has("x", "old");
}

// covers: peers 36
#[test]
fn a_tree_for_a_directory_that_is_not_there_is_refused_and_nothing_is_made() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "-r", "missing/x");
    peer.hears_ok().says_record("D0755 0 d").hears_that("missing/x: No such file or directory");
    peer.hangs_up().sees_exit(1);
    yard.holds([]);
}

// covers: peers 110, security PT-21
#[test]
fn a_directory_that_cannot_be_made_is_refused_and_the_session_stays_in_step() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.dir("t").chmod("t", 0o555);
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().says_record("D0755 0 t").hears_ok();
    peer.says_record("D0755 0 d");
    assert!(peer.hears_refusal().ends_with("t/d: Permission denied"));
    peer.says_record("E").hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(1);
    yard.holds(["a", "t/"]);
}

// covers: security RES-01, peers H-n
#[test]
fn nesting_has_a_floor_and_what_is_below_it_is_refused() {
    let Some(yard) = Yard::ours("OpenSSH's scp has no limit but its stack") else {
        return;
    };
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok();
    let mut depth = 0;
    let heard = loop {
        peer.says_record("D0755 0 d");
        if peer.hears_whether_ok() {
            depth += 1;
        } else {
            break peer.hears_refusal();
        }
        assert!(depth < 5000, "no limit");
    };
    assert!(heard.contains("deep") || heard.contains("Too many"), "{heard}");
    assert!(depth >= 200, "{depth} levels only");
    peer.hangs_up().hears_the_rest();
    peer.sees_exit(1);
}

// covers: peers 30, peers 32, peers 33, peers 2, clients 3.6, clients 3.16
#[test]
fn a_tree_is_sent_directory_by_directory() {
    for source in ["d", "d/", "./d//", "d/sub/../../d"] {
        let yard = Yard::new();
        yard.dir("d").dir("d/sub").file("d/sub/a", "1").chmod("d/sub", 0o750);
        let mut peer = Peer::source(&yard, "-r", [source]);
        peer.says_ok().hears_record("D0755 0 d").says_ok().hears_record("D0750 0 sub").says_ok();
        peer.hears_file("C0644 1 a", "1")
            .hears_record("E")
            .says_ok()
            .hears_record("E")
            .says_ok()
            .sees_exit(0);
    }
}

// covers: peers 30
#[test]
fn an_empty_directory_is_sent() {
    let yard = Yard::new();
    yard.dir("d");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: peers 34
#[test]
fn an_absent_tree_is_an_error() {
    let yard = Yard::new();
    let mut peer = Peer::source(&yard, "-r", ["d/e"]);
    peer.says_ok().hears_that("d/e: No such file or directory").sees_exit(1);
}

// covers: clients 3.16
#[test]
fn a_file_asked_for_with_r_and_d_is_just_a_file() {
    let yard = Yard::new();
    yard.file("a", "1");
    Peer::source(&yard, "-r -d", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
}

// covers: security SRC-12, peers 45, clients 3.16
#[test]
fn a_directory_named_by_a_dot_is_sent_under_its_own_name() {
    let yard = Yard::new();
    yard.dir("d").dir("d/e").file("d/a", "1");
    for source in ["d/.", "d/e/.."] {
        let mut peer = Peer::source(&yard, "-r", [source]);
        peer.says_ok();
        if yard.openssh("sends `.` and `..` as names, which its own client refuses") {
            peer.hears_record(format!("D0755 0 {}", source.rsplit('/').next().unwrap()));
            peer.hangs_up().sees_exit(1);
            continue;
        }
        peer.hears_record("D0755 0 d").hangs_up().sees_exit(1);
    }
}

// covers: security SRC-12
#[test]
fn the_root_is_sent_under_a_name_that_says_nothing_of_the_hosts_paths_but_is_one() {
    let Some(yard) = Yard::confined() else { return };
    for source in [".", "/", "", "./."] {
        let mut peer = Peer::source(&yard, "-r", [source]);
        peer.says_ok().hears_exactly("D0755 0 ");
        let rest = peer.hangs_up().hears_the_rest();
        peer.sees_exit(1);
        let name = rest.strip_suffix(b"\n").unwrap();
        assert!(!matches!(name, b"" | b"." | b".."), "{}", name.escape_ascii());
        assert!(!name.contains(&b'/'), "{}", name.escape_ascii());
    }
}

// covers: clients 3.14, peers 43, security SRC-02, security SRC-13, peers 42
#[test]
fn what_is_wrong_in_a_tree_is_told_just_before_that_directorys_end() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.dir("d").fifo("d/1-pipe").dir("d/2-closed").dir("d/3-sub").file("d/3-sub/4-closed", "x");
    yard.file("d/3-sub/5-open", "5").file("d/6-open", "6");
    yard.chmod("d/2-closed", 0).chmod("d/3-sub/4-closed", 0);
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    if yard.openssh("warns in the middle of a tree, at which PuTTY's pscp gives up") {
        let heard = peer.says([0; 20]).hangs_up().hears_the_rest();
        assert!(heard.escape_ascii().to_string().contains("scp: d/2-closed: Permission denied"));
        peer.sees_exit(1);
        return;
    }
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    // The directory's own order is nobody's promise.
    let mut left = vec!["D0755 0 3-sub\n", "C0644 1 6-open\n"];
    while !left.is_empty() {
        let next = peer.hears_line();
        left.retain(|record| *record != next);
        peer.says_ok();
        match next.as_str() {
            "D0755 0 3-sub\n" => {
                peer.hears_file("C0644 1 5-open", "5");
                peer.hears_that("d/3-sub/4-closed: Permission denied").hears_record("E").says_ok();
            }
            "C0644 1 6-open\n" => drop(peer.hears_exactly("6\0").says_ok()),
            other => panic!("heard {other}"),
        }
    }
    let mut told = [peer.hears_refusal(), peer.hears_refusal()];
    told.sort();
    assert_eq!(told, ["d/1-pipe: not a regular file", "d/2-closed: Permission denied"]);
    peer.hears_record("E").says_ok().sees_exit(1);
}

// covers: clients 3.14, clients 2.4
#[test]
fn a_client_that_acknowledges_warnings_is_understood() {
    let yard = Yard::new();
    yard.dir("d").fifo("d/pipe").file("a", "1");
    let mut peer = Peer::source(&yard, "-r", ["d", "a"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    peer.hears_that("d/pipe: not a regular file").says_ok();
    // From here on the client is one acknowledgement ahead.
    peer.hears_record("E").hears_record("C0644 1 a").says_ok();
    peer.hears_exactly("1\0").says_ok().says_ok().sees_exit(1);
}

// covers: security SRC-01
#[test]
fn a_directory_with_a_line_feed_in_its_name_is_refused() {
    let yard = Yard::new();
    yard.dir("d").dir("d/a\nE\nC0644 4 evil").file("d/a\nE\nC0644 4 evil/x", "1");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    assert!(peer.hears_refusal().starts_with("d/a"));
    peer.hears_record("E").says_ok().sees_exit(1);
}

// covers: security SRC-06, peers H-l
#[test]
fn a_link_to_a_directory_above_is_not_followed_round_and_round() {
    let Some(yard) = Yard::ours("OpenSSH's scp goes round until a path is too long") else {
        return;
    };
    yard.dir("d").dir("d/sub").link("d/loop", ".").link("d/sub/up", "..").link("d/a", "b").link("d/b", "a");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says([0; 2000]).hangs_up();
    let heard = peer.hears_the_rest();
    peer.sees_exit(1);
    let records = heard.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"D")).count();
    assert!(records <= 4, "{}", heard.escape_ascii());
    assert!(heard.ends_with(b"E\n"), "{}", heard.escape_ascii());
}

// covers: peers 85, security SRC-04
#[test]
fn a_link_in_a_tree_is_followed_and_sent_under_its_own_name() {
    let yard = Yard::new();
    yard.dir("d").link("d/l", "../original").file("original", "1");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok().hears_file("C0644 1 l", "1");
    peer.hears_record("E").says_ok().sees_exit(0);
}

// covers: peers 119
#[test]
fn a_large_directory_is_sent_entry_by_entry() {
    let yard = Yard::new();
    yard.dir("d");
    for number in 0..1000 {
        yard.file(format!("d/{number}"), "");
    }
    let mut peer = Server::of(&yard).source("-r", ["d"]);
    let heard = peer.says([0; 2004]).hangs_up().hears_the_rest();
    peer.sees_exit(0);
    let mut names: Vec<u32> = heard
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.trim_start_matches('\0').strip_prefix("C0644 0 "))
        .map(|name| name.parse().unwrap())
        .collect();
    names.sort();
    assert!(names.into_iter().eq(0..1000));
}
