//! The server's half of scp.

use std::process::ExitCode;

fn main() -> ExitCode {
    scp_server::run(std::env::args_os())
}
