//! Shows what an input of a target is: `show sink FILE`.

use std::env;

fn main() {
    let arguments: Vec<_> = env::args().collect();
    let [_, target, file] = arguments.as_slice() else { return eprintln!("show sink|source FILE") };
    #[allow(clippy::disallowed_methods, reason = "a path from the command line")]
    let data = std::fs::read(file).unwrap();
    match target.as_str() {
        "sink" => scp_server_fuzz::sink::show(&data),
        _ => scp_server_fuzz::source::show(&data),
    }
}
