//! Every system call of an upload fails once, at every place of a session: each record has one reply, what is refused is as
//! it was before, what is not is stored, what follows arrives, and nothing is left behind.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::unistd::{Gid, chown};
use rustix::fs::{XattrFlags, setxattr};

use crate::cell;
use crate::tally;
use crate::yard::Yard;
use client::{Client, Outcome};

/// The calls that an upload is made of, and what each may say. Those of the wire are told apart by what they write.
const FAULTS: &[(&str, &[&str])] = &[
    ("close", &["EIO", "ENOSPC", "EDQUOT", "EINTR"]),
    ("epoll_create1", &["EMFILE", "ENOMEM"]),
    ("epoll_ctl", &["EPERM", "ENOSPC"]),
    ("epoll_wait", &["EINTR", "ENOMEM"]),
    ("faccessat2", &["EACCES", "EROFS", "EIO"]),
    ("fchmod", &["EPERM", "EIO", "EROFS", "ENOSPC"]),
    ("fchown", &["EPERM", "EIO", "EDQUOT"]),
    ("fcntl", &["EMFILE"]),
    ("fdatasync", &["EIO", "ENOSPC", "EDQUOT", "EINTR"]),
    ("fgetxattr", &["EIO", "ENODATA", "ERANGE"]),
    ("flistxattr", &["EIO", "ENOTSUP"]),
    ("flock", &["ENOLCK", "EAGAIN", "EINTR"]),
    ("fremovexattr", &["EIO", "EROFS", "ENODATA"]),
    ("fsetxattr", &["ENOSPC", "EPERM", "EOPNOTSUPP", "EDQUOT"]),
    ("fstatfs", &["EIO", "ENOSYS"]),
    ("fsync", &["EIO", "EROFS"]),
    ("ftruncate", &["EIO", "EPERM"]),
    ("getdents64", &["EIO", "ENOENT"]),
    ("linkat", &["EPERM", "ENOSPC", "EMLINK", "EEXIST", "EROFS"]),
    ("mkdirat", &["EACCES", "ENOSPC", "EDQUOT", "EROFS", "EMLINK"]),
    ("newfstatat", &["EIO", "EACCES", "ENOMEM"]),
    ("openat", &["ENOSPC", "EACCES", "EMFILE", "ENFILE", "EROFS", "EINTR", "ENOMEM"]),
    ("openat2", &["EACCES", "EMFILE", "EAGAIN", "ENOMEM"]),
    ("poll", &["EINTR", "ENOMEM"]),
    ("read", &["EINTR", "EAGAIN", "EIO"]),
    ("renameat", &["EACCES", "EISDIR", "EIO", "ENOSPC", "EDQUOT", "EROFS"]),
    ("renameat2", &["EACCES", "EIO", "ENOSPC", "EEXIST", "EPERM"]),
    ("statx", &["EACCES", "ENOSYS"]),
    ("syncfs", &["EIO", "ENOSPC"]),
    ("timerfd_create", &["EMFILE", "ENOMEM"]),
    ("timerfd_settime", &["EINVAL"]),
    ("unlinkat", &["EIO", "EPERM", "EBUSY"]),
    ("utimensat", &["EPERM", "EIO", "EROFS"]),
    ("write", &["ENOSPC", "EDQUOT", "EIO", "EFBIG", "EINTR"]),
    ("write to the client", &["EINTR", "EAGAIN"]),
];

/// Calls that do not fail, or not in a way that a program could answer.
const UNFAILING: &[&str] = &[
    "brk",
    "clock_gettime",
    "exit_group",
    "futex",
    "geteuid",
    "getpid",
    "gettid",
    "madvise",
    "mmap",
    "mremap",
    "munmap",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
];

/// How much is lost or stored together, and whether the old contents are safe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    File,
    Tree,
    /// Written into the old file, as OpenSSH's scp does: it may be a mixture, and the client is told.
    InPlace,
}

/// One way in which the program is run.
struct Session {
    name: &'static str,
    options: &'static [&'static str],
    /// A fault that is there all the time: what the file system cannot do.
    lack: Option<&'static str>,
    unit: Unit,
    steps: &'static [Step],
    old: bool,
    root: bool,
}

const PLAIN: Session =
    Session { name: "files", options: &[], lack: None, unit: Unit::File, steps: FLAT, old: true, root: true };

const SESSIONS: &[Session] = &[
    Session { options: &["-t"], ..PLAIN },
    Session { name: "large files", options: &["-p", "-t"], steps: LARGE, ..PLAIN },
    Session { name: "files, -p, settled at the end", options: &["--sync", "session", "-p", "-t"], ..PLAIN },
    Session {
        name: "new files only",
        options: &["--no-overwrite", "--sync", "file", "-t"],
        old: false,
        ..PLAIN
    },
    Session {
        name: "new files only, where that takes two names",
        options: &["--no-overwrite", "-t"],
        lack: Some("renameat2"),
        old: false,
        ..PLAIN
    },
    Session {
        name: "in place",
        options: &["--atomic", "off", "-p", "-t"],
        unit: Unit::InPlace,
        root: false,
        ..PLAIN
    },
    Session { name: "without a root", options: &["--atomic", "auto", "-t"], root: false, ..PLAIN },
    Session { name: "a tree", options: &["-r", "-t"], steps: DEEP, ..PLAIN },
    Session {
        name: "a tree, -p, durable",
        options: &["--sync", "file", "-r", "-p", "-t"],
        steps: DEEP,
        ..PLAIN
    },
    Session {
        name: "a tree at once, durable",
        options: &["--commit", "tree", "--sync", "file", "-r", "-t"],
        unit: Unit::Tree,
        steps: DEEP,
        ..PLAIN
    },
    Session {
        name: "a tree at once, in two steps",
        options: &["--commit", "tree", "-r", "-p", "-t"],
        lack: Some("renameat2"),
        unit: Unit::Tree,
        steps: DEEP,
        ..PLAIN
    },
];

const OLD: &str = "old contents";

/// What the client does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(&'static str),
    Leave,
    Put(&'static str, &'static str),
}

const FLAT: &[Step] =
    &[Step::Put("old", "newer"), Step::Put("fresh", "first"), Step::Put("after", "still here")];

/// It takes several turns to copy.
const MUCH: &str = match std::str::from_utf8(&[b'm'; 300_000]) {
    Ok(text) => text,
    Err(_) => "",
};

const LARGE: &[Step] = &[Step::Put("old", MUCH), Step::Put("fresh", MUCH), Step::Put("after", "still here")];

const DEEP: &[Step] = &[
    Step::Enter("d"),
    Step::Put("d/old", "newer"),
    Step::Put("d/fresh", "first"),
    Step::Enter("d/e"),
    Step::Put("d/e/deep", "deeper"),
    Step::Leave,
    Step::Leave,
    Step::Put("after", "still here"),
];

impl Session {
    fn is_tree(&self) -> bool {
        self.steps.len() == DEEP.len()
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Put(path, contents) => Some((*path, *contents)),
            Step::Enter(_) | Step::Leave => None,
        })
    }

    fn prepare(&self, yard: &Yard) {
        for entry in fs::read_dir(yard.path("")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        if self.is_tree() {
            yard.dir("d").file("d/obsolete", "");
        }
        if self.old {
            let path = if self.is_tree() { "d/old" } else { "old" };
            yard.file(path, OLD);
            // Its group is taken over, where that can be; so are an attribute and a list, which is another one in a tree: there
            // what the directory would give is taken off.
            let _ = chown(&yard.path(path), None, Some(Gid::from_raw(1)));
            let sets = |path: &str, name: &str, value: &[u8]| {
                setxattr(yard.path(path), name, value, XattrFlags::empty())
                    .expect("lists and attributes work here");
            };
            sets(path, "user.test", b"1");
            if self.is_tree() {
                sets("d", "system.posix_acl_default", &list([7, 7, 0]));
                let _ = chown(&yard.path("d"), None, Some(Gid::from_raw(1)));
                yard.chmod("d", 0o2755);
            } else {
                sets(path, "system.posix_acl_access", &list([6, 0, 0]));
            }
        }
    }

    fn old(&self, path: &str) -> Option<&'static str> {
        (self.old && path.ends_with("old")).then_some(OLD)
    }
}

/// An access control list as the kernel has it: of the owner, the group and others, and of somebody by name.
fn list([owner, group, others]: [u8; 3]) -> Vec<u8> {
    let entry = |tag: u8, permissions, id: u32| [&[tag, 0, permissions, 0], &id.to_le_bytes()[..]].concat();
    let nobody = u32::MAX;
    let entries =
        [(1, owner, nobody), (2, 7, 1), (4, group, nobody), (0x10, 7, nobody), (0x20, others, nobody)];
    [vec![2, 0, 0, 0], entries.map(|(tag, bits, id)| entry(tag, bits, id)).concat()].concat()
}

/// Looks at what is there against what was said.
fn judge(case: &str, yard: &Yard, session: &Session, pipeline: &str, call: &str, outcome: &Outcome) {
    let Outcome { texts, status, held, .. } = outcome;
    let told = format!("{case}: {texts:?}, {status:?}, held: {held}");
    // A fault may be harmless: a lock that is not had, a directory that is not searched for stale files.
    let failed = !texts.is_empty() || !held;
    // Where the end of the stream cannot be read, all has been said.
    let unsaid = ["epoll_wait", "poll", "read", "timerfd_settime"].contains(&call) && *status == Some(1);
    assert!(unsaid || *status == Some(i32::from(failed)), "{told}");
    assert!(!texts.iter().any(|text| text.contains("panicked")), "{told}");
    if pipeline == "on" {
        // What was acknowledged ahead.
        assert!(outcome.rest.iter().all(|&byte| byte == 0), "{told}: {}", outcome.rest.escape_ascii());
    } else {
        assert_eq!(outcome.rest, b"", "{told}: a reply that nobody asked for");
        assert!(!held || outcome.replies == outcome.records + 1, "{told}: one reply each, and the first");
    }
    let found = |path: &str| fs::read_to_string(yard.path(path)).ok();
    let is_new = |path: &str, contents: &str| found(path).as_deref() == Some(contents);
    if session.unit == Unit::Tree {
        let stored = !yard.path("d/obsolete").exists();
        for (path, contents) in session.files().filter(|(path, _)| path.starts_with("d/")) {
            let wanted = if stored { Some(contents) } else { session.old(path) };
            assert!(found(path).as_deref() == wanted, "{told}: {path}, stored: {stored}");
        }
        let blemished = outcome.names("d").any(|text| text.contains("stored, but "));
        let refused = texts.iter().any(|text| text.contains(" ./d: ") || text.contains(" ./d/"))
            || outcome.refuses_all();
        assert!(!stored || !refused || blemished, "{told}: refused, and stored");
        assert!(stored || refused || !held, "{told}: not refused, and not stored");
    }
    for (path, contents) in session.files() {
        if session.unit == Unit::Tree && path.starts_with("d/") {
            continue;
        }
        let refused = outcome.refuses(path);
        if session.unit != Unit::InPlace {
            let there = found(path);
            let whole = there.as_deref() == session.old(path) || is_new(path, contents);
            assert!(whole, "{told}: {path} holds {:?} bytes", there.map(|there| there.len()));
            assert!(!refused || there.as_deref() == session.old(path), "{told}: {path} was refused");
        }
        if (!refused && !outcome.leaves_open(path))
            || (pipeline == "off" && outcome.acknowledged.contains(path))
        {
            let length = found(path).map(|found| found.len());
            assert!(is_new(path, contents), "{told}: {path} holds {length:?} bytes");
        }
    }
    if *held && !outcome.refuses_all() && outcome.names("after").next().is_none() {
        assert!(is_new("after", "still here"), "{told}: what followed");
    }
    let left = yard.listing().into_iter().filter(|name| name.contains(".scp-")).collect::<Vec<_>>();
    // The call that takes it away was made to fail: a later session does.
    let removal = call == "unlinkat" || (session.unit == Unit::Tree && !yard.path("d/obsolete").exists());
    assert!(left.is_empty() || removal, "{told}: {left:?} was left");
}

/// Counts, in a trace, the calls before the sandbox was on and all of them: the places of each at which it can be made
/// to fail.
fn places(trace: &str) -> BTreeMap<String, Vec<usize>> {
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut places = BTreeMap::<String, Vec<usize>>::new();
    let lines: Vec<&str> = trace.lines().collect();
    let sandboxed = lines.iter().rposition(|line| line.contains(" seccomp(")).unwrap_or_else(|| {
        // Without a root there is one, too.
        panic!("the sandbox was not on: {trace}")
    });
    for (number, line) in lines.iter().enumerate() {
        let call = line.split_whitespace().nth(1).unwrap_or("").split('(').next().unwrap();
        let count = seen.entry(call).or_default();
        *count += 1;
        // What the standard library asks only where it is built for debugging.
        let is_debugging = line.contains(", F_GETFD)");
        if number <= sandboxed || is_debugging || UNFAILING.contains(&call) || line.contains("exited with") {
            continue;
        }
        let on_the_wire = call == "write" && (line.contains(r#", "\0"#) || line.contains(r#", "\1"#));
        let call = if on_the_wire { "write to the client" } else { call };
        places.entry(call.to_owned()).or_default().push(*count);
    }
    places
}

/// One fault in one session.
struct Case {
    session: &'static Session,
    pipeline: &'static str,
    call: &'static str,
    place: usize,
    error: &'static str,
}

impl Case {
    fn system_call(&self) -> &'static str {
        self.call.split(' ').next().unwrap()
    }

    fn is_tried(&self, yard: &Yard, trace: &Path) -> Outcome {
        let name = format!(
            "{}, pipeline {}: {} {} {}",
            self.session.name, self.pipeline, self.call, self.place, self.error
        );
        self.session.prepare(yard);
        let call = self.system_call();
        let mut strace = vec!["-o".into(), trace.display().to_string(), "-e".into()];
        strace.push(format!("inject={call}:error={}:when={}", self.error, self.place));
        let lack = self.session.lack.filter(|&lack| lack != call);
        strace.extend(lack.into_iter().flat_map(|lack| ["-e".into(), format!("inject={lack}:error=EINVAL")]));
        let traced = [call].into_iter().chain(lack).collect::<Vec<_>>().join(",");
        strace.extend(["--seccomp-bpf".into(), "-e".into(), format!("trace={traced}")]);
        let outcome = Client::starts(&name, yard, self.session, self.pipeline, &strace)
            .runs(self.session, self.pipeline);
        judge(&name, yard, self.session, self.pipeline, self.call, &outcome);
        let interrupted = self.error == "EINTR" && ["epoll_wait", "poll", "read", "write"].contains(&call);
        if interrupted || self.error == "EAGAIN" && call == "read" {
            assert_eq!(outcome.status, Some(0), "{name}: it is tried again: {:?}", outcome.texts);
        }
        outcome
    }
}

/// Calls that a session makes most often: one of their errors is tried at each place, and another at the next.
const FREQUENT: &[&str] =
    &["close", "epoll_wait", "newfstatat", "openat2", "poll", "read", "write to the client"];

/// All places of all calls in a session, each with two of the errors that it may say, or with one where the call is
/// frequent or replies are given ahead; `SCP_SERVER_FAULTS=all` tries all.
fn cases(yard: &Yard, session: &'static Session, pipeline: &'static str) -> Vec<Case> {
    let trace = yard.home().join("trace");
    session.prepare(yard);
    let mut strace = vec!["-o".into(), trace.display().to_string()];
    if let Some(lack) = session.lack {
        strace.extend(["-e".into(), format!("inject={lack}:error=EINVAL")]);
    }
    let name = format!("{}, pipeline {pipeline}, no fault", session.name);
    let outcome = Client::starts(&name, yard, session, pipeline, &strace).runs(session, pipeline);
    judge(&name, yard, session, pipeline, "", &outcome);
    assert_eq!(outcome.status, Some(0), "{name}: {:?}", outcome.texts);
    let places = places(&fs::read_to_string(&trace).unwrap());
    let mut cases = Vec::new();
    for (call, places) in &places {
        let known = FAULTS.iter().find(|(known, _)| known == call);
        let (call, errors) = known.unwrap_or_else(|| panic!("{name}: what may {call} say?"));
        if session.lack == Some(call) {
            continue;
        }
        for (number, &place) in places.iter().enumerate() {
            let few = match (pipeline, std::env::var_os("SCP_SERVER_FAULTS")) {
                (_, Some(_)) => errors.len(),
                ("off", None) if !FREQUENT.contains(call) => errors.len().min(2),
                _ => 1,
            };
            for turn in 0..few {
                let error = errors[(number + turn) % errors.len()];
                cases.push(Case { session, pipeline, call, place, error });
            }
        }
    }
    cases
}

// covers: security RP-01, security RP-02, security RP-03, security RP-04, security RP-05, security RP-06, security RP-07,
// covers: security RP-08, security RES-10, peers 74, peers H-h
#[test]
fn whatever_fails_each_record_has_one_reply_and_no_file_is_lost() {
    if !cell::there_is_strace() {
        return;
    }
    let Some(yard) = Yard::confined() else { return };
    let mut all = Vec::new();
    for session in SESSIONS {
        let pipelines: &[_] = if session.root { &["off", "auto", "on"] } else { &["off"] };
        for pipeline in pipelines {
            all.extend(cases(&yard, session, pipeline));
        }
    }
    let (next, met, refused, ended) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let missed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)) {
            let work = || {
                let Some(yard) = Yard::confined() else { return };
                let trace = yard.home().join("trace");
                while let Some(case) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = case.is_tried(&yard, &trace);
                    refused.fetch_add(usize::from(!outcome.texts.is_empty()), Ordering::Relaxed);
                    ended.fetch_add(usize::from(!outcome.held), Ordering::Relaxed);
                    if fs::read_to_string(&trace).unwrap().contains("(INJECTED)") {
                        met.fetch_add(1, Ordering::Relaxed);
                    } else {
                        missed.lock().unwrap().push((
                            case.session.name,
                            case.pipeline,
                            case.call,
                            case.place,
                        ));
                    }
                }
                // What may be left is not the yard's affair here.
                PLAIN.prepare(&yard);
            };
            let name = thread::current().name().unwrap_or_default().to_owned();
            thread::Builder::new().name(name).spawn_scoped(scope, work).unwrap();
        }
    });
    let missed = missed.into_inner().unwrap();
    // Where replies are given ahead, how much is read at once depends on the machine; nowhere else.
    assert!(
        missed.iter().all(|(_, pipeline, call, _)| *pipeline != "off" && !call.contains("rename")),
        "{missed:?}"
    );
    let (cases, met, refused, ended) =
        (all.len(), met.into_inner(), refused.into_inner(), ended.into_inner());
    assert!(met > 1000 && refused > 300, "{cases} cases, {met} met, {refused} refused");
    let calls: BTreeSet<_> = all.iter().map(|case| case.call).collect();
    for (call, _) in FAULTS {
        assert!(calls.contains(call), "no session calls {call}");
    }
    tally::figure(&format!(
        "{met} faults injected ({} calls x their places x errors, {} sessions, every --pipeline): {refused} told, \
         {ended} ended the session, no file lost",
        calls.len(),
        SESSIONS.len(),
    ));
}
