//! A private sshd on a loopback port, with throwaway keys and one forced command.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::bench::{Scratch, start, within};

/// The lines that sshd_config should have beside the forced command: they leave the account nothing but scp.
const HARDENING: &str = "DisableForwarding yes\nPermitTTY no\nPermitUserRC no\nPermitTunnel no\n";

/// What a sshd is to serve.
pub(crate) struct Setup<'a> {
    pub(crate) root: &'a Path,
    /// Options of ours beside `--root`.
    pub(crate) options: &'a [&'a str],
    /// Who logs in; nobody: the one who runs the tests.
    pub(crate) account: Option<&'a str>,
}

/// A running sshd; ended when dropped.
pub(crate) struct Sshd {
    home: Scratch,
    listener: Child,
    port: u16,
    account: String,
}

impl Sshd {
    /// Tells whether there is one on this machine.
    pub(crate) fn is_installed() -> bool {
        program().is_some()
    }

    pub(crate) fn start(setup: &Setup<'_>) -> Self {
        let home = Scratch::new();
        for key in ["host", "user"] {
            make_key(home.path(), &format!("{key}_ed25519"), &["-t", "ed25519"]);
            // For clients from before Ed25519, in the form that they can read.
            make_key(home.path(), &format!("{key}_rsa"), &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
        }
        let public = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
        let keys = public("user_ed25519.pub") + &public("user_rsa.pub");
        fs::write(home.path().join("authorized_keys"), keys).unwrap();
        if program_is_roots() {
            // Where sshd wants to put its unprivileged half; a service manager makes it otherwise.
            fs::create_dir_all("/run/sshd").unwrap();
        }

        let account = setup.account.map_or_else(me, str::to_owned);
        let forced = forced_command(&home, setup);
        // Somebody else may take the port between the look and the start.
        for _ in 0..5 {
            let port = free_port();
            if let Some(listener) = listen(&home, port, &forced) {
                let sshd = Self { home, listener, port, account };
                sshd.write_client_files();
                return sshd;
            }
        }
        panic!("sshd does not start: {}", log(&home));
    }

    /// Writes what a client needs to know: a configuration with the host `host`, and the keys of that host.
    fn write_client_files(&self) {
        let home = self.home.path();
        let mut known = String::new();
        for key in ["host_ed25519.pub", "host_rsa.pub"] {
            let key = fs::read_to_string(home.join(key)).unwrap();
            known.push_str(&format!("[127.0.0.1]:{} {key}", self.port));
        }
        fs::write(home.join("known_hosts"), known).unwrap();
        let config = format!(
            "Host host\n HostName 127.0.0.1\n Port {port}\n User {account}\n IdentityFile {home}/user_ed25519\n \
             IdentitiesOnly yes\n UserKnownHostsFile {home}/known_hosts\n GlobalKnownHostsFile /dev/null\n \
             StrictHostKeyChecking yes\n BatchMode yes\n LogLevel ERROR\n",
            port = self.port,
            account = self.account,
            home = home.display(),
        );
        fs::write(home.join("ssh_config"), config).unwrap();
    }

    /// Returns the path of one of the files around it: a key, `known_hosts`, `ssh_config`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Prepares `scp -O`, the client of OpenSSH speaking the protocol that is ours.
    pub(crate) fn scp(&self) -> Command {
        let mut command = self.openssh("scp");
        command.arg("-O");
        command
    }

    /// Prepares one of OpenSSH's clients, which knows this sshd as `host`.
    pub(crate) fn openssh(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.file("ssh_config"));
        command
    }

    /// Returns the variables from which a client in `tests/clients` learns where to go.
    pub(crate) fn directions(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("SCP_HOST", "127.0.0.1".into()),
            ("SCP_PORT", self.port.to_string().into()),
            ("SCP_USER", self.account.clone().into()),
            ("SCP_KEY", self.file("user_ed25519").into()),
            ("SCP_RSA_KEY", self.file("user_rsa").into()),
            ("SCP_HOST_KEY", self.file("host_ed25519.pub").into()),
            ("SCP_KNOWN_HOSTS", self.file("known_hosts").into()),
            ("SCP_SSH_CONFIG", self.file("ssh_config").into()),
        ]
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The listener only: a session ends with its client.
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

/// Tells whether the tests are to be run against the machine's own scp.
pub(crate) fn openssh_is_tested() -> bool {
    std::env::var_os("SCP_SERVER_TESTED").is_some_and(|tested| tested == "openssh")
}

/// Returns the name of the one who runs the tests.
pub(crate) fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

/// Returns the binary where every account can run it: the build's own place may be in a closed home.
pub(crate) fn binary_for_all(home: &Scratch) -> PathBuf {
    let path = home.path().join("scp-server");
    // Another program does the copying: a descriptor of ours, open for writing while a test beside this one
    // forks, would make the copy "busy" for exec.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_scp-server")).arg(&path).status();
    assert!(copied.unwrap().success());
    path
}

fn forced_command(home: &Scratch, setup: &Setup<'_>) -> String {
    let root = setup.root.display();
    if openssh_is_tested() {
        return format!("cd '{root}' && exec sh -c \"$SSH_ORIGINAL_COMMAND\"");
    }
    let binary = binary_for_all(home);
    let options = setup.options.join(" ");
    format!("{} --root {root} {options}", binary.display())
}

fn listen(home: &Scratch, port: u16, forced: &str) -> Option<Child> {
    // A bash that believes to be the second one (SHLVL) leaves out ~/.bashrc, which may do anything.
    let dir = home.path().display();
    let config = home.path().join("sshd_config");
    let base = format!(
        "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nHostKey {dir}/host_ed25519\nHostKey {dir}/host_rsa\n\
         AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\nLogLevel INFO\n\
         HostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n\
         KexAlgorithms +diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1\nMACs +hmac-sha1\n\
         SetEnv SHLVL=2\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n{HARDENING}"
    );
    // Newer ones shut out a host that connects and leaves, as the look below does.
    let lenient = format!("{base}PerSourcePenalties no\n");
    for text in [lenient, base] {
        fs::write(&config, format!("{text}ForceCommand {forced}\n")).unwrap();
        let understood = Command::new(program()?).arg("-t").arg("-f").arg(&config).output();
        if understood.unwrap().status.success() {
            break;
        }
    }
    let mut command = Command::new(program()?);
    command.args(["-D", "-e", "-f"]).arg(&config);
    let log = home.path().join("log");
    let mut listener = start(&mut command, Path::new("/dev/null"), &log);
    let mut ended = false;
    let listens = within(Duration::from_secs(60), || {
        ended = listener.try_wait().unwrap().is_some();
        ended || greets(port)
    });
    if listens && !ended {
        return Some(listener);
    }
    let _ = listener.kill();
    let _ = listener.wait();
    None
}

pub(crate) fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut banner = [0; 4];
    stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-"
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) fn make_key(dir: &Path, name: &str, kind: &[&str]) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "test", "-f"])
        .arg(dir.join(name))
        .args(kind)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// sshd has to be called by its whole path: it runs itself anew for every connection.
pub(crate) fn program() -> Option<&'static str> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| {
        fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    })
}

fn program_is_roots() -> bool {
    nix::unistd::geteuid().is_root()
}

fn log(home: &Scratch) -> String {
    fs::read_to_string(home.path().join("log")).unwrap_or_default()
}
