//! An entry of systemd's journal in its native protocol: the line, and a field for each value.
//!
//! Written here and not by a library: those look for the socket, or make a file of memory, when the sandbox is on.

use crate::audit::event::Severity;
use crate::audit::fields::{Field, Value};
use crate::audit::outlet::FACILITY;
use crate::wire::escape;

/// Writes the entry. No value has a line feed in it, so that each is `KEY=value` and a line: texts are escaped as in the
/// readable line, because journalctl shows fields on terminals.
pub(super) fn write(severity: Severity, text: &str, fields: &[Field<'_>], limit: usize) -> String {
    let program = env!("CARGO_PKG_NAME");
    let mut entry = format!(
        "MESSAGE={text}\nPRIORITY={}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER={program}\n",
        severity.number()
    );
    for Field { key, value } in fields {
        let value = match value {
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Seconds(time) => format!("{:.6}", time.as_secs_f64()),
            Value::Word(word) => word.to_string(),
            Value::Text(bytes) => {
                let (kept, dots) = super::cut(bytes, limit);
                escape(kept) + dots
            }
        };
        entry.push_str(&format!("SCP_{}={value}\n", key.to_ascii_uppercase()));
    }
    entry
}
