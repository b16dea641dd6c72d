//! Questions that an administrator asks before anybody tries: nothing is served, and nothing is changed.
//!
//! No client gets here: its words are looked for in other places than the command line's first word.

mod authorized_key;
mod check;
mod explain;

pub use authorized_key::lines as authorized_keys;
pub use check::{Findings, check};
pub use explain::{Explanation, explain};
