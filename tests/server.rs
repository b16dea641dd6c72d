//! Which program is tested, and the ways to start it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::peer::Peer;
use crate::yard::Yard;

const OPENSSH: &str = "/usr/bin/scp";

/// Which program is tested: the environment's `SCP_SERVER_TESTED` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tested {
    /// Ours, with `--root`: what is tested when nothing is said.
    Confined,
    /// `unconfined`: ours in the place of OpenSSH's, called by the name scp, in the root as the working directory.
    InPlaceOfScp,
    /// `openssh`: the machine's own scp, in the root as the working directory.
    OpenSsh,
}

impl Tested {
    /// Reads the choice.
    pub fn chosen() -> Self {
        match std::env::var("SCP_SERVER_TESTED").as_deref() {
            Err(_) | Ok("" | "confined") => Self::Confined,
            Ok("unconfined") => Self::InPlaceOfScp,
            Ok("openssh") => Self::OpenSsh,
            Ok(other) => panic!("SCP_SERVER_TESTED={other}: confined, unconfined or openssh is meant"),
        }
    }
}

/// How the program is to be started; `sink`, `source`, `asks` and `logs_in` start it.
pub struct Server<'y> {
    yard: &'y Yard,
    options: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    /// What a shell is to do before it becomes the program, and with its streams.
    preparation: Option<(String, &'static str)>,
    name: Option<&'static str>,
    build: PathBuf,
    rootless: bool,
    mounts: bool,
    own_pace: bool,
    pub(crate) packets: Packets,
}

/// Which of the two pipes keep the boundaries between writes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Packets {
    pub(crate) to_server: bool,
    pub(crate) from_server: bool,
}

impl<'y> Server<'y> {
    /// The program tested, as sshd would start it for the owner of `yard`.
    pub fn of(yard: &'y Yard) -> Self {
        Self {
            yard,
            options: Vec::new(),
            variables: Vec::new(),
            preparation: None,
            name: None,
            build: env!("CARGO_BIN_EXE_scp-server").into(),
            rootless: false,
            mounts: false,
            own_pace: false,
            packets: Packets::default(),
        }
    }

    /// Adds an option of the administrator's; it has no meaning for OpenSSH.
    pub fn option(mut self, option: impl AsRef<OsStr>) -> Self {
        assert_ne!(self.yard.tested(), Tested::OpenSsh, "OpenSSH has no such option");
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// Gives the program a configuration file of the administrator's, which nobody but root can write; tells whether one
    /// could be made.
    pub fn configured(self, text: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            crate::tally::skipped("no right to make a configuration file that belongs to root");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.yard.home().join(format!("config-{number}.toml"));
        fs::write(&path, text).unwrap();
        Some(self.option("--config").option(path))
    }

    /// Answers when it likes; otherwise in lock-step, where nothing else is said, so that a scenario is one of records.
    pub fn at_its_own_pace(mut self) -> Self {
        self.own_pace = true;
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts with another umask than 022.
    pub fn umask(self, umask: &str) -> Self {
        self.after(&format!("umask {umask}"))
    }

    /// Starts after a command of the shell.
    pub fn after(mut self, command: &str) -> Self {
        self.preparation = Some((command.to_owned(), ""));
        self
    }

    /// Starts in a mount namespace of its own, in which a shell has mounted something.
    pub fn with_mounts(mut self, command: &str) -> Self {
        self.preparation = Some((format!("set -e; {command}"), ""));
        self.mounts = true;
        self
    }

    /// Starts with a shell's redirections.
    pub fn with_streams(mut self, redirections: &'static str) -> Self {
        self.preparation = Some((":".to_owned(), redirections));
        self
    }

    /// Starts under another name; not together with what a shell is to prepare.
    pub fn called(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Starts another build of our program.
    pub fn built_as(mut self, program: PathBuf) -> Self {
        self.build = program;
        self
    }

    /// Starts without `--root`, in the root as the working directory, whichever program is tested.
    pub fn without_a_root(mut self) -> Self {
        self.rootless = true;
        self
    }

    /// Lets the client see what was written in one call: `Peer::hears_at_once`.
    pub fn whose_writes_are_seen(mut self) -> Self {
        self.packets.from_server = true;
        self
    }

    /// Lets the program read no more at a time than the client said at once.
    pub fn who_reads_piecemeal(mut self) -> Self {
        self.packets.to_server = true;
        self
    }

    /// Starts `scp FLAGS -t TARGET`.
    pub fn sink(self, flags: &str, target: impl AsRef<OsStr>) -> Peer {
        self.runs(flags.split_whitespace().chain(["-t"]).map(OsStr::new).chain([target.as_ref()]))
    }

    /// Starts `scp FLAGS -f SOURCES...`.
    pub fn source<S: AsRef<OsStr>>(self, flags: &str, sources: impl AsRef<[S]>) -> Peer {
        let words = flags.split_whitespace().chain(["-f"]).map(OsStr::new);
        self.runs(words.chain(sources.as_ref().iter().map(AsRef::as_ref)))
    }

    /// Starts with the request on the program's own command line; the first word, `scp`, is left out.
    pub fn runs<S: AsRef<OsStr>>(self, words: impl IntoIterator<Item = S>) -> Peer {
        let mut command = match self.yard.tested() {
            Tested::Confined => self.ours(),
            Tested::InPlaceOfScp => {
                let mut command = self.ours();
                command.arg0(self.name.unwrap_or("scp"));
                command
            }
            Tested::OpenSsh => self.in_the_root(OPENSSH.into()),
        };
        command.args(words);
        self.start(command)
    }

    /// Starts with a client's command line as sshd hands it to a forced command. OpenSSH has sshd start the user's
    /// shell for that.
    pub fn asks(self, line: impl AsRef<[u8]>) -> Peer {
        let line = os(line);
        let mut command = match self.yard.tested() {
            Tested::OpenSsh => self.shell(&line),
            Tested::Confined | Tested::InPlaceOfScp => self.ours(),
        };
        command.env("SSH_ORIGINAL_COMMAND", line);
        self.start(command)
    }

    /// Starts as sshd starts a login shell for a client's command line: with `-c`.
    pub fn logs_in(self, line: impl AsRef<[u8]>) -> Peer {
        let line = os(line);
        let command = match self.yard.tested() {
            Tested::OpenSsh => self.shell(&line),
            Tested::Confined | Tested::InPlaceOfScp => {
                let mut command = self.ours();
                command.arg("-c").arg(line);
                command
            }
        };
        self.start(command)
    }

    /// Our program, with the root that confines it or in the root as its working directory.
    fn ours(&self) -> Command {
        let program = self.within_reach(&self.build);
        if self.rootless || self.yard.tested() == Tested::InPlaceOfScp {
            let mut command = self.in_the_root(program);
            command.args(&self.options);
            return command;
        }
        let mut command = self.program(program);
        // What is looked up in the working directory instead of the root meets the canaries.
        command.current_dir(self.yard.outside(""));
        command.arg("--root").arg(self.yard.path("")).args(&self.options);
        if !self.own_pace && !self.options.iter().any(|option| option == "--pipeline") {
            command.args(["--pipeline", "off"]);
        }
        command
    }

    fn shell(&self, line: &OsStr) -> Command {
        let mut command = self.in_the_root("/bin/sh".into());
        command.arg("-c").arg(line);
        command
    }

    fn in_the_root(&self, program: PathBuf) -> Command {
        let mut command = self.program(program);
        command.current_dir(self.yard.path(""));
        command
    }

    /// The program with an environment like sshd's, in no particular directory.
    fn program(&self, program: PathBuf) -> Command {
        let mut command = match &self.preparation {
            None => Command::new(program),
            Some((first, redirections)) => {
                let mut command = Command::new(if self.mounts { "/usr/bin/unshare" } else { "/bin/sh" });
                if self.mounts {
                    command.args(["--mount", "/bin/sh"]);
                }
                let script = format!("{first}; exec \"$0\" \"$@\" {redirections}");
                command.arg("-c").arg(script).arg(program);
                command
            }
        };
        if let Some(name) = self.name {
            command.arg0(name);
        }
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.yard.path(""))
            .env("USER", "somebody");
        command
    }

    /// Returns a name of our program that the account it is to run as can reach.
    fn within_reach(&self, program: &Path) -> PathBuf {
        if self.yard.user().is_none() {
            return program.to_owned();
        }
        let name = self.yard.home().join(program.file_name().unwrap_or_default());
        if !name.exists() {
            place(program, &name);
        }
        name
    }

    fn start(self, mut command: Command) -> Peer {
        command.envs(self.variables);
        if let Some((uid, gid)) = self.yard.user() {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        Peer::start(command, self.packets)
    }
}

/// Gives a program another name, on whichever file system.
///
/// Another program does the copying: a descriptor of ours, open for writing while a test beside this one forks, would
/// make the copy "busy" for exec.
pub(crate) fn place(program: &Path, name: &Path) {
    if fs::hard_link(program, name).is_err() {
        let copied = Command::new("cp").arg(program).arg(name).status();
        assert!(copied.unwrap().success(), "the program can be copied");
    }
}

/// The usual starts, nothing special about them.
impl Peer {
    /// Starts `scp FLAGS -t TARGET`.
    pub fn sink(yard: &Yard, flags: &str, target: impl AsRef<OsStr>) -> Self {
        Server::of(yard).sink(flags, target)
    }

    /// Starts `scp FLAGS -f SOURCES...`.
    pub fn source<S: AsRef<OsStr>>(yard: &Yard, flags: &str, sources: impl AsRef<[S]>) -> Self {
        Server::of(yard).source(flags, sources)
    }

    /// Starts with a client's command line, as a forced command.
    pub fn asks(yard: &Yard, line: impl AsRef<[u8]>) -> Self {
        Server::of(yard).asks(line)
    }
}

fn os(bytes: impl AsRef<[u8]>) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.as_ref().to_vec())
}
