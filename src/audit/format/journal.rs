//! An entry of systemd's journal in its native protocol: the line, and a field for each value.
//!
//! Written here and not by a library: those look for the socket, or make a file of memory, when the sandbox is on.

use super::line::bare;
use crate::audit::event::Severity;
use crate::audit::fields::Field;
use crate::audit::outlet::FACILITY;

/// Writes the entry. No value has a line feed in it, so that each is `KEY=value` and a line: texts are escaped as in the
/// readable line, because journalctl shows fields on terminals.
pub(super) fn write(severity: Severity, text: &str, fields: &[Field<'_>], limit: usize) -> String {
    let program = env!("CARGO_PKG_NAME");
    let mut entry = format!(
        "MESSAGE={text}\nPRIORITY={}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER={program}\n",
        severity.number()
    );
    for Field { key, value } in fields {
        entry.push_str(&format!("SCP_{}={}\n", key.to_ascii_uppercase(), bare(value, limit)));
    }
    entry
}
