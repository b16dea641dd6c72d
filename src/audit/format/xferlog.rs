//! A transfer as wu-ftpd and ProFTPD log it (xferlog(5)), for the many programs that read that.

use jiff::Timestamp;

use crate::audit::facts::{Direction, Session, Transfer};

/// Writes the fourteen fields. They are separated by blanks: in a name a blank is `\x20`, and escapes are as elsewhere,
/// so that a name can be turned back; those servers write underscores, and lose it.
pub(super) fn write(
    now: Timestamp,
    session: &Session,
    transfer: &Transfer<'_>,
    whole: bool,
    limit: usize,
) -> String {
    let host = session.from.as_ref().map_or(&b"-"[..], |(address, _)| address);
    // From the root, as if there were nothing else; without one, as the client wrote it.
    let what = transfer.what.trail();
    let path = match what.inside() {
        Some(inside) => [b"/", inside].concat(),
        None => what.as_bytes().to_vec(),
    };
    let direction = if session.direction == Some(Direction::Download) { "o" } else { "i" };
    let status = if whole { "c" } else { "i" };
    [
        // UTC: the local time's rules cannot be read in the sandbox.
        &now.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        // Whole seconds, as there.
        &transfer.began.elapsed().as_secs().to_string(),
        &one_word(host, limit),
        &transfer.passed.bytes.to_string(),
        &one_word(&path, limit),
        // Binary, no special action.
        "b",
        "_",
        direction,
        // A real account, no guest.
        "r",
        &one_word(&session.user, limit),
        session.protocol,
        // sshd has authenticated; the protocol's own way of asking is none of RFC 1413's.
        "0",
        "*",
        status,
    ]
    .join(" ")
}

fn one_word(bytes: &[u8], limit: usize) -> String {
    super::shown(bytes, limit).replace(' ', "\\x20")
}
