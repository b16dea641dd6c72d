//! The request: as an argument vector, as `SSH_ORIGINAL_COMMAND`, after `-c`.

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

/// Sees a command line refused: a sentence on stderr for the client's screen, nothing done, nothing on the wire.
#[track_caller]
fn sees_refused(yard: &Yard, mut peer: Peer) -> String {
    let text = peer.hangs_up().sees_stderr();
    peer.sees_exit(1);
    assert!(!text.is_empty(), "nothing was said");
    assert!(!text.contains("panicked"), "{text}");
    let shown = text.trim_end_matches('\n');
    assert!(!shown.bytes().any(|byte| byte < b' ' && byte != b'\n'), "{}", shown.escape_default());
    assert!(!text.contains(yard.home().to_str().unwrap()), "{text}");
    text
}

fn a_yard() -> Yard {
    let yard = Yard::new();
    yard.dir("d")
        .dir("d d")
        .file("a", "1")
        .file("d/b", "2")
        .file("d/it's", "3")
        .file("d/a b", "4")
        .file("d/!x", "5");
    yard
}

/// Stores `new` by a command line whose target is the directory `d`, or its name.
#[track_caller]
fn stores(line: impl AsRef<[u8]>, stored: &str) {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, line);
    peer.hears_ok().stores("C0644 3 new", "new").hangs_up();
    peer.sees_stderr();
    peer.sees_exit(0);
    yard.has(stored, "new");
}

/// Fetches by a command line whose source is one file, with times if so.
#[track_caller]
fn fetches(line: impl AsRef<[u8]>, records: &[&str], contents: &str) {
    let yard = a_yard();
    for name in ["a", "d/b", "d/it's", "d/a b", "d/!x"] {
        yard.times(name, 5, 6);
    }
    let mut peer = Peer::asks(&yard, line);
    peer.says_ok();
    for record in records {
        peer.hears_record(record).says_ok();
    }
    peer.hears_exactly(contents).hears_ok().says_ok();
    peer.sees_stderr();
    peer.sees_exit(0);
}

// covers: clients 2.1, clients 2.18, peers 58, peers 55, security CMD-11, security CMD-07
#[test]
fn every_clients_upload_command_is_understood() {
    for line in [
        "scp -t d",
        "scp -v -r -p -d -t d",
        "scp -t -- d",
        "scp -v -p -t d",
        "scp -d -t d",
        "scp -r -d -t \"d\"",
        "scp  -r -p -1 -d -t \"d\"",
        "scp  -d -t \"./d\"",
        "scp -t 'd'",
        "scp -pt 'd'",
        "scp -t  'd'",
        "scp -t -r 'd'",
        "scp -l 8 -r -t d",
        "scp -t -d -p -r d",
        "scp -p -t 'd'",
        "scp  -t d",
        "scp -t -p -C d",
        "scp -r -d -t -p -C d",
        "scp -p -t \"d\"",
        "scp -r -t d",
        "scp -t -r -l8 -p 'd'",
        "scp -t -r -l100 -p 'd'",
        "scp -d -r -p -t -- d",
        "scp -t -d d",
        "scp -t -v -r -p d",
        "scp -r -p -d -t \"d\"",
        "scp -rt \"d\"",
        "scp -qt \"d\"",
        "scp -q -t -r -v 'd'",
        "scp -tp 'd'",
        "scp -tprd 'd'",
        "scp -vt d",
        "scp -rvt d",
        "scp -tr d",
        "scp -t -q -r -p d",
        "/usr/bin/scp -t d",
        "scp\t-t\td",
        "  scp -t d  ",
        "scp -t 'd'/",
        "scp -t d/.",
        "scp -prt d",
        "scp -rrpp -t d",
        "scp -t d''",
        "scp -2 -4 -6 -B -q -t d",
        "scp -A -O -T -t d",
    ] {
        if line.contains(" -1") && Yard::new().openssh("refuses -1, which WinSCP sends if it is told to") {
            continue;
        }
        stores(line, "d/new");
    }
    let verbose = format!("scp {} -t d", ["-v"; 1000].join(" "));
    stores(verbose, "d/new");
}

// covers: clients 2.1, clients 2.18, peers 7, peers 55, peers 58
#[test]
fn every_clients_download_command_is_understood() {
    let times = "T5 0 6 0";
    for (line, records, contents) in [
        ("scp -f a", &["C0644 1 a"][..], "1"),
        ("scp -f -- a", &["C0644 1 a"], "1"),
        ("scp -v -f a", &["C0644 1 a"], "1"),
        ("scp  -r -p -d -f \"a\"", &[times, "C0644 1 a"], "1"),
        ("scp -r -d -f \"./a\"", &["C0644 1 a"], "1"),
        ("scp -pf 'd/a b'", &[times, "C0644 1 a b"], "4"),
        ("scp -f 'd/it'\"'\"'s'", &["C0644 1 it's"], "3"),
        ("scp -f 'd/it'\\''s'", &["C0644 1 it's"], "3"),
        ("scp -f 'd/'\\!'x'", &["C0644 1 !x"], "5"),
        ("scp -f  'a'", &["C0644 1 a"], "1"),
        ("scp -f -r 'a'", &["C0644 1 a"], "1"),
        ("scp -l 100 -r -p -f a", &[times, "C0644 1 a"], "1"),
        ("scp -f -d -p -r a", &[times, "C0644 1 a"], "1"),
        ("scp -p -f \"a\"", &[times, "C0644 1 a"], "1"),
        ("scp -f -q -p -r -l8 a", &[times, "C0644 1 a"], "1"),
        ("scp -r -p -f -- a", &[times, "C0644 1 a"], "1"),
        ("scp -f d/a\\ b", &["C0644 1 a b"], "4"),
        ("scp -f \"d/a b\"", &["C0644 1 a b"], "4"),
        ("scp -f d/it\\'s", &["C0644 1 it's"], "3"),
        ("scp -prf \"a\"", &[times, "C0644 1 a"], "1"),
        ("scp -fpr a", &[times, "C0644 1 a"], "1"),
        ("scp -vf a", &["C0644 1 a"], "1"),
        ("scp -f -q -r -p a", &[times, "C0644 1 a"], "1"),
    ] {
        fetches(line, records, contents);
    }
}

// covers: clients 2.2, peers 7
#[test]
fn several_paths_can_be_asked_for_at_once() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f a 'd/a b' d/it\\'s");
    peer.says_ok()
        .hears_file("C0644 1 a", "1")
        .hears_file("C0644 1 a b", "4")
        .hears_file("C0644 1 it's", "3");
    peer.sees_exit(0);
}

// covers: security CMD-07, security CMD-06
#[test]
fn after_two_dashes_or_a_path_every_word_is_a_path() {
    for (line, stored) in
        [("scp -t -- -rf", "-rf"), ("scp -t -- --", "--"), ("scp -t -- -", "-"), ("scp -t -", "-")]
    {
        stores(line, stored);
    }
    let yard = a_yard();
    for line in ["scp -t -- -S x", "scp -t d -S", "scp -t d -r", "scp -t d -- d", "scp -t -- d --"] {
        Peer::asks(&yard, line).hears_that("ambiguous target").sees_exit(1);
    }
    let mut peer = Peer::asks(&yard, "scp -f a -r");
    peer.says_ok();
    peer.hears_file("C0644 1 a", "1").hears_that("-r: No such file or directory").sees_exit(1);
}

// covers: security CMD-01, security CMD-13, peers 56
#[test]
fn without_a_request_there_is_no_session() {
    let Some(yard) = Yard::confined() else { return };
    sees_refused(&yard, Server::of(&yard).runs::<&str>([]));
    for line in ["", " ", "\t  "] {
        sees_refused(&yard, Server::of(&yard).asks(line));
        sees_refused(&yard, Server::of(&yard).logs_in(line));
    }
    sees_refused(&yard, Server::of(&yard).called("-scp-server").runs::<&str>([]));
    sees_refused(
        &yard,
        Server::of(&yard).called("-scp-server").variable("SSH_ORIGINAL_COMMAND", "scp -t .").runs::<&str>([]),
    );
}

// covers: security CMD-02, security CMD-03, security CMD-04, peers H-t, peers 53, peers 139, peers 59
#[test]
fn a_command_that_only_a_shell_could_run_is_refused() {
    let Some(yard) = Yard::ours("a shell runs what it is asked to") else {
        return;
    };
    yard.dir("d");
    for line in [
        "scp -t d; id",
        "scp -t d;id",
        "scp -t d && id",
        "scp -t d | id",
        "scp -t d & id",
        "scp -t d > f",
        "scp -t d >f",
        "scp -t d < f",
        "scp -t d\nid",
        "scp -t d\r\nid",
        "(scp -t d)",
        "scp -t $(id)",
        "scp -t `touch pwned`",
        "scp -t ${X}",
        "scp -t $HOME",
        "scp -t $((1))",
        "scp -t <(id)",
        "scp -t \"$(id)\"",
        "scp -t \"`id`\"",
        "scp -t \"$X\"",
        "scp -t 'd",
        "scp -t \"d",
        "scp -t d\\",
        "scp -t 'd'\"",
        "scp -t d #x",
        "! scp -t d",
        "{ scp -t d; }",
        "scp -t d 2>&1",
    ] {
        sees_refused(&yard, Peer::asks(&yard, line));
        sees_refused(&yard, Server::of(&yard).logs_in(line));
    }
    yard.holds(["d/"]);
}

// covers: security CMD-03
#[test]
fn what_a_shell_would_run_is_a_name_in_quotes() {
    for name in ["$(id)", "`id`", "a;b", "a&b", "a|b", "${X}", "a>b", "#x", "a\\b"] {
        stores(format!("scp -t '{name}'"), name);
    }
    stores("scp -t \"a;b\"", "a;b");
    stores("scp -t a\\;b", "a;b");
    stores("scp -t \"\\$HOME\\`\\\"\\\\\"", "$HOME`\"\\");
}

// covers: security CMD-05, security CMD-06, security CMD-08, peers 57, peers 59, peers 138, clients 2.18
#[test]
fn an_option_or_a_program_that_is_not_the_servers_half_of_scp_is_refused() {
    let Some(yard) = Yard::ours("OpenSSH's scp has all its options here, and a shell all programs") else {
        return;
    };
    yard.dir("d")
        .file("scp", "#!/bin/sh\ntouch pwned\n")
        .chmod("scp", 0o755)
        .file("prog", "")
        .chmod("prog", 0o755);
    for line in [
        "scp -S ./prog -t d",
        "scp -S./prog -t d",
        "scp -rS./prog -t d",
        "scp -tS ./prog d",
        "scp -o X=y -t d",
        "scp -oProxyCommand=./prog -t d",
        "scp -F ./c -t d",
        "scp -F./c -t d",
        "scp -J h -t d",
        "scp -i k -t d",
        "scp -c x -t d",
        "scp -D x -t d",
        "scp -X x -t d",
        "scp -P 1 -t d",
        "scp -R -t d",
        "scp -M -t d",
        "scp --rsh=x -t d",
        "scp --root=/ -t d",
        "scp --root / -t d",
        "scp --help",
        "scp --version",
        "scp -t --help d",
        "scp -t -f d",
        "scp -ft d",
        "scp d",
        "scp -r d",
        "scp a h:b",
        "scp h:a b",
        "scp",
        "scp --",
        "scp -l -t d",
        "scp -z -t d",
        "A=b scp -t d",
        "LD_PRELOAD=./x.so scp -t d",
        "env scp -t d",
        "exec scp -t d",
        "./scp -t d",
        "/opt/scp -t d",
        "scp/ -t d",
        "SCP -t d",
        "scpx -t d",
        "scp-t d",
        "sftp-server",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        "rsync --server . d",
        "sh -c 'scp -t d'",
        "sudo scp -t d",
        "bash",
        "id",
        "ls -la 'd'",
        "-c",
        "scp-server -t d",
        "'scp -t d'",
        "echo \"WinSCP: this is begin-of-file\"",
        "scp -t -Jd d",
        "scp -6e -t d",
        "cd d",
        "/bin/sh /home/u/.ssh/rc",
    ] {
        sees_refused(&yard, Peer::asks(&yard, line));
        sees_refused(&yard, Server::of(&yard).logs_in(line));
    }
    yard.holds(["d/", "prog", "scp"]);
}

// covers: security CMD-05, security CMD-06
#[test]
fn called_by_the_name_scp_the_same_options_are_refused() {
    let Some(yard) = Yard::ours("OpenSSH's scp has all its options here") else {
        return;
    };
    yard.dir("d").file("prog", "#!/bin/sh\ntouch pwned\n").chmod("prog", 0o755);
    for line in [
        "-S ./prog -t d",
        "-rS./prog -t d",
        "-oProxyCommand=./prog -t d",
        "-F ./c -t d",
        "-P 1 -t d",
        "-t -f d",
        "a h:b",
        "-r d",
        "-tS ./prog d",
        "-i k -t d",
    ] {
        let words = line.split(' ');
        sees_refused(&yard, Server::of(&yard).called("scp").without_a_root().runs(words));
    }
    yard.holds(["d/", "prog"]);
}

// covers: security CMD-05, security ENV-03
#[test]
fn no_option_of_ours_is_taken_from_the_client() {
    let Some(yard) = Yard::confined() else { return };
    for line in [
        "--root / -t x",
        "scp-server --root / -t x",
        "scp --root / -f /etc/hostname",
        "scp --config /etc/passwd -t x",
        "scp --log /tmp/x -t x",
        "scp -t --no-overwrite x",
        "scp --umask 0 -t x",
    ] {
        sees_refused(&yard, Peer::asks(&yard, line));
        sees_refused(&yard, Server::of(&yard).logs_in(line));
    }
    let outside = yard.outside("");
    for name in ["SCP_SERVER_ROOT", "ROOT", "SCP_SERVER_OPTIONS", "SCP_SERVER_CONFIG"] {
        let mut peer = Server::of(&yard).variable(name, &outside).sink("", "secret");
        peer.hears_ok().stores("C0644 1 x", "1").hangs_up().sees_exit(0);
    }
    yard.holds(["secret"]);
}

// covers: security CMD-12
#[test]
fn a_pinned_request_counts_and_so_does_the_command_of_a_login_shell() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("pinned").dir("asked");
    let mut peer = Server::of(&yard).variable("SSH_ORIGINAL_COMMAND", "scp -t asked").sink("", "pinned");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    let mut peer =
        Server::of(&yard).variable("SSH_ORIGINAL_COMMAND", "scp -t asked").logs_in("scp -t pinned");
    peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    let mut peer = Server::of(&yard).variable("SSH_ORIGINAL_COMMAND", "id; rm -r .").sink("", "pinned");
    peer.hears_ok().stores("C0644 1 c", "1").hangs_up().sees_exit(0);
    Peer::asks(&yard, "scp -t asked").hears_ok().stores("C0644 1 d", "1").hangs_up().sees_exit(0);
    yard.holds(["asked/", "asked/d", "pinned/", "pinned/a", "pinned/b", "pinned/c"]);
}

// covers: security CMD-10, peers H-t
#[test]
fn commands_of_any_size_and_any_bytes_have_an_end() {
    let Some(yard) = Yard::ours("a shell's affair") else {
        return;
    };
    yard.dir("d");
    let huge = "x".repeat(120_000);
    for line in [
        format!("scp -f {huge}").into_bytes(),
        vec![b'a'; 100_000],
        b"scp -t d\xff\xfe d".to_vec(),
        "scp -t\u{a0}d".into(),
        b"scp\x0b-t d".to_vec(),
        format!("scp -f {}", "a ".repeat(50_000)).into_bytes(),
        format!("scp -t {}", "{a,b}".repeat(40)).into_bytes(),
        format!("scp -f {}", "*/".repeat(1000)).into_bytes(),
        format!("scp -t {}", "\\".repeat(9_999)).into_bytes(),
        format!("scp -t {}", "[".repeat(50_000)).into_bytes(),
    ] {
        let mut peer = Peer::asks(&yard, &line);
        let heard = peer.hangs_up().hears_the_rest();
        let text = peer.sees_stderr();
        peer.sees_whatever_exit();
        assert!(!text.contains("panicked"), "{text}");
        assert!(heard.len() < 4096, "{}", heard.len());
    }
    yard.holds(["d/"]);
}

// covers: clients 2.2, peers 24, peers 56, peers 57
#[test]
fn an_empty_path_is_the_root_and_no_path_is_ambiguous() {
    let Some(yard) = Yard::confined() else { return };
    Peer::asks(&yard, "scp -t ''").hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.holds(["a"]);
    Peer::asks(&yard, "scp -r -t").hears_that("ambiguous target").sees_exit(1);
}
