//! What clients send, byte for byte: those that cannot be run in a test are played here.
//!
//! Each session is what that client's source says: the command it has the server run, when it waits, how it leaves.

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

fn a_yard() -> Yard {
    let yard = Yard::new();
    yard.dir("d").file("a", "hello").dir("t").file("t/f", "contents");
    yard.times("a", 1_600_000_000, 1_600_000_001).times("t/f", 1_600_000_002, 1_600_000_003);
    yard.times("t", 1_600_000_004, 1_600_000_005);
    yard
}

/// Plays a client that leaves by closing the connection: both ways at once.
fn disconnects(peer: &mut Peer) -> &mut Peer {
    peer.stops_listening().hangs_up()
}

/// Sees the end of a session whose client did not wait for it.
#[track_caller]
fn nobody_sees_the_end(yard: &Yard, peer: &mut Peer) {
    if yard.openssh("dies of SIGPIPE when the client leaves at once") {
        peer.sees_any_end();
    } else {
        peer.sees_whatever_exit();
    }
}

// covers: clients 2.5, clients 2.9, clients 3.8, clients 3.12
#[test]
fn winscp_puts_a_tree_and_waits_for_the_exit_after_its_last_e() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -p -d -t \"d\"");
    peer.hears_ok();
    peer.says_record("T1600000000 0 1600000001 0").hears_ok().says_record("D0755 0 new").hears_ok();
    peer.says_record("T1600000002 0 1600000003 0").hears_ok().stores("C0640 3 f", "abc");
    peer.says_record("E").hears_ok().says_record("E").hears_ok().sees_exit(0);
    assert_eq!(yard.stamps("d/new"), (1_600_000_000, 1_600_000_001));
    assert_eq!(yard.stamps("d/new/f").0, 1_600_000_002);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.5, clients 2.9, clients 2.13, clients 3.12
#[test]
fn winscp_puts_files_skips_one_and_is_told_of_an_error() {
    let yard = a_yard();
    yard.dir("d/taken");
    let mut peer = Peer::asks(&yard, "scp  -d -t \"d\"");
    peer.hears_ok().says_record("T1600000000 0 1600000001 0").hears_ok().stores("C0644 1 f", "1");
    peer.says("\x01scp: error\n").says_record("T1 0 1 0").hears_ok().says_record("C0644 1 taken");
    assert!(peer.hears_refusal().starts_with("d/taken: "));
    peer.says_record("E").hears_ok().sees_exit(1);
    yard.has("d/f", "1");
}

// covers: clients 2.1, clients 3.7, clients 3.16, clients 3.9
#[test]
fn winscp_gets_a_file_with_all_its_flags_and_its_stdin_open() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -p -d -f \"a\"");
    peer.says_ok()
        .hears_record("T1600000000 0 1600000001 0")
        .says_ok()
        .hears_file("C0644 5 a", "hello")
        .sees_exit(0);
}

// covers: clients 2.13, clients 3.9
#[test]
fn winscp_refuses_a_file_and_cancels_a_transfer() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -d -f \"a\"");
    peer.says_ok().hears_record("C0644 5 a").says("\x01scp: error\n").sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -r -d -f \"t\"");
    peer.says_ok()
        .hears_record("D0755 0 t")
        .says_ok()
        .hears_record("C0644 8 f")
        .says("\x02scp: error\n")
        .sees_exit(1);
}

// covers: clients 2.9, clients 2.6, clients 3.5
#[test]
fn ssh_net_puts_a_file_and_a_tree_with_an_old_date() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -d \"d\"");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok().stores("C0644 1 f", "1");
    disconnects(&mut peer).sees_whatever_exit();
    yard.has("d/f", "1");
    let mut peer = Peer::asks(&yard, "scp -r -p -d -t \"d\"");
    peer.hears_ok().says_record("T-11644473600 0 -11644473600 0");
    if yard.openssh("takes a blank after T, or seconds before 1970, for an error") {
        peer.hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.hears_ok().says_record("D0755 0 new").hears_ok().stores("C0644 1 g", "2");
    peer.says_record("E").hears_ok().says_record("E").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/new/g", "2");
}

// covers: clients 2.12, clients 3.5, clients 3.6
#[test]
fn ssh_net_gets_a_tree() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -prf \"t\"");
    peer.says_ok();
    for record in ["T1600000004 0 1600000005 0", "D0755 0 t", "T1600000002 0 1600000003 0"] {
        peer.hears_record(record).says_ok();
    }
    peer.hears_file("C0644 8 f", "contents").hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.8
#[test]
fn ssh_net_before_2017_names_its_file_in_the_command_only() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t \"d/f\"");
    peer.hears_ok().says_record("C0644 3 ");
    if yard.openssh("takes an empty name for an error even where the name is not used") {
        assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
        peer.sees_exit(1);
        return;
    }
    peer.hears_ok().says("abc\0").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/f", "abc");
    // As its directory, so to speak, it is refused, by OpenSSH too.
    let mut peer = Peer::asks(&yard, "scp -rt \"d\"");
    peer.hears_ok().says_record("D0755 0 .");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -t \"d\"");
    peer.hears_ok().says_record("C0644 3 ");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
}

// covers: clients 2.5, clients 2.7, clients 2.11
#[test]
fn sshj_puts_a_tree_with_modes_of_its_own_length() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -r -l100 'd'");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok();
    peer.says_record("D0755 0 new").hears_ok().stores("C0600 1 f", "1");
    if !yard.openssh("takes a mode that has not four digits for an error") {
        peer.stores("C044 1 g", "2").stores("C00644 1 h", "3");
    }
    peer.says_record("E").hears_ok();
    disconnects(&mut peer).sees_exit(0);
    assert_eq!(yard.stamps("d/new").0, 1_600_000_000);
}

// covers: clients 3.6, clients 3.14
#[test]
fn sshj_gets_a_tree() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f -q -p -r t");
    peer.says_ok();
    for record in ["T1600000004 0 1600000005 0", "D0755 0 t", "T1600000002 0 1600000003 0"] {
        peer.hears_record(record).says_ok();
    }
    peer.hears_file("C0644 8 f", "contents").hears_record("E").says_ok();
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 2.1, clients 3.8, clients 3.9
#[test]
fn mina_puts_a_tree_and_a_stream_after_which_it_waits_in_vain() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -d -r -p -t -- d");
    peer.hears_ok()
        .says_record("T1600000000 0 1600000000 0")
        .hears_ok()
        .says_record("D0755 0 new")
        .hears_ok();
    peer.stores("C0644 1 f", "1").says_record("E").hears_ok().hangs_up().sees_exit(0);
    // Up to 2.11 it waits for the exit before it sends the end, and gives up waiting after five seconds.
    let mut peer = Peer::asks(&yard, "scp -t -- d/g");
    peer.hears_ok().stores("C0644 1 g", "2").hears_nothing().hangs_up().sees_exit(0);
    yard.has("d/g", "2");
}

// covers: clients 3.6, clients 2.4
#[test]
fn mina_and_pscp_acknowledge_contents_before_our_status_byte() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -f -- a t");
    peer.says_ok().hears_record("C0644 5 a").says_ok().hears_exactly("hello").says_ok().hears_ok();
    peer.hears_record("D0755 0 t")
        .says_ok()
        .hears_record("C0644 8 f")
        .says_ok()
        .hears_exactly("contents")
        .says_ok();
    peer.hears_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.6, clients 2.11
#[test]
fn jsch_puts_a_file_with_a_blank_after_t_and_disconnects() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -p -t 'd/f'");
    peer.hears_ok().says_record("T 1600000000 0 1600000000 0");
    if yard.openssh("takes a blank after T, or seconds before 1970, for an error") {
        peer.hears_that("protocol error: mtime.sec not present").sees_exit(1);
        return;
    }
    peer.hears_ok().says_record("C0644 3 f").hears_ok().says("abc").says_ok().hears_ok();
    disconnects(&mut peer).sees_exit(0);
    assert_eq!(yard.stamps("d/f").0, 1_600_000_000);
    yard.has("d/f", "abc");
}

// covers: clients 2.8
#[test]
fn jsch_on_windows_sends_a_whole_path_with_a_drive_as_the_name() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp  -t d");
    peer.hears_ok().stores("C0644 3 C:\\Users\\x\\f", "abc");
    disconnects(&mut peer).sees_exit(0);
    yard.has("d/C:\\Users\\x\\f", "abc");
}

// covers: clients 2.12, clients 3.2, clients 3.4
#[test]
fn jsch_gets_a_file_and_disconnects() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f 'a'");
    peer.says_ok().hears_at_once("C0644 5 a\n").says_ok().hears_at_once("hello").hears_ok().says_ok();
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 2.9, clients 2.11
#[test]
fn trilead_wagon_and_ganymed_end_with_an_e_and_close_unread() {
    for (command, stored) in [("scp -t -d d", "d/f"), ("scp -t \"d/g\"", "d/g"), ("scp -p -t \"d/h\"", "d/h")]
    {
        let yard = a_yard();
        let mut peer = Peer::asks(&yard, command);
        peer.hears_ok().stores("C0644 3 f", "abc").says_record("E");
        disconnects(&mut peer);
        nobody_sees_the_end(&yard, &mut peer);
        yard.has(stored, "abc");
    }
}

// covers: clients 2.2, clients 2.12, clients 3.4
#[test]
fn trilead_gets_as_many_files_as_it_named() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f a t/f");
    peer.says_ok().hears_file("C0644 5 a", "hello").hears_file("C0644 8 f", "contents");
    disconnects(&mut peer).sees_exit(0);
}

// covers: clients 3.4, clients 3.12
#[test]
fn wagon_gets_a_file_and_understands_that_one_is_not_there() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -p -f \"a\"");
    peer.says_ok()
        .hears_record("T1600000000 0 1600000001 0")
        .says_ok()
        .hears_file("C0644 5 a", "hello")
        .sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -p -f \"none\"");
    peer.says_ok().hears_exactly("\x01scp: none: No such file or directory\n").sees_exit(1);
}

// covers: clients 2.7, clients 2.10, clients 3.11, clients 3.10, clients 2.15
#[test]
fn libssh2_puts_a_file_whose_end_is_the_end_of_the_stream() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pt 'd/f'");
    peer.hears_ok().says_record("T1600000000 0 1600000000 0").hears_ok();
    if yard.openssh("takes a mode that has not four digits for an error") {
        peer.says_record("C0100644 3 f").hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.says_record("C0100644 3 f").hears_ok().says("abc");
    disconnects(&mut peer).sees_whatever_exit();
    yard.has("d/f", "abc");
    assert_eq!((yard.mode("d/f"), yard.stamps("d/f").0), (0o644, 1_600_000_000));
    // It never sees what becomes of its contents: what can be refused is refused with the header.
    yard.dir("d/taken");
    let mut peer = Peer::asks(&yard, "scp -t 'd/taken/'");
    peer.hears_ok().says_record("C0644 3 ");
    assert!(peer.hears_refusal().starts_with("error: unexpected filename: "));
    peer.sees_exit(1);
    let mut peer = Peer::asks(&yard, "scp -t 'none/f'");
    peer.hears_ok()
        .says_record("C0644 3 f")
        .hears_that("none/f: No such file or directory")
        .hangs_up()
        .sees_exit(1);
}

// covers: clients 2.12, clients 3.4, clients 3.19
#[test]
fn libssh2_gets_a_file_and_leaves_when_it_has_the_bytes() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pf 'a'");
    peer.says_ok().hears_record("T1600000000 0 1600000001 0").says_ok().hears_record("C0644 5 a").says_ok();
    peer.hears_exactly("hello");
    disconnects(&mut peer);
    nobody_sees_the_end(&yard, &mut peer);
}

// covers: clients 2.3, clients 3.13
#[test]
fn libssh_is_one_acknowledgement_behind() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -r 'd'");
    peer.hears_ok().says_record("C0644 3 f").hears_ok().says("abc");
    peer.says("\0C0644 5 g\n").hears_oks(2).says("hello").says("\0D0755 0 new\n").hears_oks(2);
    peer.says_record("C0600 0 h").hears_ok().says("\0E\n").hears_oks(2).hangs_up().sees_exit(0);
    yard.has("d/f", "abc");
    yard.has("d/g", "hello");
    yard.has("d/new/h", "");
}

// covers: clients 3.4
#[test]
fn libssh_gets_a_tree_and_dies_of_times_it_did_not_ask_for() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -f -r  't'");
    peer.says_ok().hears_record("D0755 0 t").says_ok().hears_record("C0644 8 f").says_ok();
    peer.hears_exactly("contents").says_ok().hears_ok().hears_record("E").says_ok().sees_exit(0);
}

// covers: clients 2.5, clients 2.15
#[test]
fn scp_py_puts_files_with_times_it_did_not_announce() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -r -t d");
    peer.hears_ok()
        .says_record("T1600000000 0 1600000000 0")
        .hears_ok()
        .says_record("D0755 0 new")
        .hears_ok();
    peer.stores("C0644 3 f", "abc").says_record("E").hears_ok().hangs_up().sees_exit(0);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.2, clients 3.1, clients 3.2, clients 3.7, clients 2.13
#[test]
fn scp_py_gets_files_record_by_record_and_waits_for_us_to_leave() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -p -f a t/f");
    peer.says_ok();
    for (times, record, contents) in [
        ("T1600000000 0 1600000001 0\n", "C0644 5 a\n", "hello"),
        ("T1600000002 0 1600000003 0\n", "C0644 8 f\n", "contents"),
    ] {
        peer.hears_at_once(times).says_ok().hears_at_once(record).says_ok();
        peer.hears_at_once(contents).hears_at_once(b"\0").says_ok();
    }
    peer.sees_exit(0);
    // It refuses without a line feed and is gone.
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says_ok().hears_record("C0644 5 a").says("\x01unexpected");
    disconnects(&mut peer).sees_exit(1);
}

// covers: clients 2.3, clients 2.1
#[test]
fn go_scp_sends_its_header_and_contents_before_it_listens() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -qt \"d/f\"");
    peer.says("C0644 3 f\n").says("abc").says_ok().hangs_up().hears_oks(3).sees_exit(0);
    yard.has("d/f", "abc");
    if !yard.openssh("takes a mode that has not four digits for an error") {
        let mut peer = Peer::asks(&yard, "scp -qt \"d/g\"");
        peer.says("C644 3 g\nabc\0").hangs_up().hears_oks(3).sees_exit(0);
        assert_eq!(yard.mode("d/g"), 0o644);
    }
}

// covers: clients 3.1, clients 3.7, clients 3.5
#[test]
fn go_scp_gets_a_file_and_waits_for_the_exit_with_its_stdin_open() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -pf \"a\"");
    peer.says_ok().hears_record("T1600000000 0 1600000001 0").says_ok();
    peer.hears_record("C0644 5 a").hears_nothing().says_ok().hears_exactly("hello\0").says_ok().sees_exit(0);
}

// covers: clients 2.7, clients 2.9
#[test]
fn povsister_sends_modes_of_go_and_an_e_after_a_single_file() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -q -t 'd/f'");
    peer.hears_ok();
    if yard.openssh("takes a mode that has not four digits for an error") {
        peer.says_record("C040000755 3 f").hears_refusal();
        peer.sees_exit(1);
        return;
    }
    peer.says_record("C040000755 3 f")
        .hears_ok()
        .says("abc\0")
        .hears_ok()
        .says_record("E")
        .hears_ok()
        .sees_exit(0);
    assert_eq!(yard.mode("d/f"), 0o755);
    let mut peer = Peer::asks(&yard, "scp -q -t -r -v 'd'");
    peer.hears_ok().says_record("D020000000755 0 new").hears_ok().stores("C0644 1 g", "1");
    peer.says_record("E").hears_ok().says_record("E").hears_ok().hangs_up().sees_stderr();
    peer.sees_exit(0);
    assert_eq!(yard.mode("d/new"), 0o755);
}

// covers: clients 3.2, clients 3.5, clients 3.6
#[test]
fn povsister_gets_a_tree_by_reads_of_fixed_size() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -q -f -r -p 't'");
    peer.says_ok();
    for record in
        ["T1600000004 0 1600000005 0\n", "D0755 0 t\n", "T1600000002 0 1600000003 0\n", "C0644 8 f\n"]
    {
        peer.hears_at_once(record).says_ok();
    }
    peer.hears_at_once("contents")
        .hears_at_once(b"\0")
        .says_ok()
        .hears_at_once("E\n")
        .says_ok()
        .hangs_up()
        .sees_exit(0);
}

// covers: clients 2.3, clients 2.6
#[test]
fn hnakamur_sends_microseconds_and_contents_before_the_acknowledgement() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -tpr 'd'");
    peer.says_record("T1600000000 123456 1600000001 654321").says_record("D0755 0 new");
    peer.says("C0644 3 f\nabc\0").says_record("E").hangs_up().hears_oks(6).sees_exit(0);
    yard.has("d/new/f", "abc");
}

// covers: clients 2.4
#[test]
fn hnakamur_and_net_scp_acknowledge_an_error() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -fp 'none'");
    peer.says_ok().hears_that("none: No such file or directory").says_ok().sees_exit(1);
}

// covers: clients 2.17, clients 2.3, clients 3.8
#[test]
fn dtylman_relies_on_our_exit_after_what_it_takes_for_an_acknowledgement() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t d");
    peer.says("C0644 3 f\nabc").says("\0\0\n\r").hears_oks(3).hears_the_rest();
    peer.sees_exit(1);
    yard.has("d/f", "abc");
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says("\0\0\n\r").hears_record("C0644 5 a").says("\0\0\n\r").hears_exactly("hello\0").sees_exit(1);
}

// covers: clients 2.3
#[test]
fn tmc_minikube_and_a_shells_printf_say_everything_at_once() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t d");
    peer.says("C0644 3 f\nabc\0").hangs_up().hears_oks(3).sees_exit(0);
    yard.has("d/f", "abc");
    // The same people fetch with as many zeros as it takes.
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says([0; 4]).hangs_up().hears_exactly("C0644 5 a\nhello\0").sees_exit(0);
}

// covers: clients 2.3, clients 3.17
#[test]
fn packer_and_terraform_fall_behind_by_an_acknowledgement_per_directory() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -rvt d");
    peer.says_record("D0755 0 one").hears_ok().says_record("D0755 0 two").hears_ok();
    peer.says_record("C0644 3 f").hears_ok().says("abc").says_ok().hears_ok();
    peer.says_record("E").says_record("D0700 0 three").hears_ok().says_record("E").says_record("E");
    peer.says_record("C0644 1 g").hears_ok().says("1\0").hangs_up().hears_oks(5).sees_stderr();
    peer.sees_exit(0);
    yard.has("d/one/two/f", "abc");
    yard.has("d/g", "1");
}

// covers: clients 3.17, clients 3.4
#[test]
fn packer_gets_a_tree_with_v() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -vrf t");
    peer.says_ok()
        .hears_record("D0755 0 t")
        .says_ok()
        .hears_file("C0644 8 f", "contents")
        .hears_record("E")
        .says_ok();
    peer.sees_stderr();
    peer.sees_exit(0);
}

// covers: clients 2.9, clients 3.7
#[test]
fn groovy_ssh_ends_with_an_e_and_waits_for_the_exit() {
    let yard = a_yard();
    Peer::asks(&yard, "scp -t d/f")
        .hears_ok()
        .stores("C0644 3 f", "abc")
        .says_record("E")
        .hears_ok()
        .sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -tr d");
    peer.hears_ok()
        .says_record("D0755 0 new")
        .hears_ok()
        .stores("C0644 1 g", "1")
        .says_record("E")
        .hears_ok();
    peer.says_record("E").hears_ok().sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -f a");
    peer.says_ok().hears_file("C0644 5 a", "hello").sees_exit(0);
}

// covers: clients 3.1, clients 3.2, clients 3.18
#[test]
fn ssh_rs_takes_one_packet_for_one_reply() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -t -q -r -p d");
    peer.hears_at_once(b"\0");
    for record in ["T1600000000 0 1600000000 0", "D0775 0 new", "T1600000000 0 1600000000 0", "C0664 3 f"] {
        peer.says_record(record).hears_at_once(b"\0");
    }
    peer.says("abc").says_ok().hears_at_once(b"\0").says_record("E").hears_at_once(b"\0");
    disconnects(&mut peer).sees_exit(0);
    assert_eq!((yard.mode("d/new"), yard.mode("d/new/f")), (0o775, 0o664));
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f -q -r -p a");
    peer.says_ok()
        .hears_at_once("T1600000000 0 1600000001 0\n")
        .says_ok()
        .hears_at_once("C0644 5 a\n")
        .says_ok();
    peer.hears_at_once("hello").hears_at_once(b"\0").says_ok().sees_exit(0);
}

// covers: clients 2.10, clients 3.2, clients 3.18, clients 3.21
#[test]
fn phpseclib_takes_a_reply_as_a_packet_and_never_says_the_last_byte() {
    let yard = a_yard();
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -t 'd/f'");
    peer.hears_at_once(b"\0").says_record("C0644 3 f").hears_at_once(b"\0").says("abc").hangs_up();
    if yard.openssh("takes it for an error when the client leaves instead of sending the last status byte") {
        peer.hears_the_rest();
        peer.sees_exit(1);
    } else {
        peer.hears_the_rest();
        peer.sees_exit(0);
    }
    yard.has("d/f", "abc");
    let mut peer = Server::of(&yard).whose_writes_are_seen().asks("scp -f 'a'");
    peer.says_ok().hears_at_once("C0644 5 a\n").says_ok().hears_at_once("hello").hears_at_once(b"\0");
    disconnects(&mut peer).sees_whatever_exit();
}

// covers: clients 2.6, clients 2.4, clients 3.9
#[test]
fn net_scp_sends_microseconds_and_wants_an_exit_of_zero() {
    let yard = a_yard();
    let mut peer = Peer::asks(&yard, "scp -t -v -r -p d");
    peer.hears_ok()
        .says_record("T1600000000 5 1600000001 999999")
        .hears_ok()
        .stores("C0644 1 f", "1")
        .hangs_up();
    peer.sees_stderr();
    peer.sees_exit(0);
    let mut peer = Peer::asks(&yard, "scp -f -r -p t none a");
    let heard = peer.says([0; 20]).hangs_up().hears_the_rest();
    peer.sees_exit(1);
    let text = heard.escape_ascii().to_string();
    assert!(
        text.contains("C0644 8 f") && text.contains("C0644 5 a") && text.contains("\\x01scp: none: No such"),
        "{text}"
    );
}

// covers: clients 2.1, clients 2.5, clients 3.14
#[test]
fn ant_camel_asyncssh_and_pscp_put_a_tree() {
    for command in ["scp -r -d -t -p -C d", "scp -r -t d", "scp -t -d -p -r d", "scp -r -p -t d"] {
        let yard = a_yard();
        let mut peer = Peer::asks(&yard, command);
        peer.hears_ok().says_record("D0755 0 new").hears_ok();
        peer.says_record("T1600000000 0 1600000001 0").hears_ok().stores("C0644 3 f", "abc");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        yard.has("d/new/f", "abc");
        assert_eq!(yard.stamps("d/new/f").0, 1_600_000_000, "{command}");
    }
}

// covers: clients 3.14
#[test]
fn pscp_gets_a_tree_in_which_something_is_wrong() {
    let yard = a_yard();
    yard.fifo("t/pipe");
    let mut peer = Peer::asks(&yard, "scp -r -f t");
    if yard.openssh("warns in the middle of a tree, at which PuTTY's pscp gives up") {
        peer.says([0; 9]).hangs_up().hears_the_rest();
        peer.sees_exit(1);
        return;
    }
    peer.says_ok().hears_record("D0755 0 t").says_ok().hears_file("C0644 8 f", "contents");
    peer.hears_that("t/pipe: not a regular file").hears_record("E").says_ok().sees_exit(1);
}

// covers: clients 2.4
#[test]
fn users_of_node_say_a_zero_byte_per_chunk() {
    let yard = a_yard();
    yard.file("big", vec![b'x'; 200_000]);
    let mut peer = Peer::asks(&yard, "scp -f big a");
    peer.says_ok().hears_record("C0644 200000 big").says_ok();
    for _ in 0..5 {
        peer.hears_exactly([b'x'; 40_000]).says_ok();
    }
    // One of the five was the answer to the contents; the next two are those to `a`.
    peer.hears_exactly("\0C0644 5 a\nhello\0").sees_exit(0);
}
