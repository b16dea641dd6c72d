//! The server's half of scp, confined to one directory.
//!
//! [`run`] is the story of one invocation; each room it calls touches one outside thing, or none.

pub mod abort;
pub mod account;
pub mod ahead;
pub mod attr;
pub mod audit;
pub mod bytes;
pub mod channel;
pub mod config;
pub mod etc;
pub mod jail;
pub mod key;
pub mod name;
pub mod options;
pub mod pattern;
pub mod policy;
pub mod questions;
pub mod refusal;
pub mod request;
pub mod sandbox;
pub mod seats;
pub mod signals;
pub mod sink;
pub mod source;
pub mod wire;
pub mod words;
pub mod zones;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use abort::Abort;
use audit::{Event, Session};
use channel::Channel;
use jail::Jail;
use options::{Authorize, Entry, Options, Order};
use policy::{Account, Denied, Destination, Grant, Sandbox, Section, Terms};
use refusal::Tally;
use request::{Request, Usage};
use sandbox::Direction;
use seats::Seat;
use signals::Signals;
use words::Word;

/// Serves one request and returns the exit status: 0 or 1, never anything else.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // A defect of ours is the administrator's business: the client sees no path of our source, and the exit status that
    // it knows. Unwinding has run the guards: no half-written file is left.
    panic::set_hook(Box::new(|defect| {
        // Recorded or not, the session is over.
        let _ = audit::record(&Event::Defect(defect));
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| invocation(arguments).and_then(obey)));
    match outcome.unwrap_or(Err(Told::Abort)) {
        Ok(Tally { refused: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) | Err(Told::Abort) => ExitCode::FAILURE,
        Err(Told::Help) => ExitCode::SUCCESS,
        Err(Told::Usage(why)) => {
            // stderr is the client's screen; if it is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "scp-server: {why}");
            ExitCode::FAILURE
        }
    }
}

/// How an invocation ended without a tally.
enum Told {
    /// The peer has had its last words.
    Abort,
    /// Help or version was asked for and printed.
    Help,
    /// One sentence is to be said on stderr.
    Usage(String),
}

fn obey(order: Order) -> Result<Tally, Told> {
    match order {
        Order::Authorize(Authorize { options, keys }) => {
            let lines = questions::authorized_keys(&options, &keys).map_err(usage)?;
            answer(lines.join("\n") + "\n", true)
        }
        Order::Check(asked) => {
            let findings = questions::check(&asked);
            answer(&findings, findings.are_harmless())
        }
        Order::Explain(asked) => {
            let spelled = spell(&asked.options.entry)?;
            match understand(&asked.options.entry, &spelled) {
                Err(Told::Usage(why)) => answer(format_args!("denied: {why}\n"), false),
                request => {
                    let explanation = questions::explain(*asked, &request?).map_err(usage)?;
                    answer(&explanation, explanation.is_allowed())
                }
            }
        }
        Order::Report => report(),
        Order::Serve(options) => serve(*options),
    }
}

/// One invocation from the request to the last answer.
fn serve(options: Options) -> Result<Tally, Told> {
    sandbox::close_inherited();
    let spelled = spell(&options.entry)?;
    let request = understand(&options.entry, &spelled);

    let account = account::look_up();
    let config = etc::read(options.config.as_deref(), &options.line, Some(&account));
    let terms = match config {
        Ok(config) => config.terms(&account, Timestamp::now()),
        Err(wrong) => Terms::barred(options.line, Denied::Misconfigured(wrong.to_string())),
    };

    // Before the first byte is read or written: a signal from here on ends the session between two of them.
    let signals = Signals::block().map_err(usage)?;
    // The log comes before all that may be refused, so that it hears of that, too.
    let opened = audit::open(terms.journal(), session(&account, request.as_ref().ok(), &terms));
    let recorded = opened.and_then(|()| audit::record(&Event::Began { request: &spelled }));
    let request = request.inspect_err(|told| {
        if let Told::Usage(why) = told {
            // Nothing is served in any case.
            let _ = audit::record(&Event::Rejected(why));
        }
    })?;

    let (input, output) = channel::standard_streams().map_err(usage)?;
    let channel = Channel::new(input, output, Some(signals), terms.patience());
    let channel = channel.with_rate(terms.rate(&request));
    let mut channel = channel.with_checksum(terms.journal().checksum);
    let seats = etc::directory(options.config.as_deref());
    match recorded.and_then(|()| converse(terms, &account, &request, seats, &mut channel)) {
        Ok(tally) => audit::record(&Event::Ended(&tally)).map(|()| tally).map_err(|_| Told::Abort),
        Err(abort) => {
            // Recorded or not, the session is over.
            if let Abort::Refused(refusal) = &abort {
                let _ = audit::record(&Event::Refused(refusal));
            }
            let _ = audit::record(&Event::Aborted(&abort));
            if let Some(words) = abort.last_words() {
                // Said or not, the session is over.
                let _ = channel.complain(&words);
            }
            Err(Told::Abort)
        }
    }
}

/// Decides, opens the jail, gives up what is not needed, and only then listens to the peer.
fn converse(
    terms: Terms,
    account: &Account,
    request: &Request,
    seats: &Path,
    channel: &mut Channel,
) -> Result<Tally, Abort> {
    let mut grant = policy::decide(terms, account, request, Timestamp::now()).map_err(Abort::Denied)?;
    if let Some(group) = &grant.storage.group {
        grant.storage.group_id = Some(account::group_id(group).map_err(Abort::Denied)?);
    }
    // Until the session is over, and before anything is opened for it.
    let _seat = grant.limits.sessions.map(|limit| sit(seats, account, limit)).transpose()?;
    // The kernel's limit on files would hold for a log that is a file as well.
    let log_is_file = matches!(grant.journal.destination, Some(Destination::File(_)));
    let (demand, file_size) = (grant.sandbox, grant.limits.file_size.filter(|_| !log_is_file));
    let manners = grant.manners;
    let jail = Jail::open(grant).map_err(Abort::Unavailable)?;
    if jail.holds_home() {
        audit::record(&Event::HomeInside)?;
    }
    let direction = Direction::of(request, jail.unit());
    let layers = sandbox::enter(demand, jail.bounds(), direction, file_size).map_err(Abort::Unprotected)?;
    audit::learn(|session| session.layers = layers.active().collect());
    layers.missing().try_for_each(|missing| audit::record(&Event::Unprotected(missing)))?;
    // Only now is the peer listened to.
    match request {
        Request::Fetch(fetch) => source::run(fetch, &jail, channel),
        Request::Store(store) => {
            let tally = sink::run(store, manners, &jail, channel)?;
            jail.settle().map_err(Abort::Unsettled)?;
            Ok(tally)
        }
    }
}

/// Takes a seat among the account's sessions.
fn sit(seats: &Path, account: &Account, limit: u64) -> Result<Seat, Abort> {
    let seat = seats::take(seats, account.uid, limit).map_err(|errno| {
        let why = format!("max-sessions needs locks on {}: {}", seats.display(), errno.desc());
        Abort::Denied(Denied::Misconfigured(why))
    })?;
    seat.ok_or(Abort::Denied(Denied::Crowded(limit)))
}

/// Says on stdout which layers of the sandbox this kernel enforces, having put itself into them.
fn report() -> Result<Tally, Told> {
    let everywhere = Grant::default();
    let jail = Jail::open(everywhere).map_err(usage)?;
    let lookup = jail::report_lookup();
    let layers = sandbox::enter(Sandbox::Try, jail.bounds(), Direction::Storing, None).map_err(usage)?;
    answer(format_args!("{layers}{lookup}\n"), layers.missing().next().is_none())
}

/// Prints what an administrator has asked for; the exit status says whether all is well.
fn answer(text: impl Display, well: bool) -> Result<Tally, Told> {
    write!(io::stdout(), "{text}").map_err(usage)?;
    Ok(Tally { copied: 0, refused: u64::from(!well) })
}

/// Reads our own command line. Called by the name scp, there is none: every word is the client's.
fn invocation(mut arguments: impl Iterator<Item = OsString>) -> Result<Order, Told> {
    let program = arguments.next().unwrap_or_default();
    if program.is_empty() || program.as_bytes().starts_with(b"-") {
        // An empty argv, or an interactive login: sshd puts a dash before the shell's name.
        return Err(usage(Usage::NoCommand));
    }
    if Path::new(&program).file_name() == Some(OsStr::new("scp")) {
        let entry = Entry::Arguments(arguments.collect());
        // As OpenSSH's, it waits for ever, unless the file says something else.
        let line = Section { idle_timeout: Some(0), stall_timeout: Some(0), ..Section::default() };
        return Ok(Order::Serve(Box::new(Options { line, config: None, entry })));
    }
    options::parse(arguments).map_err(|error| {
        if error.use_stderr() {
            return usage(error.render().to_string().trim_start_matches("error: ").trim_end());
        }
        let _ = error.print();
        Told::Help
    })
}

/// Returns the request as the client or the administrator spelled it.
fn spell(entry: &Entry) -> Result<Vec<u8>, Told> {
    match entry {
        Entry::Arguments(words) => Ok(words.join(OsStr::new(" ")).as_bytes().to_vec()),
        Entry::Command(command) => Ok(command.as_bytes().to_vec()),
        Entry::Environment => {
            let command = env::var_os("SSH_ORIGINAL_COMMAND").ok_or_else(|| usage(Usage::NoCommand))?;
            Ok(command.as_bytes().to_vec())
        }
    }
}

fn understand(entry: &Entry, spelled: &[u8]) -> Result<Request, Told> {
    match entry {
        Entry::Arguments(words) => {
            let words: Vec<Word> = words.iter().map(|word| Word::literal(word.as_bytes())).collect();
            request::arguments(&words).map_err(usage)
        }
        Entry::Command(_) | Entry::Environment => {
            let words = words::split(spelled).map_err(usage)?;
            request::parse(&words).map_err(usage)
        }
    }
}

/// Says who the session is for, as far as sshd tells us, and what is said of him.
fn session(account: &Account, request: Option<&Request>, terms: &Terms) -> Session {
    let connection = env::var_os("SSH_CONNECTION").unwrap_or_default();
    Session::new(account, connection.as_bytes(), request, terms)
}

fn usage(why: impl Display) -> Told {
    Told::Usage(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Config;

    #[test]
    fn called_by_the_name_scp_it_waits_for_ever_unless_the_file_says_how_long() {
        let words = ["/usr/bin/scp", "-t", "x"].map(OsString::from);
        let Ok(Order::Serve(options)) = invocation(words.into_iter()) else { panic!("a request is served") };
        let bob = Account::default();
        let patience = |default: &str| {
            let file = config::read("f", default, None).unwrap();
            let config = Config {
                default: file.default.into_iter().map(|entry| *entry).collect(),
                ..Config::of_line(options.line.clone())
            };
            let patience = config.terms(&bob, Timestamp::now()).patience();
            (patience.idle, patience.stall, patience.total)
        };
        assert_eq!(patience(""), (None, None, None));
        assert_eq!(patience("[default]\nidle-timeout = 5"), (Some(5), Some(900), None));
    }
}
