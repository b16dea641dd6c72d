#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scp_server_fuzz::config::run(data));
