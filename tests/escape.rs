//! The root: what leads out of it, and special files in it. The yard asserts that nothing outside is touched.

use std::os::unix::fs::FileTypeExt;

use crate::peer::Peer;
use crate::yard::Yard;

const ABSENT: &str = "No such file or directory";

/// Stores `name` into `target` and tells what was heard where the header's acknowledgement is due, if not that.
fn store(yard: &Yard, target: &str, name: &str) -> Option<String> {
    let mut peer = Peer::sink(yard, "-r", target);
    if !peer.hears_whether_ok() {
        let heard = peer.hears_refusal();
        peer.sees_exit(1);
        return Some(heard);
    }
    peer.says_record(format!("C0644 3 {name}"));
    if !peer.hears_whether_ok() {
        let heard = peer.hears_refusal();
        peer.hangs_up().sees_exit(1);
        return Some(heard);
    }
    peer.says("new\0").hears_ok().hangs_up().sees_exit(0);
    None
}

/// Asks for `source` with `-r` and returns the refusal that has to be the answer.
#[track_caller]
fn refused(yard: &Yard, source: &str) -> String {
    let mut peer = Peer::source(yard, "-r", [source]);
    peer.says_ok();
    let heard = peer.hears_refusal();
    peer.sees_exit(1);
    heard
}

// covers: security PT-01, peers 78, peers 80, peers 84, peers 76, peers 97
#[test]
fn a_link_where_a_file_is_to_be_is_replaced_and_what_it_leads_to_is_not_touched() {
    let Some(yard) = Yard::confined() else { return };
    let absolute = yard.outside("secret");
    let links = ["absolute", "relative", "inside", "nowhere", "new-outside", "directory-outside"];
    yard.file("original", "inside").link("absolute", absolute).link("relative", "../outside/secret");
    yard.link("inside", "original").link("nowhere", "nothing").link("new-outside", "../outside/new");
    yard.link("directory-outside", "../outside/d");
    for name in links {
        assert_eq!(store(&yard, ".", name), None, "{name}");
        assert!(yard.stat(name).is_file(), "{name}");
        yard.has(name, "new");
    }
    yard.has("original", "inside");
    assert!(!yard.path("nothing").exists());
}

// covers: security PT-01, peers 78
#[test]
fn a_target_that_is_a_link_to_a_file_is_replaced_or_refused_but_never_written_through() {
    for target in
        ["inside", "absolute", "relative", "new-outside", "out", "out/", "out/inner", "out/new", "nowhere/"]
    {
        let Some(yard) = Yard::confined() else { return };
        yard.file("original", "inside").link("inside", "original").link("absolute", yard.outside("secret"));
        yard.link("relative", "../outside/secret")
            .link("new-outside", "../outside/new")
            .link("out", "../outside/d");
        match store(&yard, target, "x") {
            None => yard.has(target, "new"),
            Some(heard) => assert!(heard.ends_with(ABSENT), "{target}: {heard}"),
        }
        yard.has("original", "inside");
        assert!(yard.stat("out").is_symlink() || target == "out", "{target}");
    }
}

// covers: security PT-02, peers 81, peers 84, peers 82, security PT-12
#[test]
fn a_directory_onto_a_link_that_leads_outside_is_refused_and_nothing_changes_there() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("absolute", yard.outside("d")).link("relative", "../outside/d").link("up", "..").dir("sub");
    yard.link("sub/up", "../..");
    for flags in ["-r", "-r -p"] {
        let mut peer = Peer::sink(&yard, flags, ".");
        peer.hears_ok();
        for name in ["absolute", "relative", "up"] {
            peer.says_record("T1 0 1 0").hears_ok().says_record(format!("D0777 0 {name}"));
            assert!(peer.hears_refusal().ends_with(&format!("{name}: {ABSENT}")));
        }
        peer.says_record("D0755 0 sub").hears_ok().says_record("D0777 0 up");
        assert!(peer.hears_refusal().ends_with(&format!("sub/up: {ABSENT}")));
        peer.hangs_up().hears_the_rest();
        peer.sees_exit(1);
    }
}

// covers: security PT-02, peers 85, peers 82
#[test]
fn a_directory_onto_a_link_that_stays_inside_goes_where_it_leads() {
    let yard = Yard::new();
    yard.dir("d").dir("e").link("d/link", "../e");
    let mut peer = Peer::sink(&yard, "-r", "d");
    peer.hears_ok().says_record("D0755 0 link").hears_ok().stores("C0644 1 a", "1");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    yard.holds(["d/", "d/link -> ../e", "e/", "e/a"]);
}

// covers: security PT-03, peers 82, peers 79, peers 85
#[test]
fn a_link_in_the_middle_of_a_path_is_followed_only_as_far_as_it_stays_inside() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").dir("d/sub").file("d/sub/a", "1").link("d/in", "../d/sub").link("d/out", "../../outside/d");
    yard.link("absolute", yard.outside("d")).link("up", "..");
    for path in
        ["d/out/inner", "absolute/inner", "up/outside/secret", "d/out", "absolute", "up", "up/outside/d"]
    {
        assert_eq!(refused(&yard, path), format!("{path}: {ABSENT}"));
    }
    for target in ["d/out/new", "absolute/new", "up/outside/new", "d/out/inner"] {
        assert_eq!(store(&yard, target, "x"), Some(format!("{target}: {ABSENT}")));
    }
    Peer::source(&yard, "", ["d/in/a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
    assert_eq!(store(&yard, "d/in", "b"), None);
    yard.has("d/sub/b", "new");
}

// covers: security PT-04, peers 99
#[test]
fn proc_leads_nowhere() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("root", "/proc/self/root")
        .link("cwd", "/proc/self/cwd")
        .link("fd", "/proc/self/fd/0")
        .dir("proc");
    yard.link("proc/self", "/proc/self");
    let outside = yard.outside("secret");
    for path in [
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/secret",
        "/proc/1/root/etc/passwd",
        "/dev/fd/0",
        "/dev/stdin",
        "root/etc/passwd",
        "cwd/secret",
        "fd",
        "proc/self/cwd/secret",
        &format!("root{}", outside.display()),
    ] {
        assert!(refused(&yard, path).ends_with(ABSENT), "{path}");
        if let Some(heard) = store(&yard, path, "x") {
            assert!(heard.ends_with(ABSENT), "{path}: {heard}");
        }
    }
    yard.has("fd", "new");
}

// covers: security PT-05
#[test]
fn a_dot_dot_after_a_link_is_taken_from_where_the_link_leads() {
    let yard = Yard::new();
    yard.dir("d").dir("d/sub").link("link", "d/sub").file("x", "lexical").file("d/x", "real");
    Peer::source(&yard, "", ["link/../x"]).says_ok().hears_file("C0644 4 x", "real").sees_exit(0);
    Peer::sink(&yard, "", "link/../y").hears_ok().stores("C0644 1 y", "1").hangs_up().sees_exit(0);
    yard.has("d/y", "1");
}

// covers: security PT-06, security PT-09, peers 54, peers 90, peers 91
#[test]
fn paths_that_climb_are_absent_and_the_root_is_the_top() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("sub").file("sub/a", "1");
    let root = yard.path("");
    let root = root.to_str().unwrap();
    for path in [
        "../outside/secret",
        "/../outside/secret",
        "sub/../../outside/secret",
        "sub/../../../outside/secret",
        "/sub/../../outside/secret",
        "../../../../../../../../etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "./../outside",
        "sub/../..",
        "/a/../../../etc/passwd",
        "../root/sub/a/../../../outside/secret",
        &format!("{root}/../outside/secret"),
        &format!("{root}/../../etc/passwd"),
        &format!("{root}/../outside"),
        &format!("{root}10/secret"),
        &format!("{root}/sub/../../outside/d"),
    ] {
        let heard = refused(&yard, path);
        assert!(heard.ends_with(ABSENT), "{path}: {heard}");
        let heard = store(&yard, path, "x").unwrap_or_else(|| panic!("{path} was stored"));
        assert!(heard.ends_with(ABSENT), "{path}: {heard}");
    }
    yard.holds(["sub/", "sub/a"]);
}

// covers: security PT-09, security PT-06, security SRC-12, peers 45
#[test]
fn a_final_dot_dot_never_leads_above_the_root() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("sub").file("mark", "1");
    for (number, path) in ["sub/..", "sub/../", "sub/../.", "/", "//", ".", "/.", ""].iter().enumerate() {
        assert_eq!(store(&yard, path, &number.to_string()), None, "{path}");
        yard.has(number.to_string(), "new");
    }
    for path in ["..", "../", "sub/../..", "/..", "../.", "/../../.."] {
        let heard = store(&yard, path, "x");
        assert!(heard.is_none() && yard.path("x").exists() || heard.is_some(), "{path}: {heard:?}");
        // Absent or the root itself: the parent's entries are not among those sent.
        let mut peer = Peer::source(&yard, "-r", [path]);
        let heard = peer.says([0; 100]).hangs_up().hears_the_rest();
        peer.sees_whatever_exit();
        assert!(!heard.escape_ascii().to_string().contains("secret"), "{path}: {}", heard.escape_ascii());
    }
}

// covers: peers 92, security PT-06
#[test]
fn a_path_can_be_spelled_from_the_root_or_as_it_is_called_on_the_host() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/a", "1");
    let host = yard.path("d/a");
    for path in ["d/a", "/d/a", "//d/a", "/./d/../d//a", host.to_str().unwrap()] {
        Peer::source(&yard, "", [path]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
    }
    for (name, target) in [("b", "/d"), ("c", yard.path("d").to_str().unwrap())] {
        assert_eq!(store(&yard, target, name), None);
        yard.has(format!("d/{name}"), "new");
    }
}

// covers: security PT-17
#[test]
fn a_directory_whose_name_begins_like_the_roots_is_outside() {
    let Some(yard) = Yard::confined() else { return };
    let beside = yard.home().join("root10");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("a"), "beside").unwrap();
    let path = beside.join("a");
    assert!(refused(&yard, path.to_str().unwrap()).ends_with(ABSENT));
    assert!(store(&yard, path.to_str().unwrap(), "a").is_some_and(|heard| heard.ends_with(ABSENT)));
    assert!(
        store(&yard, beside.join("b").to_str().unwrap(), "b").is_some_and(|heard| heard.ends_with(ABSENT))
    );
    assert_eq!(std::fs::read(path).unwrap(), b"beside");
    assert!(!beside.join("b").exists());
}

// covers: security PT-18
#[test]
fn what_is_outside_and_what_is_absent_cannot_be_told_apart() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("there", "../outside/secret").link("missing", "../outside/nothing").link("d", "../outside/d");
    yard.link("closed", "/root/.ssh/id").link("nowhere", "nothing");
    let answers = |path: &str| {
        let fetched = refused(&yard, path);
        let below = format!("{path}/x");
        let stored = store(&yard, &below, "x").expect("no way there");
        let text = |heard: &str, path| heard.strip_prefix(path).map(str::to_owned);
        (text(&fetched, path), text(&stored, &below))
    };
    let absent = (Some(format!(": {ABSENT}")), Some(format!(": {ABSENT}")));
    for path in [
        "there",
        "missing",
        "d",
        "d/inner",
        "d/nothing",
        "closed",
        "nowhere",
        "nothing",
        "../outside/secret",
        "../outside/nothing",
        "../outside/d",
        "../../etc/shadow",
        "/etc/shadow",
        "/etc/nothing",
    ] {
        assert_eq!(answers(path), absent, "{path}");
    }
    for flags in ["-d", "-r -d", ""] {
        let heard = ["there/", "missing/", "d/"].map(|target| {
            let mut peer = Peer::sink(&yard, flags, target);
            let heard = peer.says_record("C0644 1 x").hangs_up().hears_the_rest();
            peer.sees_exit(1);
            heard.escape_ascii().to_string().replace(target.trim_end_matches('/'), "LINK")
        });
        assert_eq!(
            (&heard[0], &heard[0]),
            (&heard[1], &heard[2].replace("LINKirectory", "directory")),
            "{flags}"
        );
    }
}

// covers: security PT-07
#[test]
fn loops_and_long_chains_of_links_come_to_an_end() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("self", "self").link("a", "b").link("b", "a").link("0", "end").file("end", "x").dir("d");
    for number in 1..=200 {
        yard.link(number.to_string(), (number - 1).to_string());
    }
    Peer::source(&yard, "", ["5"]).says_ok().hears_file("C0644 1 5", "x").sees_exit(0);
    for path in ["self", "a", "200", "self/x", "a/b"] {
        refused(&yard, path);
        store(&yard, &format!("{path}/x"), "x").expect("no way there");
    }
    assert_eq!(store(&yard, ".", "self"), None);
    yard.has("self", "new");
}

// covers: security PT-08, peers 63
#[test]
fn a_path_can_be_longer_than_the_kernel_takes_and_is_refused_then() {
    let yard = Yard::new();
    yard.file("a", "1");
    let path = |length: usize| format!("{}a", "./".repeat(length / 2));
    Peer::source(&yard, "", [path(4000)]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
    let mut peer = Peer::source(&yard, "", [path(4200)]);
    peer.says_ok();
    if yard.openssh("answers a path of more than 2047 bytes with a longer line than its client takes") {
        peer.hangs_up().hears_the_rest();
        peer.sees_exit(1);
        return;
    }
    // Shortened in the answer, understood or not: no line is longer than clients take.
    if yard.unconfined() {
        peer.hears_refusal();
        peer.sees_exit(1);
    } else {
        peer.hangs_up().hears_the_rest();
        peer.sees_whatever_exit();
    }
}

// covers: security PT-19, peers 93, peers H-e
#[test]
fn a_special_file_is_no_place_for_a_file_and_nothing_hangs() {
    let Some(yard) = Yard::ours("opening a named pipe hangs") else {
        return;
    };
    yard.fifo("pipe").socket("socket").dir("directory");
    let mut names = vec!["pipe", "socket", "directory"];
    if yard.null_device("null") {
        names.push("null");
    }
    for name in names {
        let kind = yard.stat(name).file_type();
        for target in [".", name] {
            if name == "directory" && target == name {
                continue;
            }
            let heard = store(&yard, target, name);
            // In the place of scp, a device is written to: `scp file host:/dev/null` is somebody's test.
            let written = yard.unconfined() && name == "null";
            assert_eq!(heard.is_none(), written, "{name}: {heard:?}");
        }
        let now = yard.stat(name).file_type();
        assert_eq!(
            (now.is_fifo(), now.is_socket(), now.is_dir(), now.is_char_device()),
            (kind.is_fifo(), kind.is_socket(), kind.is_dir(), kind.is_char_device()),
            "{name}"
        );
    }
}

// covers: security PT-15
#[test]
fn a_hard_link_to_a_file_outside_is_a_file_of_the_root() {
    let Some(mut yard) = Yard::confined() else { return };
    yard.hard_link(yard.outside("secret"), "a");
    yard.looks_outside_again();
    let mut peer = Peer::source(&yard, "", ["a"]);
    peer.says_ok().hears_file("C0644 11 a", "the secret\n").sees_exit(0);
    yard.gives_up_outside();
    assert_eq!(store(&yard, ".", "a"), None);
    let canary = std::fs::metadata(yard.outside("secret")).unwrap();
    assert_eq!(filetime::FileTime::from_last_modification_time(&canary).unix_seconds(), 2);
    assert_eq!(std::fs::read(yard.outside("secret")).unwrap(), b"the secret\n");
}

// covers: security SRC-03, peers 83, peers 81, peers 79, security LOG-04
#[test]
fn a_link_in_a_tree_that_leads_outside_is_not_sent_and_what_is_there_is_not_told() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d")
        .link("d/file", "../../outside/secret")
        .link("d/dir", yard.outside("d"))
        .link("d/etc", "/etc");
    yard.link("d/none", "../../outside/nothing").link("d/up", "../..");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    peer.says_ok().hears_record("D0755 0 d").says_ok();
    let mut heard: Vec<String> = (0..5).map(|_| peer.hears_refusal()).collect();
    heard.sort();
    let expected = ["dir", "etc", "file", "none", "up"].map(|name| format!("d/{name}: {ABSENT}"));
    assert_eq!(heard, expected);
    peer.hears_record("E").says_ok().sees_exit(1);
}

// covers: security SRC-06
#[test]
fn links_that_lead_back_to_the_root_are_not_followed_round_and_round() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").link("d/top", "..").dir("e").link("e/d", "../d");
    let mut peer = Peer::source(&yard, "-r", ["d"]);
    let heard = peer.says([0; 5000]).hangs_up().hears_the_rest();
    peer.sees_exit(1);
    let directories = heard.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"D")).count();
    assert!(directories <= 12, "{}", heard.escape_ascii());
}

// covers: security PT-21
#[test]
fn directories_without_all_permissions_do_what_they_allow() {
    let Some(yard) = Yard::of_a_user() else { return };
    yard.dir("blind").file("blind/a", "old").chmod("blind", 0o300);
    yard.dir("closed").chmod("closed", 0).dir("fixed").file("fixed/a", "old").chmod("fixed", 0o500);
    assert_eq!(store(&yard, "blind", "b"), None);
    assert!(store(&yard, "closed", "b").is_some_and(|heard| heard.ends_with("Permission denied")));
    assert!(store(&yard, "fixed", "b").is_some_and(|heard| heard.ends_with("Permission denied")));
    Peer::source(&yard, "", ["blind/a"]).says_ok().hears_file("C0644 3 a", "old").sees_exit(0);
    assert_eq!(refused(&yard, "closed/a"), "closed/a: Permission denied");
    assert_eq!(refused(&yard, "closed"), "closed: Permission denied");
    yard.chmod("blind", 0o700).has("blind/b", "new");
}
