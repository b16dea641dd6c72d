//! A long line: a private sshd on loopback, and a relay in front of it that holds every byte for a while.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const SSHD: &str = "/usr/sbin/sshd";
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// How long a server may take to be there.
const DEADLINE: Duration = Duration::from_secs(10);

/// sshd and the relay. Dropped, both end.
pub struct Line {
    home: PathBuf,
    sshd: Child,
    port: u16,
    /// One way, in microseconds.
    delay: Arc<AtomicU64>,
}

/// An open connection that further sessions use. Dropped, it is closed.
pub struct Connection {
    master: Child,
    socket: PathBuf,
}

impl Line {
    /// Starts sshd with one key for each command that is forced, and one, `plain`, without.
    ///
    /// # Errors
    /// There is no sshd, or it does not start.
    pub fn new(home: &Path, forced: &[(&str, String)]) -> io::Result<Self> {
        fs::create_dir_all(home)?;
        let keygen = |name: &str| {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(home.join(name));
            succeed(&mut keygen)
        };
        keygen("host")?;
        let mut keys = String::new();
        for (name, command) in forced {
            keygen(name)?;
            let key = fs::read_to_string(home.join(format!("{name}.pub")))?;
            keys += &format!("restrict,command=\"{command}\" {key}");
        }
        keygen("plain")?;
        keys += &format!("restrict {}", fs::read_to_string(home.join("plain.pub"))?);
        fs::write(home.join("authorized_keys"), keys)?;

        let port = free_port()?;
        let at = home.display();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n\
             UseDNS no\nMaxStartups 100\nMaxSessions 100\nLogLevel ERROR\nSubsystem sftp {SFTP_SERVER}\n"
        );
        fs::write(home.join("sshd_config"), config)?;
        // Where sshd is not set up as a service, this is missing; without the right to make it, it is not needed.
        let _ = fs::create_dir_all("/run/sshd");
        let sshd = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(home.join("sshd_config"))
            .stdin(Stdio::null())
            .spawn()?;
        let delay = Arc::new(AtomicU64::new(0));
        let relay = relay(port, Arc::clone(&delay))?;
        let line = Self { home: home.to_path_buf(), sshd, port: relay, delay };
        wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        Ok(line)
    }

    /// From now on every byte takes so long, each way.
    pub fn takes(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The machine's `scp`, or another of its clients, to be called with a key.
    pub fn client(&self, program: &str, key: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "none"]);
        command.arg("-i").arg(self.home.join(key));
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            &format!("Port={}", self.port),
        ] {
            command.args(["-o", option]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Opens a connection for several sessions.
    ///
    /// # Errors
    /// It could not be opened in time.
    pub fn connect(&self, key: &str) -> io::Result<Connection> {
        let socket = self.home.join(format!("to-{key}"));
        let mut master = self.client("ssh", key);
        master.arg("-o").arg(format!("ControlPath={}", socket.display())).args(["-M", "-N", "127.0.0.1"]);
        let connection = Connection { master: master.spawn()?, socket };
        wait_until(|| connection.socket.exists())?;
        Ok(connection)
    }
}

impl Connection {
    /// Lets a client use this connection.
    pub fn serves(&self, client: &mut Command) {
        client.arg("-o").arg(format!("ControlPath={}", self.socket.display()));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// Runs a command, its output seen only if it fails; returns how long it took.
///
/// # Errors
/// It could not be run, or did not succeed.
pub fn succeed(command: &mut Command) -> io::Result<Duration> {
    let began = Instant::now();
    let output = command.output()?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {}: {why}", output.status)))
}

/// Accepts connections and passes them on to `to`, late. Returns the port.
fn relay(to: u16, delay: Arc<AtomicU64>) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
            let ends = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
            let Ok((near_again, far_again)) = ends else { continue };
            pass_on(near, far_again, Arc::clone(&delay));
            pass_on(far, near_again, Arc::clone(&delay));
        }
    });
    Ok(port)
}

/// Passes one direction on: what is read at a moment is written that moment and the delay later.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Arc<AtomicU64>) {
    let _ = to.set_nodelay(true);
    let (put, take) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if put.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_until(mut done: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + DEADLINE;
    while !done() {
        if Instant::now() > end {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
