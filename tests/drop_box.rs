//! A box that can only be put into, and tells nothing.

use std::fs;
use std::thread;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

const BOX: &str = "[default]\ndrop-box = true\n";

fn sink(yard: &Yard, text: &str, flags: &str, target: &str) -> Option<Peer> {
    Some(Server::of(yard).configured(text)?.sink(flags, target))
}

// covers: peers 140, peers 141
#[test]
fn a_name_that_is_taken_gets_a_number() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("report.pdf", "old").dir("d").file("d/a", "old").link("link", "report.pdf").fifo("fifo");
    let Some(mut peer) = sink(&yard, BOX, "-r", ".") else { return };
    peer.hears_ok();
    for text in ["one", "two"] {
        peer.stores("C0644 3 report.pdf", text);
    }
    peer.stores("C0644 3 d", "new").stores("C0644 3 link", "new").stores("C0644 3 fifo", "new");
    for text in ["1", "2"] {
        peer.says_record("D0755 0 d").hears_ok().stores("C0644 1 a", text).stores("C0644 1 a", text);
        peer.says_record("D0755 0 e").hears_ok().says_record("E").hears_ok().says_record("E").hears_ok();
    }
    peer.hangs_up().sees_exit(0);
    yard.holds([
        "d/",
        "d/a",
        "d.2",
        "d.3/",
        "d.3/a",
        "d.3/a.2",
        "d.3/e/",
        "d.4/",
        "d.4/a",
        "d.4/a.2",
        "d.4/e/",
        "fifo|",
        "fifo.2",
        "link -> report.pdf",
        "link.2",
        "report.pdf",
        "report.pdf.2",
        "report.pdf.3",
    ]);
    yard.has("report.pdf", "old");
    yard.has("report.pdf.3", "two");
    yard.has("d/a", "old");
    assert_eq!((yard.mode("report.pdf.2"), yard.mode("d.3")), (0o644, 0o755));
}

// covers: peers 141
#[test]
fn the_same_replies_are_worth_something() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "1");
    for (text, same) in [(BOX, true), ("[default]\nwrite-only = true\nno-overwrite = true\n", false)] {
        let replies = ["old", "new"].map(|name| {
            let said = format!("C0644 1 {name}\n1\0");
            let (heard, code) = all_that_is_heard(&yard, text, "", ".", said.as_bytes())?;
            Some((String::from_utf8(heard).unwrap().replace(name, "name"), code))
        });
        let [Some(taken), Some(free)] = replies else { return };
        assert_eq!(taken == free, same, "{text}");
        let _ = fs::remove_file(yard.path("new"));
    }
}

/// Plays one upload and returns all that the client hears and sees, and the exit status.
fn all_that_is_heard(
    yard: &Yard,
    text: &str,
    flags: &str,
    target: &str,
    said: &[u8],
) -> Option<(Vec<u8>, i32)> {
    let mut peer = sink(yard, text, flags, target)?;
    peer.says_without_listening(said).hangs_up();
    let mut heard = peer.hears_the_rest();
    heard.extend(peer.sees_stderr().into_bytes());
    Some((heard, peer.sees_whatever_exit()))
}

// covers: peers 141, security PT-18
#[test]
fn what_is_there_and_what_is_not_have_the_same_replies() {
    let long = "n".repeat(255);
    let name = |name: &str| name.replace("LONG", &long);
    for (flags, target) in [
        ("", "x"),
        ("", "NAME"),
        ("", "/NAME"),
        ("", "NAME/x"),
        ("", "NAME/"),
        ("", "NAME/."),
        ("", "d/NAME"),
        ("-d", "NAME"),
        ("-r", "NAME"),
        ("-r", "."),
        ("-r -p", "."),
        ("-r -v -p", "."),
        ("-r", "d/e/NAME/../x/"),
    ] {
        for said in [
            "C0644 1 NAME\n1\0",
            "C0644 9999999999999999 NAME\n",
            "T1 0 1 0\nC0644 1 NAME\n1\0",
            "D0755 0 NAME\nC0644 1 a\n1\0D0755 0 b\nE\nE\n",
            "D0755 0 NAME\nC0644 9999999999 a\nD0755 0 b\nC0644 9999999999 c\nE\nE\n",
            "T1 0 1 0\nD0000 0 NAME\nT1 0 1 0\nC0000 1 a\n1\0E\n",
            "C0644 1 NAME\n1\x01cannot read\n",
            "C0644 1 NAME\n1",
            "D0755 0 .\n",
        ] {
            let mut replies = Vec::new();
            for kind in ["nothing", "file", "directory", "link", "fifo", "full directory", "unwritable"] {
                let Some(yard) = Yard::confined() else { return };
                yard.dir("d").dir("d/e");
                for name in ["NAME", "LONG"].map(name) {
                    match kind {
                        "nothing" => &yard,
                        "file" => yard.file(&name, "old"),
                        "directory" => yard.dir(&name),
                        "link" => yard.link(&name, "../outside/d"),
                        "fifo" => yard.fifo(&name),
                        "unwritable" => yard.dir(&name).chmod(&name, 0),
                        _ => yard.dir(&name).file(format!("{name}/a"), "old").dir(format!("{name}/b")),
                    };
                }
                let before = yard.listing();
                let text = format!("{BOX}max-file-size = '1M'\n");
                let Some(heard) = all_that_is_heard(&yard, &text, flags, target, said.as_bytes()) else {
                    return;
                };
                let long = said.replace("NAME", &long);
                let target = target.replace("NAME", "LONG");
                let long = all_that_is_heard(&yard, &text, flags, &name(&target), long.as_bytes()).unwrap();
                replies.push((heard, long));
                assert!(
                    before.iter().all(|entry| yard.listing().contains(entry)),
                    "{kind}: all is still there"
                );
                if kind == "unwritable" {
                    yard.chmod("NAME", 0o700).chmod(name("LONG"), 0o700);
                }
            }
            replies.dedup();
            let replies: Vec<_> =
                replies.iter().map(|((one, _), _)| one.escape_ascii().to_string()).collect();
            assert_eq!(replies.len(), 1, "scp {flags} -t {target}: {said:?}: {replies:?}");
        }
    }
}

// covers: peers 141
#[test]
fn the_directory_in_a_path_does_not_count() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("there");
    for (target, flags) in [
        ("there/a", ""),
        ("missing/a", ""),
        ("/there/a", ""),
        ("../a", ""),
        ("there/", ""),
        ("/x/y/", ""),
        ("", "-d"),
        ("there", "-d"),
    ] {
        let Some(mut peer) = sink(&yard, BOX, flags, target) else { return };
        peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    }
    let mut peer = sink(&yard, BOX, "", "there").unwrap();
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.holds(["a", "a.2", "a.3", "a.4", "a.5", "a.6", "a.7", "a.8", "there/", "there.2"]);
}

// covers: peers 141
#[test]
fn nothing_comes_out_of_a_box() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    for line in ["scp -f a", "scp -f nothing", "scp -r -f .", "scp -f *"] {
        let Some(server) = Server::of(&yard).configured(BOX) else { return };
        server.asks(line).hears_that("downloads are not allowed here").sees_exit(1);
    }
    // A pattern in a target is a name.
    let mut peer = Server::of(&yard).configured(BOX).unwrap().asks("scp -t [a]");
    peer.hears_ok().stores("C0644 1 x", "1").hangs_up().sees_exit(0);
    yard.holds(["[a]", "a"]);
}

// covers: peers 141
#[test]
fn rules_in_a_box_tell_nothing_of_what_is_there_either() {
    let rules = "{ pattern = 'NAME/in/**', allow = ['upload'] }, { pattern = 'NAME', deny = ['all'] },
                 { pattern = 'NAMES', hide = true }, { pattern = 'old', deny = ['overwrite'] }";
    let text = format!("{BOX}path = [{rules}]\n");
    for said in [
        "D0755 0 NAME\nD0755 0 in\nC0644 1 a\n1\0E\nE\n",
        "C0644 1 NAME\n1\0",
        "D0755 0 NAMES\nE\n",
        "C0644 1 NAMES\n1\0",
        "C0644 1 old\n1\0",
        "D0755 0 old\nE\n",
    ] {
        let mut replies = Vec::new();
        for kind in ["nothing", "file", "directory"] {
            let Some(yard) = Yard::confined() else { return };
            for name in ["NAME", "NAMES", "old"] {
                match kind {
                    "nothing" => &yard,
                    "file" => yard.file(name, "old"),
                    _ => yard.dir(name).dir(format!("{name}/in")),
                };
            }
            let Some(heard) = all_that_is_heard(&yard, &text, "-r", ".", said.as_bytes()) else { return };
            replies.push(heard);
            assert!(kind != "directory" || fs::read_dir(yard.path("NAME/in")).unwrap().count() == 0);
        }
        replies.dedup();
        assert_eq!(replies.len(), 1, "{said:?}: {replies:?}");
    }
}

#[test]
fn each_sender_has_a_directory_that_is_made_when_it_is_needed() {
    let Some(yard) = Yard::confined() else { return };
    let text = format!("{BOX}drop-box-directory = 'in/%a'\n");
    let from = |address: &str| {
        Some(
            Server::of(&yard)
                .configured(&text)?
                .variable("SSH_CONNECTION", format!("{address} 1 192.0.2.1 22")),
        )
    };
    for (address, target) in [("192.0.2.7", "a"), ("2001:db8::7", "x/a"), ("192.0.2.7", "../in/2001_db8__7/")]
    {
        let Some(server) = from(address) else { return };
        let mut peer = server.sink("", target);
        peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    }
    yard.holds([
        "in/",
        "in/192.0.2.7/",
        "in/192.0.2.7/a",
        "in/192.0.2.7/a.2",
        "in/2001_db8__7/",
        "in/2001_db8__7/a",
    ]);
    assert_eq!((yard.mode("in"), yard.mode("in/192.0.2.7")), (0o700, 0o700));

    // A link on the way that leads outside is no way.
    fs::remove_dir_all(yard.path("in")).unwrap();
    yard.link("in", "../outside/d");
    let mut peer = from("192.0.2.7").unwrap().sink("", ".");
    peer.hears_ok()
        .says_record("C0644 1 a")
        .hears_that(".: No such file or directory")
        .hangs_up()
        .sees_exit(1);
}

#[test]
fn what_is_in_a_box_can_be_given_a_mode_that_nobody_writes() {
    let Some(yard) = Yard::confined() else { return };
    let text = format!(
        "{BOX}file-mode = '440'\ndirectory-mode = '750'\ndrop-box-directory = 'in'\ncommit = 'tree'\n"
    );
    for _ in 0..2 {
        let Some(mut peer) = sink(&yard, &text, "-r", "d") else { return };
        peer.hears_ok()
            .says_record("D0700 0 d")
            .hears_ok()
            .stores("C0644 1 a", "1")
            .says_record("E")
            .hears_ok();
        peer.stores("C0644 1 d", "1").hangs_up().sees_exit(0);
    }
    yard.holds(["in/", "in/d/", "in/d/a", "in/d.2", "in/d.3/", "in/d.3/a", "in/d.4"]);
    for (name, mode) in
        [("in", 0o750), ("in/d", 0o750), ("in/d.3", 0o750), ("in/d/a", 0o440), ("in/d.2", 0o440)]
    {
        assert_eq!(yard.mode(name), mode, "{name}");
    }
}

#[test]
fn a_name_that_is_there_hundreds_of_times_is_numbered_without_gaps() {
    let Some(yard) = Yard::confined() else { return };
    let Some(mut peer) = sink(&yard, BOX, "-r", ".") else { return };
    peer.hears_ok();
    for number in 1..=200 {
        peer.stores("C0644 3 file", format!("{number:03}"));
        peer.says_record("D0755 0 dir").hears_ok().says_record("E").hears_ok();
    }
    peer.hangs_up().sees_exit(0);
    let mut all = vec!["dir/".to_owned(), "file".to_owned()];
    all.extend((2..=200).flat_map(|number| [format!("dir.{number}/"), format!("file.{number}")]));
    all.sort();
    let mut there = yard.listing();
    there.sort();
    assert_eq!(there, all);
    yard.has("file.137", "137");
    // One that was taken out is no reason to replace another.
    fs::remove_file(yard.path("file.150")).unwrap();
    let mut peer = sink(&yard, BOX, "", ".").unwrap();
    peer.hears_ok().stores("C0644 3 file", "new").hangs_up().sees_exit(0);
    assert_eq!(yard.listing().len(), 400);
}

// covers: security CON-01
#[test]
fn of_twenty_senders_of_one_name_all_files_are_there() {
    let Some(yard) = Yard::confined() else { return };
    let senders: Vec<_> = (0..20).map_while(|_| sink(&yard, BOX, "-r", ".")).collect();
    if senders.is_empty() {
        return;
    }
    assert_eq!(senders.len(), 20);
    thread::scope(|scope| {
        for (number, mut peer) in senders.into_iter().enumerate() {
            scope.spawn(move || {
                peer.hears_ok().stores("C0644 2 name", format!("{number:02}"));
                peer.says_record("D0755 0 dir").hears_ok().stores("C0644 2 a", format!("{number:02}"));
                peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
            });
        }
    });
    for (stem, inner) in [("name", ""), ("dir", "/a")] {
        let file = |number: usize| match number {
            1 => format!("{stem}{inner}"),
            more => format!("{stem}.{more}{inner}"),
        };
        let mut found: Vec<_> =
            (1..=20).map(|number| fs::read_to_string(yard.path(file(number))).unwrap()).collect();
        found.sort();
        assert_eq!(found, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    }
    assert_eq!(yard.listing().len(), 60);
}

#[test]
fn the_log_says_what_a_file_is_called() {
    let Some(yard) = Yard::confined() else { return };
    let log = yard.home().join("log");
    yard.file("a", "1").dir("d");
    let Some(server) = Server::of(&yard).configured(BOX) else { return };
    let mut peer = server.option("--log").option(&log).sink("-r", ".");
    peer.hears_ok().stores("C0644 1 a", "1").stores("C0644 1 b", "1").says_record("D0755 0 d").hears_ok();
    peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    let log = fs::read_to_string(log).unwrap();
    let renamed: Vec<_> =
        log.lines().filter_map(|line| line.split_once("event=rename ").map(|(_, rest)| rest)).collect();
    assert_eq!(renamed, [r#"path="./a" name="a.2""#, r#"path="./d" name="d.2""#]);
    for found in [r#"event=store path="./a" inside="a.2""#, r#"event=mkdir path="./d" inside="d.2""#] {
        assert!(log.contains(found), "{found}: {log}");
    }
}
