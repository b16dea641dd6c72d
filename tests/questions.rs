//! What an administrator asks before anybody tries: `explain`, `authorized-key`, `check`.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use crate::yard::Yard;

/// What explain says beside what a session does.
mod agreement;
/// Lines of authorized_keys, in front of a real sshd.
mod authorized_key;
/// Mistakes that are planted.
mod check;

const PROGRAM: &str = env!("CARGO_BIN_EXE_scp-server");

/// Asks, and returns the exit status, what was printed and what was complained of.
fn ask(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(PROGRAM).args(words).stdin(Stdio::null()).output().unwrap();
    said(output)
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Writes the administrator's file, and returns its path.
fn file(yard: &Yard, text: &str) -> String {
    let path = yard.home().join("asked.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Has the account ask a session for the same, with one file to store or all that it wants acknowledged.
fn serves(yard: &Yard, config: &str, request: &str) -> bool {
    let (uid, gid) = yard.user().unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--config", config])
        .env("SSH_ORIGINAL_COMMAND", request)
        .uid(uid.as_raw())
        .gid(gid.as_raw())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said: &[u8] = if request.contains("-f ") { &[0; 100] } else { b"C0644 1 f.csv\nx\0" };
    // Who refuses has gone before it is said.
    let _ = child.stdin.take().unwrap().write_all(said);
    child.wait_with_output().unwrap().status.success()
}

/// What explain prints, without what a line is about in front.
#[track_caller]
fn line<'t>(explanation: &'t str, what: &str) -> &'t str {
    let found = explanation.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {what}: {explanation}")).trim()
}

#[test]
fn explain_says_by_which_rule_where_to_and_how() {
    let Some(yard) = Yard::of_a_user() else { return };
    let root = yard.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    yard.dir("in").file("in/old", "old");
    let text = format!(
        "[[match]]\nuser = 'scptest'\nfrom = '192.0.2.0/24'\nread-only = true\n\n[[match]]\nuser = 'scp*'\n\
         umask = '027'\nno-overwrite = true\n\n[default]\nroot = '{root}'\nmax-file-size = '2M'\nfile-mode = '640'\n"
    );
    let config = file(&yard, &text);
    let explain =
        |more: &[&str]| ask(&[&["explain", "--user", "scptest", "--config", &config][..], more].concat());

    let (status, out, err) = explain(&["scp -r -t in/new"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().next(), Some("allowed"));
    assert_eq!(line(&out, "rule"), format!("{config}:6, {config}:11"));
    assert_eq!(line(&out, "root"), root);
    assert_eq!(line(&out, "place"), format!("{root}/in/new: not there yet: a file or a directory is made"));
    assert_eq!(line(&out, "modes"), "files 0640, directories as the client says, less 027");
    assert_eq!(line(&out, "taken"), "a name that is taken is refused");
    assert_eq!(line(&out, "limits"), "a file 2.0 MiB");

    let (status, out, _) = explain(&["scp -t in/old"]);
    assert_eq!((status, out.lines().next()), (1, Some("denied: File exists")), "{out}");

    let (status, out, _) = explain(&["--from", "192.0.2.7", "scp -t in"]);
    assert_eq!((status, out.lines().next()), (1, Some("denied: uploads are not allowed here")), "{out}");
    assert_eq!(line(&out, "rule"), format!("{config}:1, {config}:6, {config}:11"));

    // The options of a forced command take away.
    let (status, out, _) = explain(&["--write-only", "scp -f in/old"]);
    assert_eq!((status, out.lines().next()), (1, Some("denied: downloads are not allowed here")), "{out}");
    yard.holds(["in/", "in/old"]);
}

#[test]
fn the_manuals_example_of_two_keys_gives_the_second_one_less() {
    let Some(yard) = Yard::of_a_user() else { return };
    let manual = include_str!("../man/scp-server.toml.5");
    let example = manual.split("One account with two keys").nth(1).unwrap();
    let example = example.split_once("indent\n").unwrap().1.split_once(".Ed").unwrap().0;
    let root = yard.path("");
    // The account and the directory are the test's own.
    let text = example.replace("\"web\"", "\"scptest\"").replace("/srv/web", root.to_str().unwrap());
    let key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    assert!(text.contains(key) && text.contains("scptest"), "{text}");
    yard.file("a", "");
    let config = file(&yard, &text);
    let other = key.replace("47D", "ABC");
    for (key, request, status) in
        [(key, "scp -t a", 0), (key, "scp -f a", 0), (&other, "scp -t a", 1), (&other, "scp -f a", 0)]
    {
        let asked = ["explain", "--user", "scptest", "--key", key, "--config", &config, request];
        let (ended, out, _) = ask(&asked);
        assert_eq!(ended, status, "{key} {request}: {out}");
    }
}

#[test]
fn what_explain_says_is_what_a_session_does() {
    let Some(yard) = Yard::of_a_user() else { return };
    let root = yard.path("");
    yard.dir("d").dir("d/shut").file("d/a", "a").file(".dot", "").file("d/x.csv", "").link("out", "/etc");
    yard.chmod("d/shut", 0o500);
    let rules = "umask = '022'\ndot-files = 'deny'\nno-recursion = true\n[[default.path]]\npattern = '*.csv'\ndeny = ['overwrite']\n";
    let text = format!("[default]\nroot = '{}'\n{rules}", root.display());
    let (mut allowed, mut denied) = (0, 0);
    for request in [
        "scp -t .",
        "scp -t d/new",
        "scp -t d/a",
        "scp -t d/new/deeper",
        "scp -d -t d/a",
        "scp -t d/shut",
        "scp -t d/shut/x",
        "scp -t out",
        "scp -t out/x",
        "scp -t .dot",
        "scp -t d/x.csv",
        "scp -t d/y.csv",
        "scp -r -t d",
        "scp -t ../x",
        "scp -f d/a",
        "scp -f d",
        "scp -r -f d",
        "scp -f 'd/*'",
        "scp -f none",
        "scp -f out/passwd",
        "scp -f .dot",
        "sftp-server",
        "scp -S id -t x",
        "id",
    ] {
        let config = file(&yard, &text);
        let (status, out, _) = ask(&["explain", "--user", "scptest", "--config", &config, request]);
        let told = match status {
            0 => true,
            _ => {
                assert!(out.starts_with("denied: "), "{request}: {out}");
                false
            }
        };
        assert_eq!(told, serves(&yard, &config, request), "{request}: {out}");
        *if told { &mut allowed } else { &mut denied } += 1;
        for made in ["d/new", "d/y.csv", "f.csv"] {
            let _ = fs::remove_file(yard.path(made));
        }
    }
    assert!(allowed >= 5 && denied >= 10, "{allowed} {denied}");
}

/// Makes a pair of keys, and returns the path of the private one.
fn key(yard: &Yard, name: &str) -> String {
    let path = yard.home().join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "bob at work", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    path.to_str().unwrap().to_owned()
}

#[test]
fn authorized_key_writes_lines_that_sshd_takes_for_what_was_meant() {
    let Some(yard) = Yard::confined() else { return };
    let (one, two) = (key(&yard, "one"), key(&yard, "two"));
    let both = format!("{one}.pub");
    let text =
        fs::read_to_string(&both).unwrap() + "# and\n\n" + &fs::read_to_string(format!("{two}.pub")).unwrap();
    fs::write(&both, text).unwrap();
    yard.dir("in \"it's\"");
    let root = yard.path("in \"it's\"").to_str().unwrap().to_owned();
    let (status, out, err) = ask(&["authorized-key", "--root", &root, "--no-overwrite", &both]);
    assert_eq!((status, err.as_str(), out.lines().count()), (0, "", 2), "{out}");
    for line in out.lines() {
        assert!(line.starts_with("restrict,command=\"/") && line.ends_with("bob at work"), "{line}");
        // As sshd takes the option apart, and the account's shell the command.
        let option = line.split_once("command=\"").unwrap().1;
        let end = option
            .match_indices('"')
            .map(|(at, _)| at)
            .find(|&at| option.as_bytes()[at - 1] != b'\\')
            .unwrap();
        let command = option[..end].replace("\\\"", "\"");
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .env("SSH_ORIGINAL_COMMAND", "scp -t f")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"C0644 1 f.csv\nx\0").unwrap();
        assert!(
            child.wait_with_output().unwrap().status.success() == (line == out.lines().next().unwrap()),
            "{line}"
        );
    }
    yard.has("in \"it's\"/f", "x");
}

#[test]
fn authorized_key_takes_public_keys_and_nothing_else() {
    let Some(yard) = Yard::confined() else { return };
    let one = key(&yard, "one");
    let listed = format!("{one}.listed");
    fs::write(&listed, format!("no-pty {}", fs::read_to_string(format!("{one}.pub")).unwrap())).unwrap();
    let written = |name: &str, text: String| {
        let path = format!("{one}.{name}");
        fs::write(&path, text).unwrap();
        path
    };
    let plain = fs::read_to_string(format!("{one}.pub")).unwrap();
    let nonsense = written("nonsense", format!("{plain}ssh-ed25519 AAAA bob\n"));
    let large = written("large", format!("{plain}{}", "#\n".repeat(600_000)));
    let empty = written("empty", "# nobody\n".to_owned());
    let certificate = written("certificate", format!("ssh-ed25519-cert-v01@openssh.com {}", &plain[12..]));
    let (public, none) = (format!("{one}.pub"), yard.home().join("none").to_str().unwrap().to_owned());
    for (words, why) in [
        (&["--root", "/x", &one][..], "PRIVATE"),
        (&["--root", "/x", &listed], "line 1 has options already"),
        (&["--root", "/x", &nonsense], "line 2 is no public key"),
        (&["--root", "/x", &large], "larger than 1 MiB"),
        (&["--root", "/x", &empty], "there is no public key in it"),
        (&["--root", "/x", &certificate], "this is a certificate"),
        (&["--root", "/x", &none], "No such file"),
        (&["--root", "/x", "-t", ".", &public], "of the request only the client speaks"),
        (&["--roof", "/x", &public], "--roof"),
        (&["--read-only", "--write-only", &public], "cannot be used with"),
        (&["--root", "/a\nb", &public], "control characters"),
        (&[], "a file with a public key is meant"),
    ] {
        let (status, out, err) = ask(&[&["authorized-key"][..], words].concat());
        assert_eq!((status, out.as_str()), (1, ""), "{words:?}");
        assert!(err.contains(why), "{words:?}: {err}");
    }
}

// covers: security CMD-01
#[test]
fn no_client_can_ask_a_question() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "");
    for question in ["check", "check /etc/passwd", "explain --user root 'scp -t x'", "authorized-key a"] {
        let words: Vec<&str> = question.split(' ').collect();
        for (arguments, variable, called) in [
            (&["-c", question][..], None, None),
            (&[][..], Some(question), None),
            (&["--root", "/tmp"][..], Some(question), None),
            (&words[..], None, Some("scp")),
        ] {
            let mut command = Command::new(PROGRAM);
            command.args(arguments).env_remove("SSH_ORIGINAL_COMMAND");
            if let Some(variable) = variable {
                command.env("SSH_ORIGINAL_COMMAND", variable);
            }
            if let Some(called) = called {
                command.arg0(called);
            }
            let (status, out, err) = said(command.stdin(Stdio::null()).output().unwrap());
            assert_eq!((status, out.as_str()), (1, ""), "{question}: {arguments:?}");
            assert!(err.starts_with("scp-server: "), "{question}: {err}");
        }
    }
}

#[test]
fn without_a_root_explain_looks_where_a_session_would_begin() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("here-and-not-at-home", "1");
    let config = yard.home().join("empty.toml");
    std::fs::write(&config, "").unwrap();
    let mut explain = Command::new(PROGRAM);
    explain.args(["explain", "--user", "root", "--config"]).arg(config).arg("scp -f here-and-not-at-home");
    let (status, out, _) = said(explain.current_dir(yard.path("")).stdin(Stdio::null()).output().unwrap());
    assert!(status == 1 && out.contains("No such file or directory"), "{out}");
}
