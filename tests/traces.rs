//! What the program asks of the kernel once the sandbox is on, as strace sees it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use crate::cell::{self, Lookup};
use crate::peer::Peer;
use crate::server::{Packets, place};
use crate::tally;
use crate::yard::Yard;

/// Calls that no session has a reason for, whatever their arguments: by path, or with a second process or a socket.
const FORBIDDEN: [&str; 38] = [
    "execve",
    "execveat",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "socket",
    "connect",
    "bind",
    "ptrace",
    "open",
    "creat",
    "chmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "utime",
    "utimes",
    "futimesat",
    "truncate",
    "mkdir",
    "rmdir",
    "rename",
    "link",
    "unlink",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "mount",
    "chdir",
    "stat",
    "lstat",
    "access",
    "readlink",
];

/// Calls whose strings are contents, random bytes or words for the log, and no paths.
const CONTENTS: [&str; 8] =
    ["read", "pread64", "write", "writev", "sendto", "sendmsg", "getrandom", "getdents64"];

/// One system call of a trace.
struct Call<'t> {
    name: &'t str,
    arguments: &'t str,
}

/// Reads a trace, exits and signals left out.
fn calls(trace: &str) -> impl Iterator<Item = Call<'_>> {
    trace.lines().filter_map(|line| {
        let (_, call) = line.split_once(' ')?;
        let (name, arguments) = call.trim_start().split_once('(')?;
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            .then_some(Call { name, arguments })
    })
}

impl<'t> Call<'t> {
    /// Returns the strings among the arguments, as strace quotes them.
    fn strings(&self) -> Vec<&'t str> {
        let mut strings = Vec::new();
        let mut rest = self.arguments;
        while let Some((_, after)) = rest.split_once('"') {
            let mut escaped = false;
            let end = after.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            let Some(end) = end else { break };
            strings.push(&after[..end]);
            rest = &after[end + 1..];
        }
        strings
    }

    /// Returns the last argument, an octal number.
    fn mode(&self) -> u32 {
        let arguments = self.arguments.rsplit_once(") = ").map_or(self.arguments, |(arguments, _)| arguments);
        let mode = match arguments.split_once("mode=") {
            Some((_, mode)) => mode,
            None => arguments.rsplit(", ").next().unwrap(),
        };
        let digits = mode.find(|byte: char| !byte.is_ascii_digit()).map_or(mode, |end| &mode[..end]);
        u32::from_str_radix(digits, 8).unwrap_or(0o7777)
    }

    /// Says what is wrong with the call in a confined session.
    fn offence(&self) -> Option<&'static str> {
        let mut paths = self.strings();
        if self.name == "readlinkat" {
            // What the link says is no argument.
            paths.truncate(1);
        }
        let slash = !CONTENTS.contains(&self.name) && paths.iter().any(|path| path.contains('/'));
        let opens = self.name.starts_with("openat");
        match self.name {
            name if FORBIDDEN.contains(&name) => Some("a call that no session needs"),
            "openat2" if !self.arguments.contains("RESOLVE_BENEATH") => Some("a lookup that is not confined"),
            "openat2" if paths.iter().any(|path| path.starts_with('/')) => Some("a path from the top"),
            "utimensat" if !self.arguments.contains(", NULL, ") => Some("times by path"),
            name if slash && name != "openat2" => Some("more than one component"),
            _ if self.arguments.contains("AT_FDCWD") => Some("a path in the working directory"),
            _ if opens && self.arguments.contains("O_TRUNC") => Some("truncates"),
            _ if opens && self.arguments.contains("O_CREAT") && self.mode() & !0o600 != 0 => {
                Some("created too open")
            }
            _ if opens && self.arguments.contains("O_CREAT") && !self.arguments.contains("O_EXCL") => {
                Some("opened if it is there")
            }
            "mkdirat" if self.mode() & !0o700 != 0 => Some("made too open"),
            _ => None,
        }
    }
}

fn offences(trace: &str) -> BTreeSet<String> {
    calls(trace)
        .filter_map(|call| Some(format!("{}: {}({}", call.offence()?, call.name, call.arguments)))
        .collect()
}

/// What a shell does first, in a mount namespace of its own; its `$0` is the yard.
const FAKE_LOG: &str = "mount --bind \"$0/dev\" /dev";
const FAKE_JOURNAL: &str = "mount --bind \"$0/run\" /run";
const FAKE_HOME: &str = "mount --bind \"$0/root\" \"$(getent passwd 0 | cut -d: -f6)\"";

/// Runs a session under strace, all that the client says said at once, and returns the trace.
fn trace<S: AsRef<OsStr>>(
    yard: &Yard,
    prepare: Option<&str>,
    options: &[&str],
    words: &[S],
    says: impl AsRef<[u8]>,
) -> String {
    // A yard may hide what lies elsewhere.
    let program = yard.home().join("scp-server");
    if !program.exists() {
        place(env!("CARGO_BIN_EXE_scp-server").as_ref(), &program);
    }
    let file = yard.home().join("trace");
    let mut command = match prepare {
        None => Command::new("strace"),
        Some(first) => {
            let mut command = Command::new("unshare");
            command
                .args(["-m", "sh", "-c", &format!("{first} && exec \"$@\"")])
                .arg(yard.home())
                .arg("strace");
            command
        }
    };
    command.args(["-f", "-qq", "-s", "5000", "-e", "signal=none", "-o"]).arg(&file).arg(program);
    command.arg("--root").arg(yard.path("")).args(["--sandbox", "require"]).args(options);
    cell::as_its_user(&mut command, yard);
    match words {
        [line] => drop(command.env("SSH_ORIGINAL_COMMAND", line)),
        words => drop(command.args(words)),
    }
    let mut peer = Peer::start(command, Packets::default());
    let heard = peer.says(says).hangs_up().hears_the_rest();
    assert_eq!(peer.sees_stderr(), "");
    let all_is_well = peer.sees_whatever_exit() == 0;
    let trace = fs::read_to_string(&file).unwrap();
    assert!(all_is_well && !heard.contains(&1), "{}\n{}", heard.escape_ascii(), split(&trace).1);
    trace
}

/// Splits a trace where the last filter is installed.
fn split(trace: &str) -> (&str, &str) {
    let filter = trace.rfind("seccomp(SECCOMP_SET_MODE_FILTER").expect("the filter is installed");
    trace.split_at(filter)
}

/// Asserts that after the filter there is nothing but confined calls, and before it no byte of the client's was read.
#[track_caller]
fn assert_confined(what: &str, trace: &str) {
    let (before, after) = split(trace);
    let offences = offences(after);
    assert!(offences.is_empty(), "{what}: {offences:#?}");
    assert!(calls(after).count() > 10, "{what}: {after}");
    // Whether from descriptor 0 or from a copy of it: there are no bytes that are a client's.
    let heard =
        |call: &Call<'_>| call.name == "read" && call.strings().iter().any(|text| text.starts_with("\\0"));
    let said =
        |call: &Call<'_>| call.name == "write" && call.strings().iter().any(|text| text.starts_with("\\0"));
    assert!(!calls(before).any(|call| heard(&call) || said(&call)), "{what}: {before}");
}

fn yard() -> Option<Yard> {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() || !cell::there_is_strace() {
        return None;
    }
    // A process that may not be dumped shows its strings to root only.
    if !cell::is_root() {
        return None;
    }
    let yard = Yard::confined()?;
    yard.dir("sub").dir("sub/deep").file("sub/deep/f", "deep").file("a", "old").file("b", "2");
    yard.link("sub/in", "deep/../deep/f").link("round", "sub").link("out", "../outside/d");
    Some(yard)
}

const TREE: &str = "T1 0 1 0\nD0500 0 t\nT1 0 1 0\nC4777 3 f\nnew\0D0777 0 in\nC0644 0 g\n\0E\nE\n";

// covers: security SBX-02, security PT-10, security PT-12, security CR-20
#[test]
fn after_the_sandbox_is_on_everything_is_done_by_descriptor_and_one_name() {
    let Some(yard) = yard() else { return };
    let upload = "T1 0 1 0\nC0666 3 new\nnew\0C4777 1 a\n1\0";
    for options in
        [&[][..], &["--no-overwrite"], &["--sync", "file"], &["--sync", "session"], &["--atomic", "off"]]
    {
        let (target, says) =
            if options == ["--no-overwrite"] { ("sub/deep", upload) } else { ("sub/..", upload) };
        assert_confined("upload", &trace(&yard, None, options, &["-t", target], says));
    }
    assert_confined("a file's own name", &trace(&yard, None, &[], &["-p", "-t", "sub/deep/new"], upload));
    for _ in 0..2 {
        assert_confined("a tree", &trace(&yard, None, &[], &["-r", "-p", "-t", "round/"], TREE));
    }
    assert_confined("download", &trace(&yard, None, &[], &["-p", "-f", "sub/in", "round/in", "/a"], [0; 20]));
    assert_confined(
        "a tree",
        &trace(&yard, None, &[], &["-r", "-p", "-f", "sub/deep", "sub/deep/.."], [0; 99]),
    );
    let line = "scp -r -f sub/*/f [ab] s*/../{a,b} ~/sub/i*";
    assert_confined("patterns", &trace(&yard, None, &[], &[line], [0; 99]));
}

// covers: security SBX-02, security PT-10
#[test]
fn where_the_kernel_cannot_look_paths_up_no_path_has_two_components() {
    let Some(yard) = yard() else { return };
    Lookup::NoSuchCall.holds_while(|| {
        for (words, says) in [
            (&["-r", "-p", "-t", "round/deep"][..], TREE.as_bytes()),
            (&["-r", "-p", "-f", "sub/in", "round/in", "sub/deep/.."], &[0; 99]),
        ] {
            let trace = trace(&yard, None, &[], words, says);
            assert_confined("stepwise", &trace);
            let (_, after) = split(&trace);
            assert!(!calls(after).any(|call| call.name == "openat2"), "{after}");
        }
    });
}

// covers: security SBX-02, security LOG-01
#[test]
fn a_log_is_opened_before_the_sandbox_is_on_and_only_written_to_then() {
    let Some(mut yard) = yard() else { return };
    let file = yard.outside("log");
    let options = ["--log", file.to_str().unwrap()];
    yard.gives_up_outside();
    let upload = "C0644 3 /\nC0644 3 new\nnew\0";
    let upload = upload.strip_prefix("C0644 3 /\n").unwrap();
    let written = trace(&yard, None, &options, &["-r", "-t", "sub/deep"], upload);
    assert_confined("log to a file", &written);
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.lines().count() >= 3 && log.contains("sub/deep/new"), "{log}");
    let read = trace(&yard, None, &options, &["-r", "-f", "sub/deep"], [0; 99]);
    assert_confined("log to a file", &read);

    // The system's log and the journal, which are the yard's here.
    if !can_mount(&yard) {
        return;
    }
    let daemons = [
        ("syslog", FAKE_LOG, "dev/log", "<"),
        ("journal", FAKE_JOURNAL, "run/systemd/journal/socket", "MESSAGE="),
    ];
    for (log, fake, socket, begins) in daemons {
        let socket = yard.home().join(socket);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let socket = UnixDatagram::bind(socket).unwrap();
        socket.set_nonblocking(true).unwrap();
        for (words, says) in
            [(&["-r", "-t", "sub/deep"][..], upload.as_bytes()), (&["-r", "-f", "sub/deep"], &[0; 99][..])]
        {
            let written = trace(&yard, Some(fake), &["--log", log], words, says);
            assert_confined(log, &written);
            let mut lines = 0;
            let mut line = [0; 4096];
            while let Ok(length) = socket.recv(&mut line) {
                assert!(line[..length].starts_with(begins.as_bytes()), "{}", line[..length].escape_ascii());
                lines += 1;
            }
            assert!(lines >= 3, "{lines} lines");
        }
    }
}

// covers: security PT-24, security SBX-02
#[test]
fn a_home_in_the_root_is_looked_at_without_following_a_path() {
    let Some(yard) = yard() else { return };
    if !can_mount(&yard) {
        return;
    }
    let trace = trace(&yard, Some(FAKE_HOME), &[], &["-r", "-t", "sub/deep"], "C0644 3 new\nnew\0");
    assert_confined("home in the root", &trace);
}

/// What a shell does first so that the program has three descriptors, whatever the tests have; or one more.
const THREE_OPEN: &str = "set -- bash -c 'for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ $fd -le 2 ] || eval \"exec $fd>&-\"; \
                          done; exec \"$@\"' bash \"$@\"";
const FOUR_OPEN: &str = "set -- sh -c 'exec \"$@\" 9</dev/null' sh \"$@\"";

// covers: security ENV-05
#[test]
fn that_nothing_is_open_beside_the_three_streams_is_found_out_with_one_call() {
    let Some(yard) = yard() else { return };
    if !can_mount(&yard) {
        return;
    }
    let looks = |prepare: &str| {
        let trace = trace(&yard, Some(prepare), &[], &["-t", "sub/deep"], "C0644 3 new\nnew\0");
        let looks: Vec<&str> = trace.lines().filter(|line| line.contains("\"/proc/self/fd\"")).collect();
        let closed = trace.lines().any(|line| line.contains(" close(9) ") && line.ends_with("= 0"));
        (looks.join("\n"), looks.len(), closed)
    };
    let (said, count, _) = looks(THREE_OPEN);
    if said.contains("st_size=0,") {
        tally::skipped("this kernel does not say how many descriptors are open");
        return;
    }
    assert!(count == 1 && said.contains("st_size=3,"), "{said}");
    let (said, count, closed) = looks(FOUR_OPEN);
    assert!(count == 2 && closed, "{said}");
}

fn can_mount(yard: &Yard) -> bool {
    let mut command = Command::new("unshare");
    command.args(["-m", "mount", "--bind"]).args([yard.path(""), yard.path("sub")]);
    let can = command.output().is_ok_and(|output| output.status.success());
    if !can {
        tally::skipped("no right to mount in a namespace");
    }
    can
}

// covers: security SBX-02
#[test]
fn the_eye_on_the_traces_sees_what_another_scp_does() {
    let Some(yard) = yard() else { return };
    let scp = Path::new("/usr/bin/scp");
    if !scp.exists() {
        return tally::skipped("there is no scp to be the control");
    }
    let file = yard.home().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&file).arg(scp).args(["-r", "-p", "-t", "sub"]);
    cell::as_its_user(&mut command, &yard);
    command.current_dir(yard.path(""));
    let mut peer = Peer::start(command, Packets::default());
    peer.says(TREE).hangs_up().hears_the_rest();
    peer.sees_stderr();
    peer.sees_any_end();
    let found = offences(&fs::read_to_string(file).unwrap()).into_iter().collect::<String>();
    for offence in [
        "a call that no session needs",
        "more than one component",
        "times by path",
        "a path in the working directory",
    ] {
        assert!(found.contains(offence), "{offence}: {found}");
    }
    for (call, offence) in [
        ("1 openat2(5, \"a/b\", {flags=O_RDONLY, resolve=RESOLVE_NO_MAGICLINKS}, 24) = 6", "not confined"),
        ("1 openat(5, \"a\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 6", "created too open"),
        ("1 openat(5, \"a\", O_WRONLY|O_TRUNC) = 6", "truncates"),
        ("1 openat(AT_FDCWD, \"a\", O_RDONLY) = 6", "working directory"),
        ("1 mkdirat(5, \"a\", 0755) = 0", "made too open"),
        ("1 newfstatat(5, \"a/b\", {st_mode=S_IFREG}, 0) = 0", "more than one component"),
        ("1 renameat(5, \"a\", 5, \"b/c\") = 0", "more than one component"),
    ] {
        let found = offences(call).into_iter().collect::<String>();
        assert!(found.contains(offence), "{call}: {found}");
    }
    for call in [
        "1 openat2(5, \"a/b\", {flags=O_RDONLY, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}, 24) = 6",
        "1 openat(5, \"a\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 6",
        "1 utimensat(6, NULL, [{tv_sec=1, tv_nsec=0}, {tv_sec=1, tv_nsec=0}], 0) = 0",
        "1 write(1, \"a/b\\\"/\", 6) = 6",
        "1 readlinkat(6, \"\", \"a/b\", 128) = 3",
    ] {
        assert!(offences(call).is_empty(), "{call}");
    }
}

#[test]
fn contents_are_looked_at_only_for_a_checksum() {
    let Some(yard) = yard() else { return };
    yard.file("large", vec![b'x'; 1 << 20]);
    for (checksum, spliced) in [("none", true), ("sha256", false)] {
        let sent = trace(&yard, None, &["--checksum", checksum], &["-f", "large"], [0; 9]);
        let (_, after) = split(&sent);
        assert_eq!(calls(after).any(|call| call.name == "splice"), spliced, "{checksum}: {after}");
    }
}
