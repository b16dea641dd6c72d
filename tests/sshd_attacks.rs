//! A real sshd with the recommended configuration, as it is in `packaging/`: what else a client asks of it is refused or
//! without effect. Each has its control, without the lines that count.

mod site;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::sandbox::intruder;
use crate::sshd::bench::{names, run, skip, start, within};
use crate::sshd::server;
use site::{ACCOUNT, ID, Setup, Site, Waiting, mounted};

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
        "SetEnv=LD_PRELOAD={copy} INTRUDER_MARK={marks}/preload SHLVL=2 BASH_ENV={0}/bash_env ENV={0}/bash_env",
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
    let (nowhere, log) = (Path::new("/dev/null"), site.scratch.path().join("client"));
    let out = {
        let _agent = Waiting(start(Command::new("ssh-agent").args(["-D", "-a"]).arg(&agent), nowhere, &log));
        assert!(within(Duration::from_secs(30), || agent.exists()));
        run(site.client("ssh").args(["-A", "host", "x"]).env("SSH_AUTH_SOCK", &agent)).out
    };
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
    let told = {
        let mut client = Waiting(start(&mut client, nowhere, &log));
        let mut stream = None;
        within(Duration::from_secs(30), || {
            stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok();
            stream.is_some() || client.0.try_wait().unwrap().is_some()
        });
        // Either the service is called, or the client is told that nobody is to be called.
        within(Duration::from_secs(30), || {
            let called = service.accept().is_ok();
            had.extend(called.then_some("socket"));
            called || fs::read_to_string(&log).unwrap().contains("open failed")
        })
    };
    assert!(told, "{}", fs::read_to_string(&log).unwrap());
    // A port and a socket that sshd opens as the account.
    let planted = site.root().join("planted.sock");
    let at_the_server = format!("/srv/scp/{ACCOUNT}/planted.sock:127.0.0.1:1");
    for (what, forward) in [("port", "127.0.0.1:0:127.0.0.1:1"), ("planted socket", &at_the_server)] {
        let mut client = site.client("ssh");
        client.args(["-N", "-v", "-o", "ExitOnForwardFailure=yes", "-R", forward, "host"]);
        let mut client = Waiting(start(&mut client, nowhere, &log));
        within(Duration::from_secs(30), || {
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
