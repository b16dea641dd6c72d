//! A machine that is set up as the README says: its files, its accounts, and a sshd.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cell;
use crate::sshd::bench::{Scratch, run, skip, start, within};
use crate::sshd::server;

/// Mounts what the sshd is to see, and makes the directories of the recipes; `$0` has all of it.
const MOUNTS: &str = "set -e
mkdir -p /run/sshd
for device in null zero full random urandom tty; do
    : > \"$0/dev/$device\"
    mount --bind \"/dev/$device\" \"$0/dev/$device\"
done
mount --rbind \"$0/dev\" /dev
mount --bind \"$0/srv\" /srv
for lower in etc var usr/bin; do mount -t overlay -o \"lowerdir=$0/$lower:/$lower\" none \"/$lower\"; done
for upper in etc/ssh var/empty; do mount --bind \"$0/$upper\" \"/$upper\"; done
. \"$0/install\"
exec \"$@\"";

const GROUP: u32 = 54400;

/// The accounts, their numbers, and the keys of each.
const ACCOUNTS: [(&str, u32, &[&str]); 5] = [
    ("acme", 54401, &["acme"]),
    ("web", 54402, &["deploy", "web"]),
    ("router-7", 54403, &["router-7"]),
    ("mirror", 54404, &["mirror"]),
    // In the group, and in no recipe.
    ("eve", 54405, &["eve"]),
];

/// The key of the README's that deploys.
const FINGERPRINT: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

/// The machine, as long as it runs.
pub(crate) struct Site {
    scratch: Scratch,
    listener: Child,
    syslog: Syslog,
}

impl Site {
    /// Returns nothing, and says so, where there is no sshd or no right to set one up like this.
    pub(crate) fn open() -> Option<Self> {
        Self::with(str::to_owned)
    }

    /// Changes a line of the recipes before they are used.
    pub(crate) fn with(change: impl Fn(&str) -> String) -> Option<Self> {
        if !server::openssh_is_tested() && server::program().is_none() {
            skip("sshd is not installed");
            return None;
        }
        if !cell::is_about_confinement() || !cell::is_root() || !crate::mounts::can_mount() {
            return None;
        }
        let scratch = Scratch::new();
        furnish(&scratch, &change(&section()));
        let syslog = Syslog::listen(&scratch.path().join("dev/log"));
        for _ in 0..5 {
            let port = server::free_port();
            configure(&scratch, port);
            let mut sshd = mounted(&scratch, &[server::program().unwrap(), "-D", "-e"]);
            let mut listener = start(&mut sshd, Path::new("/dev/null"), &scratch.path().join("log"));
            let mut ended = false;
            let listens = within(Duration::from_secs(60), || {
                ended = listener.try_wait().unwrap().is_some();
                ended || server::greets(port)
            });
            if listens && !ended {
                write_client_files(&scratch, port);
                return Some(Self { scratch, listener, syslog });
            }
            let _ = listener.kill();
            let _ = listener.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(scratch.path().join("log")).unwrap());
    }

    /// Prepares `scp -O`; its hosts are called like the keys.
    pub(crate) fn scp(&self) -> Command {
        let mut scp = self.client("scp");
        scp.arg("-O");
        scp
    }

    pub(crate) fn ssh(&self, host: &str) -> Command {
        let mut ssh = self.client("ssh");
        ssh.arg(host);
        ssh
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.scratch.path().join("ssh_config")).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Prepares a program that sees what the sshd sees.
    pub(crate) fn inside(&self, command: &[&str]) -> Command {
        mounted(&self.scratch, command)
    }

    /// Returns the machine's /srv.
    pub(crate) fn srv(&self) -> PathBuf {
        self.scratch.path().join("srv")
    }

    /// Returns the client's own directory.
    pub(crate) fn here(&self) -> PathBuf {
        self.scratch.dir("here")
    }

    pub(crate) fn scratch_dir(&self, name: &str) -> PathBuf {
        self.scratch.dir(name)
    }

    /// Makes a file of the client's.
    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.here().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn fingerprint(&self, key: &str) -> String {
        fingerprint(&self.scratch, key)
    }

    /// Asserts that the system's log has an event in which all of this is.
    #[track_caller]
    pub(crate) fn logged(&self, parts: &[&str]) {
        let said = |line: &String| parts.iter().all(|part| line.contains(part));
        let found = within(Duration::from_secs(10), || self.syslog.lines.lock().unwrap().iter().any(said));
        assert!(found, "{parts:?}: {:#?}", self.syslog.lines.lock().unwrap());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The listener only: a session ends with its client.
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

/// The system's log.
struct Syslog {
    lines: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Syslog {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (lines, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (Arc::clone(&lines), Arc::clone(&over));
        let reader = thread::spawn(move || {
            let mut datagram = vec![0; 1 << 16];
            while !ended.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut datagram) {
                    heard.lock().unwrap().push(String::from_utf8_lossy(&datagram[..length]).into_owned());
                }
            }
        });
        Self { lines, over, reader: Some(reader) }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Waits until a day that is about to end is over: directories are named after it.
pub(crate) fn not_at_midnight() {
    assert!(within(Duration::from_secs(400), || now("%H%M").parse::<u32>().unwrap() < 2355));
}

/// Returns the time in the machine's zone.
pub(crate) fn now(format: &str) -> String {
    run(Command::new("date").arg(format!("+{format}"))).out.trim().to_owned()
}

/// The README's section on recipes.
fn section() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let sections: Vec<&str> = readme.split("\n## Recipes\n").collect();
    assert_eq!(sections.len(), 2, "one section on recipes, and what stands before it");
    sections[1].split("\n## ").next().unwrap().to_owned()
}

/// Takes the files out of the section: each block of them says in its first line where it belongs.
fn files(section: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::<String, String>::new();
    let mut file = None;
    for line in section.lines() {
        match line.strip_prefix("    ") {
            Some(code) => {
                let place = code.strip_prefix("# /").map(str::to_owned);
                let name = match (&file, place) {
                    (None, place) => place.expect("a block says where it belongs"),
                    (Some(name), _) => String::clone(name),
                };
                let text = files.entry(name.clone()).or_default();
                *text += &format!("{code}\n");
                file = Some(name);
            }
            None if line.is_empty() => {
                if let Some(name) = &file {
                    *files.get_mut(name).unwrap() += "\n";
                }
            }
            None => file = None,
        }
    }
    files
}

/// Writes what the machine has, beside what this one has.
fn furnish(scratch: &Scratch, section: &str) {
    let dir = scratch.path();
    for made in ["dev", "srv", "var/empty", "usr/bin", "etc/ssh/authorized_keys.d", "etc/ssh/sshd_config.d"] {
        scratch.dir(made);
    }
    // Beside the directories of the accounts.
    fs::write(dir.join("srv/secret"), "secret").unwrap();
    let files = files(section);
    let places: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(places, ["etc/scp-server.toml", "etc/ssh/sshd_config.d/scp-server.conf"]);
    let (mut passwd, mut group) = (String::new(), format!("scponly:x:{GROUP}:\npartners:x:54410:acme\n"));
    server::make_key(&dir.join("etc/ssh"), "host", &["-t", "ed25519"]);
    for (account, id, keys) in ACCOUNTS {
        passwd += &format!("{account}:*:{id}:{GROUP}::/var/empty:/bin/sh\n");
        let public = keys.iter().map(|key| {
            server::make_key(dir, key, &["-t", "ed25519"]);
            fs::read_to_string(dir.join(format!("{key}.pub"))).unwrap()
        });
        let public: String = public.collect();
        fs::write(dir.join("etc/ssh/authorized_keys.d").join(account), public).unwrap();
    }
    passwd += &fs::read_to_string("/etc/passwd").unwrap();
    group += &fs::read_to_string("/etc/group").unwrap();
    fs::write(dir.join("etc/passwd"), passwd).unwrap();
    fs::write(dir.join("etc/group"), group).unwrap();
    let mut install = String::new();
    for (place, text) in files {
        let commands = text.lines().filter(|line| line.starts_with("# install "));
        install.extend(commands.map(|line| format!("{}\n", &line[2..])));
        assert!(text.matches(FINGERPRINT).count() == usize::from(place.ends_with(".toml")));
        fs::write(dir.join(place), text.replace(FINGERPRINT, &fingerprint(scratch, "deploy"))).unwrap();
    }
    assert_eq!(install.lines().count(), 4);
    fs::write(dir.join("install"), install).unwrap();
    let binary = server::binary_for_all(scratch);
    fs::rename(binary, dir.join("usr/bin/scp-server")).unwrap();
}

/// Writes the sshd's configuration, with what a distribution has beside the recipes' file.
fn configure(scratch: &Scratch, port: u16) {
    let base = format!(
        "Include /etc/ssh/sshd_config.d/*.conf\nPort {port}\nListenAddress 127.0.0.1\nPidFile none\n\
         HostKey /etc/ssh/host\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PrintMotd no\nAcceptEnv LANG LC_*\nMaxStartups 100\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
    );
    // Newer ones shut out a host that connects and leaves, as the look for the port does.
    for text in [format!("PerSourcePenalties no\n{base}"), base] {
        fs::write(scratch.path().join("etc/ssh/sshd_config"), text).unwrap();
        if mounted(scratch, &[server::program().unwrap(), "-t"]).output().unwrap().status.success() {
            break;
        }
    }
}

fn write_client_files(scratch: &Scratch, port: u16) {
    let dir = scratch.path().display();
    let host = fs::read_to_string(scratch.path().join("etc/ssh/host.pub")).unwrap();
    fs::write(scratch.path().join("known_hosts"), format!("machine {host}")).unwrap();
    let mut config = String::new();
    for (account, _, keys) in ACCOUNTS {
        let hosts =
            keys.iter().map(|key| format!("Host {key}\n User {account}\n IdentityFile {dir}/{key}\n"));
        config.extend(hosts);
    }
    config += &format!(
        "Host *\n HostName 127.0.0.1\n Port {port}\n HostKeyAlias machine\n IdentitiesOnly yes\n \
         UserKnownHostsFile {dir}/known_hosts\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n \
         BatchMode yes\n LogLevel ERROR\n"
    );
    fs::write(scratch.path().join("ssh_config"), config).unwrap();
}

fn mounted(scratch: &Scratch, program: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", MOUNTS]).arg(scratch.path()).args(program);
    command
}

fn fingerprint(scratch: &Scratch, key: &str) -> String {
    let printed = run(Command::new("ssh-keygen").arg("-lf").arg(scratch.path().join(format!("{key}.pub"))));
    printed.out.split(' ').nth(1).unwrap().to_owned()
}
