//! A sshd in a mount namespace with an account, a /srv, an /etc/ssh and a /usr/bin/scp-server of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cell;
use crate::sshd::bench::{Outcome, Scratch, names, run, skip, start, within};
use crate::sshd::server;

/// As it is packaged, to the letter.
const RECOMMENDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/sshd_config.d/scp-server.conf"));
const FORCED: &str = "ForceCommand /usr/bin/scp-server --root /srv/scp/%u --log syslog";

/// The account, its group, and their number.
pub(crate) const ACCOUNT: &str = "bob";
const GROUP: &str = "scponly";
pub(crate) const ID: u32 = 54321;

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
pub(crate) struct Setup<'s> {
    /// The file for the account's group.
    pub(crate) lines: String,
    /// Lines for everybody.
    pub(crate) global: &'s str,
    pub(crate) shell: &'s str,
    /// What stands before the account's key.
    pub(crate) key_options: &'s str,
}

impl Setup<'_> {
    pub(crate) fn recommended() -> Self {
        Self { lines: RECOMMENDED.to_owned(), global: "", shell: "/bin/sh", key_options: "" }
    }

    /// The recommended lines, but another command instead of ours.
    pub(crate) fn recommended_but_for(command: &str) -> Self {
        assert_eq!(RECOMMENDED.matches(FORCED).count(), 1);
        let lines = RECOMMENDED.replace(FORCED, &format!("ForceCommand {command}"));
        Self { lines, ..Self::recommended() }
    }

    /// A forced command, and none of the other lines but where the key is.
    pub(crate) fn only(command: &str) -> Self {
        let lines = format!(
            "Match Group {GROUP}\nForceCommand {command}\nAuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n"
        );
        Self { lines, ..Self::recommended() }
    }
}

/// A running sshd, and the account's directories.
pub(crate) struct Site {
    pub(crate) scratch: Scratch,
    listener: Child,
    pub(crate) port: u16,
}

impl Site {
    /// Returns nothing, and says so, where there is no sshd or no right to set one up like this.
    pub(crate) fn of(setup: &Setup<'_>) -> Option<Self> {
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
            let listens = within(Duration::from_secs(60), || {
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

    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.scratch.path().join("ssh_config"));
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        command
    }

    /// Runs ssh to its end.
    pub(crate) fn ssh<const N: usize>(&self, arguments: [&str; N]) -> Outcome {
        run(self.client("ssh").args(arguments))
    }

    /// Uploads a file as the stock client does.
    pub(crate) fn uploads(&self, name: &str) -> Outcome {
        let file = self.scratch.path().join(name);
        fs::write(&file, name).unwrap();
        run(self.client("scp").arg("-O").arg(file).arg("host:"))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.scratch.path().join("srv/scp").join(ACCOUNT)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    /// Returns what was run that nobody should run, and forgets it.
    pub(crate) fn traps(&self) -> Vec<Vec<u8>> {
        let marks = self.scratch.path().join("marks");
        let found = names(&marks);
        for name in &found {
            fs::remove_file(marks.join(String::from_utf8_lossy(name).as_ref())).unwrap();
        }
        found
    }

    /// Puts a trap in the home: a file whose being run leaves a mark of its name.
    pub(crate) fn plants(&self, path: &str) {
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

pub(crate) fn mounted(scratch: &Scratch) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", MOUNTS]).arg(scratch.path());
    command.arg(server::program().unwrap()).args(["-f", "/etc/ssh/sshd_config"]);
    command
}

/// A client that is to be seen doing something before it is ended.
pub(crate) struct Waiting(pub(crate) Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
