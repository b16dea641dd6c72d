//! What may be done where, as the configuration file says it.

use std::fs;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

/// Starts a sink with what the file says.
fn sink(yard: &Yard, text: &str, flags: &str, target: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(text)?.sink(flags, target))
}

/// Starts a source with what the file says.
fn source(yard: &Yard, text: &str, flags: &str, path: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(text)?.asks(format!("scp {flags} -f {path}")))
}

/// The file's root is the yard's, and the command line has one of its own.
fn within<'y>(yard: &'y Yard, own: &str) -> Option<Server<'y>> {
    let text = format!("[default]\nroot = {:?}\n", yard.path(""));
    Some(Server::of(yard).without_a_root().configured(&text)?.option("--root").option(own))
}

// covers: security PT-01, security PT-17
#[test]
fn the_command_lines_root_is_looked_up_in_the_files() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("in").dir("in/bob").file("in/bob/a", "1").link("short", "in/bob").file("a", "not this");
    for own in ["/in/bob", "in/bob/", "/short", "in/../in/bob"] {
        let Some(server) = within(&yard, own) else { return };
        server.source("", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
        for outside in ["../../a", "/../a"] {
            let mut peer = within(&yard, own).unwrap().source("", [outside]);
            peer.says_ok().hears_that(&format!("{outside}: No such file or directory")).sees_exit(1);
        }
    }
    // The client may know the place by its whole name.
    let whole = format!("{}/in/bob/b", yard.path("").display());
    let mut peer = within(&yard, "/in/bob/").unwrap().sink("", &whole);
    peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    yard.has("in/bob/b", "1");
}

// covers: security PT-03
#[test]
fn the_command_lines_root_never_leads_out_of_the_files() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("out", "../outside/d").link("absolute", yard.outside("d").to_str().unwrap()).file("file", "1");
    let whole = yard.outside("d");
    for own in ["..", "../outside/d", "/../outside", "out", "absolute", whole.to_str().unwrap(), "nothing"] {
        let Some(server) = within(&yard, own) else { return };
        let mut peer = server.source("", ["inner"]);
        peer.hears_that("the directory of this account cannot be used: No such file or directory");
        peer.sees_exit(1);
    }
    let mut peer = within(&yard, "file").unwrap().sink("", ".");
    peer.hears_that("the directory of this account cannot be used: Not a directory").sees_exit(1);
}

/// Only `in` takes uploads, only `out` gives; `in/done` is nobody's business.
const TWO_SIDES: &str = r#"
[default]
path = [
    { pattern = "in/done", hide = true },
    { pattern = "in/**", allow = ["create", "mkdir"] },
    { pattern = "out/**", allow = ["download"] },
    { pattern = "**", deny = ["all"] },
]
"#;

// covers: peers 122, peers 123, peers 125
#[test]
fn uploads_go_where_the_rules_allow_and_leave_nothing_elsewhere() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("in").dir("in/done").dir("out").file("out/a", "1").file("in/old", "old");
    let Some(mut peer) = sink(&yard, TWO_SIDES, "-r", ".") else { return };
    peer.hears_ok().says_record("C0644 1 a").hears_that("./a: storing this is not allowed here");
    peer.says_record("D0755 0 new").hears_that("./new: this directory is not allowed here");
    peer.says_record("D0755 0 out").hears_that("./out: this directory is not allowed here");
    // Not to be made or changed, but to be gone through.
    peer.says_record("D0700 0 in").hears_ok();
    peer.stores("C0644 1 a", "1").says_record("D0755 0 new").hears_ok().stores("C0644 1 b", "2");
    peer.says_record("E").hears_ok();
    peer.says_record("C0644 1 old").hears_that("./in/old: replacing this is not allowed here");
    peer.says_record("D0755 0 done").hears_that("./in/done: No such file or directory");
    peer.says_record("C0644 1 done").hears_that("./in/done: No such file or directory");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    for (target, words) in [
        ("out/x", "out/x: storing this is not allowed here"),
        ("missing/x", "missing/x: storing this is not allowed here"),
        ("in/missing/x", "in/missing/x: No such file or directory"),
        ("in/done", "in/done: No such file or directory"),
        ("in/done/x", "in/done/x: No such file or directory"),
        ("in/../out/x", "in/../out/x: storing this is not allowed here"),
        ("./out//x", "./out//x: storing this is not allowed here"),
    ] {
        let mut peer = sink(&yard, TWO_SIDES, "", target).unwrap();
        peer.hears_ok().says_record("C0644 1 x").hears_that(words).hangs_up().sees_exit(1);
    }
    yard.holds(["in/", "in/a", "in/done/", "in/new/", "in/new/b", "in/old", "out/", "out/a"]);
    yard.has("in/old", "old");
    assert_eq!(yard.mode("in"), 0o755);
}

// covers: peers 125
#[test]
fn each_operation_can_be_the_only_one_that_is_allowed() {
    let Some(yard) = Yard::confined() else { return };
    for allowed in ["create", "overwrite", "mkdir", "download"] {
        yard.file("old", "old");
        let rules =
            format!("{{ pattern = '**', allow = ['{allowed}'] }}, {{ pattern = '**', deny = ['all'] }}");
        let text = format!("[default]\npath = [{rules}]\n");
        let Some(mut peer) = sink(&yard, &text, "-r", ".") else { return };
        peer.hears_ok();
        for (operation, record) in
            [("create", "C0644 3 new"), ("overwrite", "C0644 3 old"), ("mkdir", "D0755 0 dir")]
        {
            peer.says_record(record);
            let ok = peer.hears_whether_ok();
            assert_eq!(ok, operation == allowed, "{record} where only {allowed} is allowed");
            match (ok, operation) {
                (false, _) => assert!(peer.hears_refusal().ends_with(" not allowed here")),
                (true, "mkdir") => {
                    // What is made is empty, as nothing may be stored in it.
                    peer.says_record("C0644 3 in").hears_that("./dir/in: storing this is not allowed here");
                    peer.says_record("E").hears_ok();
                }
                (true, _) => drop(peer.says("new\0").hears_ok()),
            }
        }
        peer.hangs_up().sees_whatever_exit();
        let mut peer = source(&yard, &text, "", "old").unwrap();
        peer.says_ok();
        if allowed == "download" {
            peer.hears_file("C0644 3 old", "old").sees_exit(0);
        } else {
            peer.hears_that("old: downloading this is not allowed here").sees_exit(1);
        }
        match allowed {
            "create" => yard.holds(["new", "old"]),
            "mkdir" => yard.holds(["dir/", "old"]),
            _ => yard.holds(["old"]),
        }
        yard.has("old", if allowed == "overwrite" { "new" } else { "old" });
        let _ = fs::remove_file(yard.path("new"));
        let _ = fs::remove_dir(yard.path("dir"));
    }
}

// covers: peers 138, peers 141, security PT-18
#[test]
fn a_pattern_does_not_tell_what_is_where_nothing_may_be_fetched() {
    let Some(yard) = Yard::confined() else { return };
    let rules = "{ pattern = 'way/*/open', allow = ['download'] }, { pattern = 'closed', deny = ['all'] },
                 { pattern = 'way/**', deny = ['all'] }";
    let text = format!("[default]\npath = [{rules}]\n");
    yard.dir("closed").file("closed/a", "1").dir("closed/d").dir("way").file("way/a", "1");
    for (there, absent) in [
        ("[c]losed/a", "[c]losed/b"),
        ("[c]losed/d", "[c]losed/e"),
        ("[w]ay/a", "[w]ay/b"),
        ("*/d/a", "*/e/a"),
    ] {
        let answers = [there, absent].map(|path| {
            let mut peer = source(&yard, &text, "-r", path)?;
            let heard = peer.says_ok().hears_refusal();
            peer.sees_exit(1);
            Some(heard.replace(path, "PATH"))
        });
        let [Some(there), Some(absent)] = answers else { return };
        assert_eq!(there, absent);
    }
    // Beside what is closed, patterns find what they always do.
    yard.dir("open").file("open/a", "2");
    let mut peer = source(&yard, &text, "", "*/a").unwrap();
    peer.says_ok().hears_file("C0644 1 a", "2").sees_exit(0);
}

// covers: peers 125, peers 138, peers 141
#[test]
fn downloads_come_from_where_the_rules_allow() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("in").file("in/a", "secret").dir("out").file("out/a", "1").dir("out/d").file("out/d/b", "2");
    for (path, words) in [
        ("in/a", "in/a: downloading this is not allowed here"),
        ("in/nothing", "in/nothing: downloading this is not allowed here"),
        ("in/*", "in/*: downloading this is not allowed here"),
        ("in/done", "in/done: No such file or directory"),
        ("out/../in/a", "out/../in/a: downloading this is not allowed here"),
    ] {
        let Some(mut peer) = source(&yard, TWO_SIDES, "-r", path) else { return };
        peer.says_ok().hears_that(words).sees_exit(1);
    }
    let mut peer = source(&yard, TWO_SIDES, "", "o*/a").unwrap();
    peer.says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
    // The way to what is allowed can be gone, and what is beside it is told plainly.
    let mut peer = source(&yard, TWO_SIDES, "-r", "out").unwrap();
    let told = peer.says_ok().hears_line();
    assert_eq!(told, "D0755 0 out\n");
    let mut seen = Vec::new();
    for _ in 0..2 {
        peer.says_ok();
        let record = peer.hears_line();
        seen.push(record.clone());
        if record.starts_with('D') {
            peer.says_ok()
                .hears_record("C0644 1 b")
                .says_ok()
                .hears_exactly("2\0")
                .says_ok()
                .hears_record("E");
        } else {
            peer.says_ok().hears_exactly("1\0");
        }
    }
    seen.sort();
    assert_eq!(seen, ["C0644 1 a\n", "D0755 0 d\n"]);
    peer.says_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: peers 138
#[test]
fn what_is_hidden_is_not_there_in_any_way() {
    let Some(yard) = Yard::confined() else { return };
    let text = "[default]\npath = [{ pattern = 'secret*', hide = true }]\n";
    yard.dir("secret")
        .file("secret/a", "1")
        .file("secret2", "2")
        .dir("d")
        .file("d/secret", "3")
        .file("d/open", "4");
    for path in
        ["secret", "secret/a", "secret2", "d/secret", "secret/", "secret/.", "secret/*", "s*", "*2", "*/a"]
    {
        let Some(mut peer) = source(&yard, text, "-r", path) else { return };
        peer.says_ok().hears_that(&format!("{path}: No such file or directory")).sees_exit(1);
    }
    let mut peer = source(&yard, text, "-r", "*").unwrap();
    peer.says_ok().hears_record("D0755 0 d").says_ok().hears_file("C0644 1 open", "4").hears_record("E");
    peer.says_ok().sees_exit(0);
    for target in ["secret", "secret/", "secret/x", "secret/a/", "d/secret", "d/secret3"] {
        for flags in ["-r", "-r -d"] {
            let mut peer = sink(&yard, text, flags, target).unwrap();
            if flags == "-r" {
                peer.hears_ok().says_record("D0755 0 x");
            }
            let heard = peer.hears_refusal();
            assert!(heard.ends_with(": No such file or directory"), "{flags} {target}: {heard}");
            peer.hangs_up().sees_exit(1);
        }
    }
    yard.holds(["d/", "d/open", "d/secret", "secret/", "secret/a", "secret2"]);
}

// covers: peers 138, peers 141, security PT-18
#[test]
fn where_nothing_may_be_stored_nothing_is_told_of_what_is_there() {
    let rules = "{ pattern = 'NAME', hide = true }, { pattern = 'in/**', allow = ['upload'] },
                 { pattern = '**', deny = ['all'] }";
    let denied = rules.replace("hide = true", "deny = ['all']");
    for rules in [rules.to_owned(), denied] {
        let text = format!("[default]\npath = [{rules}]\n");
        for target in
            ["NAME", "NAME/", "NAME/x", "NAME/x/y", "in/NAME", "in/NAME/", "in/NAME/x", "in/../NAME/."]
        {
            for flags in ["", "-d", "-r", "-r -d -p"] {
                for said in ["C0644 1 x\n", "D0755 0 x\n", "T1 0 1 0\nC0644 1 NAME\n"] {
                    if said.starts_with('D') && !flags.contains("-r") {
                        continue;
                    }
                    let mut replies = Vec::new();
                    for kind in ["nothing", "file", "directory", "full directory", "link"] {
                        let Some(yard) = Yard::confined() else { return };
                        yard.dir("in");
                        for name in ["NAME", "in/NAME"] {
                            match kind {
                                "nothing" => &yard,
                                "file" => yard.file(name, "old"),
                                "directory" => yard.dir(name),
                                "link" => yard.link(name, "in"),
                                _ => {
                                    yard.dir(name).dir(format!("{name}/x")).file(format!("{name}/x/y"), "old")
                                }
                            };
                        }
                        let before = yard.listing();
                        let Some(mut peer) = sink(&yard, &text, flags, target) else { return };
                        peer.says_without_listening(said).hangs_up();
                        let heard = peer.hears_the_rest().escape_ascii().to_string();
                        replies.push((heard, peer.sees_whatever_exit()));
                        assert_eq!(before, yard.listing());
                    }
                    replies.dedup();
                    assert_eq!(replies.len(), 1, "scp {flags} -t {target}: {said:?}: {replies:?}");
                }
            }
        }
    }
}

// covers: security PT-01, security PT-03
#[test]
fn no_link_is_a_way_around_a_rule() {
    let Some(yard) = Yard::confined() else { return };
    let text = "[default]\npath = [{ pattern = 'closed', deny = ['all'] }]\n";
    yard.dir("closed").file("closed/a", "1").dir("open");
    yard.link("open/way", "../closed")
        .link("open/a", "../closed/a")
        .link("way", "closed")
        .link("self", "open");
    for path in ["open/way/a", "open/a", "way/a", "way", "self", "self/a"] {
        let Some(mut peer) = source(&yard, text, "-r", path) else { return };
        peer.says_ok().hears_that(&format!("{path}: No such file or directory")).sees_exit(1);
    }
    let mut peer = sink(&yard, text, "-r", ".").unwrap();
    peer.hears_ok().says_record("D0755 0 way").hears_that("./way: No such file or directory");
    peer.says_record("D0755 0 closed").hears_that("./closed: this directory is not allowed here");
    peer.hangs_up().sees_exit(1);
    for target in ["way/b", "open/way/b", "self/b"] {
        let mut peer = sink(&yard, text, "", target).unwrap();
        let heard = peer.hears_ok().says_record("C0644 1 b").hears_refusal();
        assert!(heard.ends_with(": No such file or directory"), "{target}: {heard}");
        peer.hangs_up().sees_exit(1);
    }
    yard.has("closed/a", "1");
    assert_eq!(fs::read_dir(yard.path("closed")).unwrap().count(), 1);
}

// covers: peers 140
#[test]
fn a_file_that_appears_meanwhile_is_not_replaced_against_a_rule() {
    let Some(yard) = Yard::confined() else { return };
    let text = "[default]\npath = [{ pattern = '*.log', deny = ['overwrite'] }]\n";
    let Some(mut peer) = sink(&yard, text, "", ".") else { return };
    peer.hears_ok().says_record("C0644 4 a.log").hears_ok().says("late");
    yard.file("a.log", "first");
    peer.says_ok().hears_that("./a.log: replacing this is not allowed here");
    peer.says_record("C0644 1 a.log").hears_that("./a.log: replacing this is not allowed here");
    peer.stores("C0644 1 b.txt", "1").stores("C0644 1 b.txt", "2").hangs_up().sees_exit(1);
    yard.has("a.log", "first");
    yard.has("b.txt", "2");
}

// covers: peers 138, peers 140
#[test]
fn a_whole_tree_is_no_way_around_a_rule() {
    let Some(yard) = Yard::confined() else { return };
    let rule = "path = [{ pattern = '*.log', deny = ['overwrite', 'download'] }, { pattern = 'no', deny = ['all'] }]\n";
    let text = format!("[default]\ncommit = 'tree'\n{rule}");
    yard.dir("old").file("old/a.log", "old");
    let Some(mut peer) = sink(&yard, &text, "-r", ".") else { return };
    peer.hears_ok()
        .says_record("D0755 0 old")
        .hears_that("./old: replacing a whole directory is not allowed here");
    peer.says_record("D0755 0 no").hears_that("./no: this directory is not allowed here");
    peer.says_record("D0755 0 new").hears_ok().stores("C0644 1 a.log", "1");
    peer.says_record("C0644 1 a.log").hears_that("./new/a.log: replacing this is not allowed here");
    peer.says_record("E");
    let heard = peer.hears_refusal();
    assert!(heard.contains("1 entries in it were refused"), "{heard}");
    peer.says_record("D0755 0 new").hears_ok().stores("C0644 1 a.log", "1");
    peer.says_record("D0755 0 sub").hears_ok().says_record("E").hears_ok();
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    yard.holds(["new/", "new/a.log", "new/sub/", "old/", "old/a.log"]);
}

// covers: peers 126
#[test]
fn only_names_of_the_allowed_forms_are_stored() {
    let Some(yard) = Yard::confined() else { return };
    let text = "[default]\nnames = ['*.csv', 'report-[0-9]?']\n";
    let Some(mut peer) = sink(&yard, text, "-r", ".") else { return };
    peer.hears_ok().says_record("D0755 0 any.dir").hears_ok();
    peer.stores("C0644 1 a.csv", "1").stores("C0644 1 report-07", "2");
    for name in ["a.csv.exe", "a.CSV", "report-x7", "csv", ".csvx"] {
        peer.says_record(format!("C0644 1 {name}"));
        peer.hears_that(&format!("./any.dir/{name}: this name is not allowed here"));
    }
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    // It is the final name that counts, not the one that the client has for it.
    let mut peer = sink(&yard, text, "", "any.dir/b.sh").unwrap();
    peer.hears_ok().says_record("C0644 1 b.csv").hears_that("any.dir/b.sh: this name is not allowed here");
    peer.hangs_up().sees_exit(1);
    let mut peer = sink(&yard, text, "", "any.dir/b.csv").unwrap();
    peer.hears_ok().stores("C0644 1 b.sh", "1").hangs_up().sees_exit(0);
    yard.holds(["any.dir/", "any.dir/a.csv", "any.dir/b.csv", "any.dir/report-07"]);
}

// covers: peers 126, security PT-18
#[test]
fn names_with_a_dot_in_front_are_refused_or_not_there() {
    let Some(yard) = Yard::confined() else { return };
    yard.file(".hidden", "1")
        .dir(".git")
        .file(".git/config", "2")
        .dir("d")
        .file("d/.x", "3")
        .file("d/y", "4");
    let denied = "names that begin with a dot are not allowed here";
    for (word, said) in [("deny", denied), ("hide", "No such file or directory")] {
        let text = format!("[default]\ndot-files = '{word}'\n");
        for path in [".hidden", ".git", ".git/config", "d/../.git/config", "d/.x"] {
            let Some(mut peer) = source(&yard, &text, "-r", path) else { return };
            peer.says_ok().hears_that(&format!("{path}: {said}")).sees_exit(1);
            let mut peer = sink(&yard, &text, "-r", path).unwrap();
            let heard = peer.hears_ok().says_record("C0644 1 a").hears_refusal();
            assert!(heard.ends_with(said), "{word} {path}: {heard}");
            peer.hangs_up().sees_exit(1);
        }
        let mut peer = sink(&yard, &text, "-r", ".").unwrap();
        peer.hears_ok().says_record("D0755 0 .git").hears_that(&format!("./.git: {said}"));
        peer.says_record("D0755 0 .new").hears_that(&format!("./.new: {said}"));
        peer.stores("C0644 1 a.b", "1").hangs_up().sees_exit(1);
        let mut peer = source(&yard, &text, "-r", ".").unwrap();
        let answer = peer.says_ok().hears_line();
        assert!(answer.starts_with("D0755 0 "), "{answer}");
        let text = format!("{:?}", everything(&mut peer));
        assert_eq!(text.contains(denied), word == "deny", "{text}");
        peer.sees_exit(i32::from(word == "deny"));
        assert!(!text.contains("config") && text.contains("C0644 1 y"), "{text}");
        let dots = [".hidden", ".git", ".x"].iter().filter(|name| text.contains(*name)).count();
        assert_eq!(dots, if word == "deny" { 3 } else { 0 }, "{text}");
    }
}

/// Says yes to all that is sent, and returns it.
fn everything(peer: &mut Peer) -> String {
    for _ in 0..64 {
        peer.says_without_listening([0]);
    }
    String::from_utf8_lossy(&peer.hears_the_rest()).into_owned()
}

// covers: security CR-17
#[test]
fn set_id_bits_and_control_characters_are_stored_where_they_are_allowed() {
    let Some(yard) = Yard::confined() else { return };
    for (text, mode, stored) in [
        ("[default]\n", 0o755, false),
        ("[default]\nallow-set-id = true\nallow-control-characters = true\n", 0o6755, true),
    ] {
        let Some(mut peer) = sink(&yard, text, "-p", ".") else { return };
        peer.hears_ok().says_record("T1 0 1 0").hears_ok().stores("C6755 1 a", "1");
        assert_eq!(yard.mode("a"), mode);
        peer.says_record("C0644 1 x\u{1b}y");
        if stored {
            peer.hears_ok().says("1\0").hears_ok();
        } else {
            peer.hears_that("./x\\x1by: control characters in the name are not allowed");
        }
        peer.hangs_up().sees_exit(i32::from(!stored));
    }
    yard.holds(["a", "x\\x1by"]);
}

#[test]
fn rules_about_paths_are_nobodys_without_a_root() {
    let Some(yard) = Yard::confined() else { return };
    for rule in [
        "path = [{ pattern = 'x', hide = true }]",
        "dot-files = 'deny'",
        "names = ['*.csv']",
        "drop-box = true",
    ] {
        let server = Server::of(&yard).without_a_root().configured(&format!("[default]\n{rule}\n"));
        let Some(server) = server else { return };
        server.sink("", ".").hears_that("this server is not set up as it has to be").sees_exit(1);
    }
}

// covers: security PT-01
#[test]
fn rules_hold_below_the_command_lines_root_as_the_file_has_it() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("in").dir("in/bob").dir("bob").file("in/bob/a", "1");
    let rule = "path = [{ pattern = 'in/bob/a', deny = ['overwrite'] }]";
    let text = format!("[default]\nroot = {:?}\n{rule}\n", yard.path(""));
    let Some(server) = Server::of(&yard).without_a_root().configured(&text) else { return };
    let mut peer = server.option("--root").option("/in/bob").sink("", ".");
    peer.hears_ok().says_record("C0644 1 a").hears_that("./a: replacing this is not allowed here");
    peer.hangs_up().sees_exit(1);
}

// covers: security PT-01
#[test]
fn what_the_file_says_of_dots_holds_below_the_command_lines_root() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").dir("d/.g").file("d/.g/a", "1");
    for (word, why) in [("hide", "No such file or directory"), ("deny", "names that begin with a dot are")] {
        let start = || {
            let text = format!("[default]\nroot = {:?}\ndot-files = '{word}'\n", yard.path(""));
            Some(Server::of(&yard).without_a_root().configured(&text)?.option("--root").option("d/.g"))
        };
        let Some(server) = start() else { return };
        for mut peer in [server.source("", ["a"]), start().unwrap().source("-r", ["."])] {
            let refusal = peer.says_ok().hears_refusal();
            assert!(refusal.contains(why), "{refusal}");
            peer.sees_exit(1);
        }
        let mut peer = start().unwrap().sink("", "new");
        peer.says_without_listening("C0644 1 new\n1\0").hangs_up().hears_the_rest();
        peer.sees_exit(1);
        yard.holds(["d/", "d/.g/", "d/.g/a"]);
    }
}

#[test]
fn whose_times_may_not_be_kept_sets_none_without_asking_either() {
    let Some(yard) = Yard::confined() else { return };
    for (text, set) in [("", true), ("no-preserve = true", false), ("ignore-times = true", false)] {
        let Some(mut peer) = sink(&yard, &format!("[default]\n{text}\n"), "", ".") else { return };
        peer.hears_ok().says("T1 0 1 0\n").hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        assert_eq!(yard.stamps("a").0 == 1, set, "{text}");
    }
}

#[test]
fn a_size_that_no_file_can_have_is_no_limit() {
    let Some(yard) = Yard::confined() else { return };
    for size in ["8388607T", "8388608T", "16777215T"] {
        let text = format!("[default]\nmax-file-size = '{size}'\n");
        let Some(mut peer) = sink(&yard, &text, "", ".") else { return };
        peer.hears_ok().stores("C0644 2 a", "12").hangs_up().sees_exit(0);
    }
}

// covers: security PT-01
#[test]
fn a_pattern_does_not_tell_names_of_which_none_may_be_fetched() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/a", "1").file("secret", "2").file("open", "3");
    let none = "downloading this is not allowed here";
    let absent = "No such file or directory";
    for (rule, path, words) in [
        ("{ pattern = '**', deny = ['all'] }", "*", none),
        ("{ pattern = '**', deny = ['all'] }", "sec*", none),
        ("{ pattern = '**', deny = ['all'] }", "nix*", none),
        ("{ pattern = 'secret', deny = ['download'] }", "sec*", absent),
        ("{ pattern = 'secret', deny = ['download'] }", "nix*", absent),
        ("{ pattern = 'secret', deny = ['download'] }", "secret", none),
        ("{ pattern = 'd/**', deny = ['download'] }", "d/*", none),
        ("{ pattern = 'd/**', deny = ['download'] }", "d/[b-z]", none),
    ] {
        let Some(mut peer) = source(&yard, &format!("[default]\npath = [{rule}]\n"), "", path) else {
            return;
        };
        peer.says_ok().hears_that(&format!("{path}: {words}")).sees_exit(1);
    }
    // Of several, what may not be fetched is not left out without a word.
    let rule = "[default]\npath = [{ pattern = 'secret', deny = ['download'] }]\n";
    let Some(mut peer) = source(&yard, rule, "", "[os]*") else { return };
    peer.says_ok().hears_file("C0644 1 open", "3").hears_that("secret: downloading this is not allowed here");
    peer.sees_exit(1);
}
