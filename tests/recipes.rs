//! The recipes of the README, as they stand there, through a real sshd.
//!
//! The sshd has a /etc, a /srv, a /var/empty, a /dev/log and a /usr/bin/scp-server of its own, and accounts with the names
//! that the README uses. One thing is put in the place of another: the fingerprint of the key that deploys.

mod site;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::sshd::bench::{Outcome, names, noise, run, tree, within, write};
use site::{Site, not_at_midnight, now};

/// Returns the paths in a tree, directories with a slash behind them.
fn paths(top: &Path) -> Vec<String> {
    let found = tree(top).into_iter().skip(1);
    let spelled = |directory| if directory { "/" } else { "" };
    found.map(|(path, entry)| format!("{}{}", path.display(), spelled(entry.contents.is_none()))).collect()
}

/// Returns the permission bits of a file.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Has the stock client fail, with words of ours.
#[track_caller]
fn is_told(outcome: &Outcome, words: &str) {
    outcome.failed_with(1);
    assert!(outcome.err.contains(words), "{words}: {outcome:?}");
}

/// Makes a file that only says how large it is.
fn hollow(site: &Site, name: &str, size: u64) -> PathBuf {
    let path = site.here().join(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

// covers: peers 124, peers 139
#[test]
fn the_files_are_right_and_who_has_no_recipe_has_nothing() {
    let Some(site) = Site::open() else { return };
    let checked = run(&mut site.inside(&["/usr/bin/scp-server", "check"]));
    checked.succeeded();
    let told = |path: &str, host: &str| run(site.scp().arg(path).arg(host));
    let local = site.file("a.csv", "1");
    is_told(&told(local.to_str().unwrap(), "eve:"), "Permission denied");
    let here = site.here();
    let here = here.to_str().unwrap();
    is_told(&told("eve:*", here), "No such file or directory");
    for path in ["../../etc/passwd", "/etc/passwd", "/srv/web"] {
        is_told(&told(&format!("eve:{path}"), here), "No such file or directory");
    }
    let shell = run(site.ssh("eve").arg("id"));
    shell.failed_with(1);
    assert_eq!(shell.out, "");
    site.logged(&["user=\"eve\"", "event=security", "passwd"]);
}

// covers: peers 126, peers 127, peers 141, peers 142, peers 136
#[test]
fn partners_bring_files_and_learn_nothing() {
    not_at_midnight();
    let Some(site) = Site::open() else { return };
    let srv = site.srv();
    let report = site.file("report.csv", "one");
    let free = run(site.scp().arg(&report).arg("acme:"));
    free.succeeded();
    fs::write(&report, "two").unwrap();
    let taken = run(site.scp().arg(&report).arg("acme:"));
    taken.succeeded();
    assert_eq!((&free.out, &free.err), (&taken.out, &taken.err), "the same words");
    fs::write(&report, "three").unwrap();
    run(site.scp().arg(&report).arg("acme:../../web/missing/index.csv")).succeeded();

    let day = now("%F");
    let into = srv.join("drop/acme").join(&day);
    let brought =
        ["", "index.csv", "report.csv", "report.csv.2"].map(|name| format!("drop/acme/{day}/{name}"));
    let there = |site: &Site| {
        let all = paths(&site.srv()).into_iter();
        let all = all.filter(|path| path.starts_with("drop/acme/") && path != "drop/acme/");
        assert_eq!(all.collect::<Vec<_>>(), brought);
    };
    there(&site);
    for (name, contents) in [("report.csv", "one"), ("report.csv.2", "two"), ("index.csv", "three")] {
        assert_eq!(fs::read_to_string(into.join(name)).unwrap(), contents);
        assert_eq!(mode(&into.join(name)), 0o640);
    }
    assert_eq!(mode(&into), 0o750);

    let here = site.here();
    let put = |path: &Path| run(site.scp().arg(path).arg("acme:"));
    is_told(&put(&site.file("run.exe", "x")), "this name is not allowed here");
    is_told(&put(&hollow(&site, "large.zip", 201 << 20)), "is over the limit of");
    is_told(&run(site.scp().arg("-r").arg(&here).arg("acme:")), "directories (-r) are not allowed here");
    for path in ["report.csv", &format!("{day}/report.csv"), "missing", "*", "../../web"] {
        let get = run(site.scp().arg(format!("acme:{path}")).arg(site.here().join("got")));
        is_told(&get, "downloads are not allowed here");
    }
    there(&site);
    let sum = "sha256=3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    site.logged(&["user=\"acme\"", "event=rename", "path=\"./report.csv\"", "name=\"report.csv.2\""]);
    site.logged(&["user=\"acme\"", "event=store", "inside=\"", "/report.csv.2\"", "bytes=3", sum]);
    site.logged(&["user=\"acme\"", "event=refuse", "run.exe"]);
}

/// A session that has begun, and waits for the client.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

// covers: peers 130
#[test]
fn partners_have_four_sessions_at_the_same_time_and_no_more() {
    let Some(site) = Site::open() else { return };
    let begin = || {
        let mut ssh = site.ssh("acme");
        ssh.arg("scp -t .").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut session = Waiting(ssh.spawn().unwrap());
        let mut ready = [1];
        session.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(ready, [0]);
        session
    };
    let mut sessions: Vec<Waiting> = (0..4).map(|_| begin()).collect();
    let report = site.file("report.csv", "1");
    let put = || run(site.scp().arg(&report).arg("acme:"));
    is_told(&put(), "sessions");
    // Of another account, one can begin.
    run(site.scp().arg(site.file("r7.cfg", "1")).arg("router-7:")).succeeded();
    sessions.pop();
    // The client has gone, the process may take a moment.
    assert!(within(Duration::from_secs(60), || put().status == Some(0)));
}

// covers: peers 139, peers 141
#[test]
fn a_key_deploys_whole_trees_and_the_other_one_fetches_them() {
    let Some(site) = Site::open() else { return };
    let web = site.srv().join("web");
    let local = site.here().join("site");
    fs::create_dir_all(local.join("css")).unwrap();
    fs::write(local.join("index.html"), "one").unwrap();
    fs::write(local.join("css/old.css"), "one").unwrap();
    let deploy = || run(site.scp().arg("-r").arg(&local).arg("deploy:"));
    deploy().succeeded();
    assert_eq!(paths(&web), ["site/", "site/css/", "site/css/old.css", "site/index.html"]);

    fs::remove_file(local.join("css/old.css")).unwrap();
    fs::write(local.join("css/new.css"), "two").unwrap();
    fs::write(local.join("index.html"), "two").unwrap();
    deploy().succeeded();
    let second = ["site/", "site/css/", "site/css/new.css", "site/index.html"];
    assert_eq!(paths(&web), second);
    assert_eq!(fs::read_to_string(web.join("site/index.html")).unwrap(), "two");

    // Cut in the middle, after a file that is whole, and while nobody has said that the directory is.
    let cut = b"D0755 0 site\nC0644 5 index.html\nthree\0C0644 5 new.html\nthr";
    assert_ne!(site.says("deploy", "scp -r -t .", cut).status, Some(0));
    assert_eq!(paths(&web), second);
    assert_eq!(fs::read_to_string(web.join("site/index.html")).unwrap(), "two");

    let back = site.here().join("back");
    let get = |host: &str| run(site.scp().arg("-r").arg(format!("{host}:site")).arg(&back));
    is_told(&get("deploy"), "downloads are not allowed here");
    get("web").succeeded();
    assert_eq!(paths(&back), ["css/", "css/new.css", "index.html"]);
    is_told(&run(site.scp().arg("-r").arg(&local).arg("web:")), "uploads are not allowed here");
    is_told(&run(site.scp().arg("web:../drop/acme").arg(&back)), "No such file or directory");
    let out = run(site.scp().arg(site.file("x", "1")).arg("deploy:../mirror/x"));
    is_told(&out, "No such file or directory");
    assert_eq!(paths(&web), second);
    let key = format!("key=\"{}\"", site.fingerprint("deploy"));
    site.logged(&["user=\"web\"", &key, "event=store", "index.html", "result=ok"]);
    let key = format!("key=\"{}\"", site.fingerprint("web"));
    site.logged(&["user=\"web\"", &key, "event=send", "index.html"]);
    site.logged(&["user=\"web\"", &key, "event=security", "../drop/acme"]);
}

// covers: peers 140, peers 141, peers 71, peers 127, clients 2.3, clients 2.7, clients 2.10
#[test]
fn routers_leave_their_configurations_and_change_none() {
    let Some(site) = Site::open() else { return };
    let root = site.srv().join("routers/router-7");
    let config = noise(30_000, 7);
    // Without waiting for a reply, without the last status byte, two blanks, and a path from the root.
    let said = [b"C0600 30000 confg\n", &config[..]].concat();
    site.says("router-7", "scp -t  /router-7-0101", &said).succeeded();
    // With the whole of st_mode.
    site.says("router-7", "scp -v -t router-7-0102", b"C100755 3 confg\nabc\0").succeeded();
    // As the stock client does.
    run(site.scp().arg("-p").arg(site.file("router-7-0103", "abc")).arg("router-7:")).succeeded();
    let kept = ["router-7-0101", "router-7-0102", "router-7-0103"];
    let as_left = |site: &Site| {
        assert_eq!(paths(&site.srv().join("routers")), {
            let inner = kept.map(|name| format!("router-7/{name}"));
            ["router-7/".to_owned()].into_iter().chain(inner).collect::<Vec<_>>()
        });
        assert!(fs::read(root.join(kept[0])).unwrap() == config);
        assert_eq!(fs::read(root.join(kept[1])).unwrap(), b"abc");
        assert!(kept.iter().all(|name| mode(&root.join(name)) == 0o640));
    };
    as_left(&site);

    let again = site.says("router-7", "scp -t router-7-0102", b"C0644 3 confg\n");
    again.failed_with(1);
    assert_eq!(again.out, "\0\x01scp: router-7-0102: File exists\n");
    let large = site.says("router-7", "scp -t router-7-0104", b"C0644 16777217 confg\n");
    large.failed_with(1);
    assert!(large.out.contains("is over the limit of"), "{large:?}");
    let tree = site.says("router-7", "scp -r -t .", b"");
    tree.failed_with(1);
    assert!(tree.out.contains("directories (-r) are not allowed here"), "{tree:?}");
    for path in ["router-7-0101", "*", "../router-8/x"] {
        let get = site.says("router-7", &format!("scp -f {path}"), b"\0");
        get.failed_with(1);
        assert!(get.out.contains("downloads are not allowed here"), "{get:?}");
    }
    let out = site.says("router-7", "scp -t ../router-8", b"C0644 1 x\n");
    out.failed_with(1);
    assert!(out.out.contains("No such file or directory"), "{out:?}");
    as_left(&site);
    site.logged(&["user=\"router-7\"", "event=store", "router-7-0101", "bytes=30000", "replaced=no"]);
    site.logged(&["user=\"router-7\"", "event=refuse", "router-7-0102", "File exists"]);

    let many: Vec<PathBuf> = (0..12).map(|number| site.file(&format!("log-{number:02}"), "1")).collect();
    run(site.scp().args(&many).arg("router-7:")).failed_with(1);
    let logs = names(&root).into_iter().filter(|name| name.starts_with(b"log-")).count();
    assert_eq!(logs, 10, "files of one session");
}

// covers: peers 141
#[test]
fn a_router_that_knows_one_name_only_leaves_all_its_configurations() {
    let Some(site) = Site::with(|text| {
        let (line, comment) = ("no-overwrite = true             # ", "for devices that know one name only: ");
        assert!(text.contains(&format!("{line}{comment}drop-box = true\n")));
        text.replace(&format!("{line}{comment}"), "")
    }) else {
        return;
    };
    for contents in ["one", "two"] {
        let said = format!("C0644 3 running-config\n{contents}\0");
        let outcome = site.says("router-7", "scp -t running-config", said.as_bytes());
        outcome.succeeded();
        assert_eq!(outcome.out, "\0\0\0");
    }
    let root = site.srv().join("routers/router-7");
    assert_eq!(names(&root), [&b"running-config"[..], b"running-config.2"]);
    assert_eq!(fs::read_to_string(root.join("running-config.2")).unwrap(), "two");
}

// covers: peers 138, peers 139
#[test]
fn a_mirror_gives_what_is_public_and_takes_nothing() {
    let Some(site) = Site::open() else { return };
    let mirror = site.srv().join("mirror");
    for dir in ["pub/1.0", "incoming"] {
        fs::create_dir_all(mirror.join(dir)).unwrap();
    }
    for file in ["pub/README", "pub/1.0/a.tar", "pub/.htaccess", "incoming/new.tar", ".secret"] {
        write(&mirror.join(file), file, 0o644, 1_000_000_000);
    }
    symlink("../incoming", mirror.join("pub/way")).unwrap();
    symlink("../../web", mirror.join("pub/out")).unwrap();
    let before = tree(&site.srv());

    let back = site.scratch_dir("back");
    run(site.scp().args(["-r", "mirror:*"]).arg(&back)).failed_with(1);
    assert_eq!(paths(&back), ["pub/", "pub/1.0/", "pub/1.0/a.tar", "pub/README"]);
    let one = site.here().join("one");
    run(site.scp().arg("mirror:/pub/1.0/a.tar").arg(&one)).succeeded();
    assert_eq!(fs::read_to_string(&one).unwrap(), "pub/1.0/a.tar");
    for path in [
        "incoming/new.tar",
        "incoming",
        ".secret",
        "pub/.htaccess",
        "pub/way/new.tar",
        "pub/out",
        "../web",
        "missing",
    ] {
        let get = run(site.scp().arg("-r").arg(format!("mirror:{path}")).arg(&one));
        is_told(&get, &format!("{path}: No such file or directory"));
    }
    for target in ["mirror:", "mirror:pub/README", "mirror:incoming", "mirror:../web"] {
        let put = run(site.scp().arg(site.file("x", "1")).arg(target));
        is_told(&put, "uploads are not allowed here");
    }
    assert!(tree(&site.srv()) == before, "nothing has changed");
    site.logged(&["user=\"mirror\"", "event=send", "a.tar", "bytes=13"]);
    site.logged(&["user=\"mirror\"", "event=abort", "uploads are not allowed here"]);
}

impl Site {
    /// Says something to a request without waiting for replies, and hears all that comes.
    fn says(&self, host: &str, request: &str, said: &[u8]) -> Outcome {
        let mut ssh = self.ssh(host);
        ssh.arg(request).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().unwrap();
        let mut wire = child.stdin.take().unwrap();
        // Whoever is refused may be left alone before.
        let _ = wire.write_all(said);
        drop(wire);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
