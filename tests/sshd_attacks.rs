//! A real sshd with the recommended configuration, as it is in `packaging/`: what else a client asks of it is refused or
//! without effect. Each has its control, without the lines that count.
//!
//! The sshd runs in a mount namespace with an account, a /srv, an /etc/ssh and a /usr/bin/scp-server of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cell;
use crate::sandbox::intruder;
use crate::sshd::bench::{Outcome, Scratch, names, run, skip, start, within};
use crate::sshd::server;

/// As it is packaged, to the letter.
const RECOMMENDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/sshd_config.d/scp-server.conf"));
const FORCED: &str = "ForceCommand /usr/bin/scp-server --root /srv/scp/%u --log syslog";

/// The account, its group, and their number.
const ACCOUNT: &str = "bob";
const GROUP: &str = "scponly";
const ID: u32 = 54321;

/// Mounts what the sshd is to see; `$0` is a directory with all of it.
const MOUNTS: &str = "set -e
for file in passwd group; do mount --bind \"$0/$file\" \"/etc/$file\"; done
mount --bind \"$0/srv\" /srv
mount --bind \"$0/etc-ssh\" /etc/ssh
mkdir -p /run/sshd
mount -t tmpfs none \"$0/over\"
mkdir \"$0/over/upper\" \"$0/over/work\"
mount -t overlay -o \"lowerdir=/usr/bin,upperdir=$0/over/upper,workdir=$0/over/work\" none /usr/bin
cp \"$0/scp-server\" /usr/bin/scp-server
exec \"$@\"";

/// How a sshd differs from what is recommended.
struct Setup<'s> {
    /// The file for the account's group.
    lines: String,
    /// Lines for everybody.
    global: &'s str,
    shell: &'s str,
    /// What stands before the account's key.
    key_options: &'s str,
}

impl Setup<'_> {
    fn recommended() -> Self {
        Self { lines: RECOMMENDED.to_owned(), global: "", shell: "/bin/sh", key_options: "" }
    }

    /// The recommended lines, but another command instead of ours.
    fn recommended_but_for(command: &str) -> Self {
        assert_eq!(RECOMMENDED.matches(FORCED).count(), 1);
        let lines = RECOMMENDED.replace(FORCED, &format!("ForceCommand {command}"));
        Self { lines, ..Self::recommended() }
    }

    /// A forced command, and none of the other lines but where the key is.
    fn only(command: &str) -> Self {
        let lines = format!(
            "Match Group {GROUP}\nForceCommand {command}\nAuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n"
        );
        Self { lines, ..Self::recommended() }
    }
}

/// A running sshd, and the account's directories.
struct Site {
    scratch: Scratch,
    listener: Child,
    port: u16,
}

impl Site {
    /// Returns nothing, and says so, where there is no sshd or no right to set one up like this.
    fn of(setup: &Setup<'_>) -> Option<Self> {
        if !server::openssh_is_tested() && server::program().is_none() {
            skip("sshd is not installed");
            return None;
        }
        if !cell::is_about_confinement() || !cell::is_root() || !crate::mounts::can_mount() {
            return None;
        }
        let scratch = Scratch::new();
        furnish(&scratch, setup);
        for _ in 0..5 {
            let port = server::free_port();
            let mut sshd = in_its_own_mounts(&scratch, setup, port);
            sshd.args(["-D", "-e"]);
            let log = scratch.path().join("log");
            let mut listener = start(&mut sshd, Path::new("/dev/null"), &log);
            let mut ended = false;
            let listens = within(Duration::from_secs(10), || {
                ended = listener.try_wait().unwrap().is_some();
                ended || server::greets(port)
            });
            if listens && !ended {
                let site = Self { scratch, listener, port };
                site.write_client_files();
                return Some(site);
            }
            let _ = listener.kill();
            let _ = listener.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(scratch.path().join("log")).unwrap());
    }

    fn write_client_files(&self) {
        let (dir, port) = (self.scratch.path().display(), self.port);
        let host = fs::read_to_string(self.scratch.path().join("etc-ssh/host.pub")).unwrap();
        fs::write(self.scratch.path().join("known_hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let config = format!(
            "Host host\n HostName 127.0.0.1\n Port {port}\n User {ACCOUNT}\n IdentityFile {dir}/key\n \
             IdentitiesOnly yes\n UserKnownHostsFile {dir}/known_hosts\n GlobalKnownHostsFile /dev/null\n \
             StrictHostKeyChecking yes\n BatchMode yes\n"
        );
        fs::write(self.scratch.path().join("ssh_config"), config).unwrap();
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.scratch.path().join("ssh_config"));
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        command
    }

    /// Runs ssh to its end.
    fn ssh<const N: usize>(&self, arguments: [&str; N]) -> Outcome {
        run(self.client("ssh").args(arguments))
    }

    /// Uploads a file as the stock client does.
    fn uploads(&self, name: &str) -> Outcome {
        let file = self.scratch.path().join(name);
        fs::write(&file, name).unwrap();
        run(self.client("scp").arg("-O").arg(file).arg("host:"))
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("srv/scp").join(ACCOUNT)
    }

    fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    /// Returns what was run that nobody should run, and forgets it.
    fn traps(&self) -> Vec<Vec<u8>> {
        let marks = self.scratch.path().join("marks");
        let found = names(&marks);
        for name in &found {
            fs::remove_file(marks.join(String::from_utf8_lossy(name).as_ref())).unwrap();
        }
        found
    }

    /// Puts a trap in the home: a file whose being run leaves a mark of its name.
    fn plants(&self, path: &str) {
        let file = self.home().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mark = self.scratch.path().join("marks").join(file.file_name().unwrap());
        fs::write(&file, format!(": > '{}'\n", mark.display())).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The listener only: a session ends with its client.
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

/// Writes what the sshd is to see.
fn furnish(scratch: &Scratch, setup: &Setup<'_>) {
    let dir = scratch.path();
    for made in [
        "home",
        "home/.ssh",
        "marks",
        "over",
        "srv/scp/bob",
        "etc-ssh/authorized_keys.d",
        "etc-ssh/sshd_config.d",
    ] {
        scratch.dir(made);
    }
    for owned in ["home", "home/.ssh", "marks", "srv/scp/bob"] {
        chown(dir.join(owned), Some(ID), Some(ID)).unwrap();
    }
    server::binary_for_all(scratch);
    let home = dir.join("home").display().to_string();
    let account = format!("{ACCOUNT}:*:{ID}:{ID}::{home}:{}\n", setup.shell);
    let others = |file: &str| fs::read_to_string(file).unwrap();
    fs::write(dir.join("passwd"), account + &others("/etc/passwd")).unwrap();
    fs::write(dir.join("group"), format!("{GROUP}:x:{ID}:\n") + &others("/etc/group")).unwrap();
    server::make_key(&dir.join("etc-ssh"), "host", &["-t", "ed25519"]);
    server::make_key(dir, "key", &["-t", "ed25519"]);
    let key = fs::read_to_string(dir.join("key.pub")).unwrap();
    fs::write(dir.join("etc-ssh/authorized_keys.d/bob"), format!("{}{key}", setup.key_options)).unwrap();
    fs::write(dir.join("etc-ssh/sshd_config.d/scp-server.conf"), &setup.lines).unwrap();
}

/// Returns the command of the sshd, with a configuration as Debian's: permissive where a Match block has to be strict.
fn in_its_own_mounts(scratch: &Scratch, setup: &Setup<'_>, port: u16) -> Command {
    let base = format!(
        "Include /etc/ssh/sshd_config.d/*.conf\nPort {port}\nListenAddress 127.0.0.1\nPidFile none\n\
         HostKey /etc/ssh/host\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         X11Forwarding yes\nPrintMotd no\nAcceptEnv LANG LC_*\nMaxStartups 100\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n{}",
        setup.global
    );
    // Newer ones shut out a host that connects and leaves, as the look for the port does.
    let config = scratch.path().join("etc-ssh/sshd_config");
    for text in [format!("PerSourcePenalties no\n{base}"), base] {
        fs::write(&config, text).unwrap();
        let mut test = mounted(scratch);
        if test.arg("-t").output().unwrap().status.success() {
            break;
        }
    }
    mounted(scratch)
}

fn mounted(scratch: &Scratch) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", MOUNTS]).arg(scratch.path());
    command.arg(server::program().unwrap()).args(["-f", "/etc/ssh/sshd_config"]);
    command
}

/// A client that is to be seen doing something before it is ended.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

// covers: security SSH-01, security SSH-02
#[test]
fn the_packaged_file_means_to_sshd_what_it_says_and_serves_both_ways() {
    let Some(site) = Site::of(&Setup::recommended()) else { return };
    let meant = run(mounted(&site.scratch).args(["-T", "-C", "user=bob,host=h,addr=127.0.0.1"]));
    meant.succeeded();
    for line in [
        "forcecommand /usr/bin/scp-server --root /srv/scp/%u --log syslog",
        "authorizedkeysfile /etc/ssh/authorized_keys.d/%u",
        "authorizedprincipalsfile none",
        "disableforwarding yes",
        "permittty no",
        "permituserrc no",
        "permittunnel no",
        "permituserenvironment no",
        "maxsessions 4",
        "clientaliveinterval 60",
        "clientalivecountmax 3",
    ] {
        assert!(meant.out.lines().any(|meant| meant == line), "{line}: {}", meant.out);
    }
    // Nobody else is confined by it.
    let others = run(mounted(&site.scratch).args(["-T", "-C", "user=root,host=h,addr=127.0.0.1"]));
    assert!(others.out.contains("forcecommand none") && others.out.contains("permittty yes"), "{others:?}");
    site.uploads("upload").succeeded();
    let about = site.root().join("upload").metadata().unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (ID, ID, 0o644));
    let back = site.scratch.path().join("back");
    run(site.client("scp").args(["-O", "host:/upload"]).arg(&back)).succeeded();
    assert_eq!(fs::read(back).unwrap(), b"upload");
    for asked in [site.ssh(["host"]), site.ssh(["host", "id"]), site.ssh(["host", "scp -t x; id"])] {
        asked.failed_with(1);
        assert_eq!(asked.out, "");
    }
    assert_ne!(site.ssh(["-s", "host", "sftp"]).status, Some(0));
    assert_eq!(names(&site.root()), [b"upload"]);
}

const STARTUP: [&str; 8] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshenv",
    ".kshrc",
    ".ssh/rc",
    ".config/fish/config.fish",
];

// covers: security SSH-04
#[test]
fn start_up_files_in_the_home_are_not_run() {
    let forced_by_key = "command=\"/usr/bin/scp-server --root /srv/scp/%u\" ";
    for (key_options, environment) in [("", false), (forced_by_key, false), ("", true)] {
        let Some(site) = Site::of(&Setup { key_options, ..Setup::recommended() }) else { return };
        STARTUP.iter().for_each(|file| site.plants(file));
        if environment {
            let variable = format!("BASH_ENV={}\n", site.home().join(".bashrc").display());
            fs::write(site.home().join(".ssh/environment"), variable).unwrap();
        }
        site.uploads("upload").succeeded();
        site.ssh(["host"]).failed_with(1);
        site.ssh(["host", "id"]).failed_with(1);
        site.ssh(["-s", "host", "sftp"]);
        assert_eq!(site.traps(), Vec::<Vec<u8>>::new());
    }
}

// covers: security SSH-04
#[test]
fn the_same_start_up_files_are_run_where_the_login_shell_or_the_lines_are_others() {
    // bash, though all other lines are as recommended.
    let bash = Setup { shell: "/bin/bash", ..Setup::recommended() };
    let Some(site) = Site::of(&bash) else { return };
    STARTUP.iter().for_each(|file| site.plants(file));
    site.uploads("upload");
    assert_eq!(site.traps(), [b".bashrc"]);
    drop(site);
    // A command that is forced by the key, and no word on ~/.ssh/rc.
    let rc = Setup {
        lines: String::new(),
        global: "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n",
        key_options: "command=\"/usr/bin/scp-server --root /srv/scp/bob\" ",
        ..Setup::recommended()
    };
    let Some(site) = Site::of(&rc) else { return };
    STARTUP.iter().for_each(|file| site.plants(file));
    site.uploads("upload").succeeded();
    assert_eq!(site.traps(), [b"rc"]);
}

/// Lets a client send variables that would be code, and returns what was run.
fn traps_of_variables(setup: &Setup<'_>) -> Option<Vec<Vec<u8>>> {
    let library = intruder()?;
    let site = Site::of(setup)?;
    let copy = site.scratch.path().join("intruder.so");
    fs::copy(library, &copy).unwrap();
    site.plants("bash_env");
    let marks = site.scratch.path().join("marks");
    let (home, copy, marks) = (site.home(), copy.display(), marks.display());
    let variables = format!(
        "SetEnv=LD_PRELOAD={copy} INTRUDER_MARK={marks}/preload BASH_ENV={0}/bash_env ENV={0}/bash_env",
        home.display()
    );
    let outcome = run(site.client("ssh").args(["-o", &variables, "host", "scp -t ."]));
    assert_eq!(outcome.out, "\0", "{outcome:?}");
    // A request where the client made none.
    let asked = run(site.client("ssh").args(["-o", "SetEnv=SSH_ORIGINAL_COMMAND=\"scp -t .\"", "host"]));
    let mut traps = site.traps();
    if asked.out == "\0" {
        traps.push(b"request".to_vec());
    }
    Some(traps)
}

// covers: security SSH-03
#[test]
fn variables_that_a_client_sends_are_not_taken() {
    if let Some(traps) = traps_of_variables(&Setup::recommended()) {
        assert_eq!(traps, Vec::<Vec<u8>>::new());
    }
    // The control: where they are accepted, they are code before we are.
    let control = Setup { global: "AcceptEnv *\n", shell: "/bin/bash", ..Setup::recommended() };
    if let Some(traps) = traps_of_variables(&control) {
        assert_eq!(traps, [&b"bash_env"[..], b"preload", b"request"]);
    }
}

/// Asks for everything beside a command, and says what was had.
fn extras(lines: impl Fn(&str) -> Setup<'static>) -> Option<Vec<&'static str>> {
    let mut had = Vec::new();
    // What the command is given: a terminal, an agent, a screen.
    let site = Site::of(&lines("tty; env"))?;
    if site.ssh(["-tt", "host", "x"]).out.contains("/dev/pts/") {
        had.push("terminal");
    }
    let agent = site.scratch.path().join("agent");
    let _agent = UnixListener::bind(&agent).unwrap();
    let out = run(site.client("ssh").args(["-A", "host", "x"]).env("SSH_AUTH_SOCK", &agent)).out;
    had.extend(out.contains("SSH_AUTH_SOCK=").then_some("agent"));
    if Path::new("/usr/bin/xauth").exists() {
        let out = run(site.client("ssh").args(["-Y", "host", "x"]).env("DISPLAY", "127.0.0.1:99")).out;
        had.extend(out.contains("DISPLAY=").then_some("screen"));
    } else {
        skip("there is no xauth");
    }
    // A connection to a port (-L, -D and -W are the same to sshd), and to a socket.
    let out = site.ssh(["-W", &format!("127.0.0.1:{}", site.port), "host"]).out;
    had.extend(out.contains("SSH-2.0").then_some("connection"));
    let service = UnixListener::bind(site.scratch.path().join("docker.sock")).unwrap();
    fs::set_permissions(site.scratch.path().join("docker.sock"), PermissionsExt::from_mode(0o777)).unwrap();
    service.set_nonblocking(true).unwrap();
    let port = server::free_port();
    let through = format!("{port}:{}", site.scratch.path().join("docker.sock").display());
    let mut client = site.client("ssh");
    client.args(["-N", "-L", &through, "host"]);
    let (out, log) = (Path::new("/dev/null"), site.scratch.path().join("client"));
    let client_ended = {
        let mut client = Waiting(start(&mut client, out, &log));
        let mut stream = None;
        within(Duration::from_secs(10), || {
            stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok();
            stream.is_some() || client.0.try_wait().unwrap().is_some()
        });
        // Either the service is called, or the client is told that nobody is to be called.
        within(Duration::from_secs(10), || {
            let called = service.accept().is_ok();
            had.extend(called.then_some("socket"));
            called || fs::read_to_string(&log).unwrap().contains("open failed")
        })
    };
    assert!(client_ended, "{}", fs::read_to_string(&log).unwrap());
    // A port and a socket that sshd opens as the account.
    let planted = site.root().join("planted.sock");
    let at_the_server = format!("/srv/scp/{ACCOUNT}/planted.sock:127.0.0.1:1");
    for (what, forward) in [("port", "127.0.0.1:0:127.0.0.1:1"), ("planted socket", &at_the_server)] {
        let mut client = site.client("ssh");
        client.args(["-N", "-v", "-o", "ExitOnForwardFailure=yes", "-R", forward, "host"]);
        let mut client = Waiting(start(&mut client, out, &log));
        within(Duration::from_secs(10), || {
            let said = fs::read_to_string(&log).unwrap();
            let opened = said.contains("remote forward success") || said.contains("Allocated port");
            had.extend((opened && (what == "port" || planted.exists())).then_some(what));
            opened || client.0.try_wait().unwrap().is_some()
        });
    }
    Some(had)
}

// covers: security SSH-02
#[test]
fn terminals_agents_screens_ports_and_sockets_are_refused() {
    if let Some(had) = extras(Setup::recommended_but_for) {
        assert_eq!(had, Vec::<&str>::new());
    }
    // The control: a forced command alone keeps nobody from any of them.
    if let Some(had) = extras(Setup::only) {
        let screen = Path::new("/usr/bin/xauth").exists().then_some("screen");
        let all = ["terminal", "agent"].into_iter().chain(screen);
        let all: Vec<&str> = all.chain(["connection", "socket", "port", "planted socket"]).collect();
        assert_eq!(had, all);
    }
}

/// Sends signals to an upload under way, and returns what was heard of it.
fn signalled(site: &Site, command: &str) -> Option<String> {
    let python = "/usr/bin/python3";
    let there = Command::new(python).args(["-W", "ignore", "-c", "import asyncssh"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        skip("there is no asyncssh, which can send signals");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sshd/signals.py");
    let dir = site.scratch.path();
    let outcome = run(Command::new(python)
        .args(["-W", "ignore", script])
        .env("SCP_COMMAND", command)
        .env("SCP_HOST", "127.0.0.1")
        .env("SCP_PORT", site.port.to_string())
        .env("SCP_USER", ACCOUNT)
        .env("SCP_KEY", dir.join("key"))
        .env("SCP_KNOWN_HOSTS", dir.join("known_hosts")));
    outcome.succeeded();
    Some(outcome.out)
}

// covers: security SSH-05
#[test]
fn signals_over_the_channel_do_not_reach_a_forced_command() {
    let Some(site) = Site::of(&Setup::recommended()) else { return };
    let Some(heard) = signalled(&site, "scp -t .") else { return };
    assert_eq!(heard.trim(), "000000 0 None");
    assert_eq!(fs::read(site.root().join("signalled")).unwrap(), b"new");
    drop(site);
    // The control: without one they do.
    let free = Setup {
        lines: String::new(),
        global: "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n",
        ..Setup::recommended()
    };
    let Some(site) = Site::of(&free) else { return };
    let command = "exec /usr/bin/scp-server --root /srv/scp/bob -t .";
    let Some(heard) = signalled(&site, command) else { return };
    assert!(!heard.starts_with("000000 0"), "{heard}");
    assert!(!site.root().join("signalled").exists());
}
