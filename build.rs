//! Links the C library and the unwinder into the program, position independent still, where the C compiler has them as
//! archives: to find, map and relocate shared libraries is a fifth of the time from the start to the first reply, and a sixth
//! of the memory. `-C target-feature=+crt-static` would do the same, but cargo applies that to procedural macros as well, which
//! must be shared libraries. The feature `dynamic` leaves it out.

#![expect(clippy::disallowed_methods, reason = "it works where cargo lets it, and serves nobody")]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the standard library asks the linker for, and whose archive it gets: the last two are parts of libc since glibc 2.34,
/// empty where they are still there.
const LIBRARIES: [(&str, &str); 7] = [
    ("c", "c"),
    ("gcc_s", "gcc_eh"),
    ("m", "m"),
    ("util", "util"),
    ("rt", "rt"),
    ("pthread", "pthread"),
    ("dl", "dl"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    // Another target's archives are another compiler's business; musl's programs are static already.
    let foreign = variable("HOST") != target || !target.ends_with("-linux-gnu");
    if foreign || env::var_os("CARGO_FEATURE_DYNAMIC").is_some() {
        return Ok(());
    }
    let places: Option<Vec<_>> =
        LIBRARIES.iter().map(|(_, archive)| place(&format!("lib{archive}.a"))).collect();
    // The last is how such a program begins.
    let (Some(places), Some(_)) = (places, place("rcrt1.o")) else { return Ok(()) };
    // Libraries are looked for by name, a shared one first: but not in a directory that has none.
    let here = PathBuf::from(variable("OUT_DIR")).join("archives");
    if here.exists() {
        fs::remove_dir_all(&here)?;
    }
    fs::create_dir(&here)?;
    for ((name, _), place) in LIBRARIES.iter().zip(places) {
        symlink(place, here.join(format!("lib{name}.a")))?;
    }
    println!("cargo::rustc-link-arg-bins=-L{}", here.display());
    println!("cargo::rustc-link-arg-bins=-static-pie");
    if glibc_minor().is_some_and(|minor| minor >= 36) {
        // Before, it cannot read them, and the program would not start. Without, a hundred kilobytes are read to find out what
        // has to be moved.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Archives need each other, and GNU's linker looks into each once where it is named.
    println!("cargo::rustc-link-arg-bins=-Wl,--start-group,-lc,-lgcc_s,-lgcc,--end-group");
    Ok(())
}

/// Finds out where the C compiler has a file.
fn place(name: &str) -> Option<PathBuf> {
    let said = compiler(&[&format!("-print-file-name={name}")], "")?;
    // It says the name alone where it has none.
    let place = Path::new(said.trim());
    place.is_absolute().then(|| place.to_owned())
}

/// Finds out which glibc 2 that is.
fn glibc_minor() -> Option<u32> {
    compiler(&["-E", "-P", "-x", "c", "-"], "#include <features.h>\n__GLIBC_MINOR__\n")?.trim().parse().ok()
}

/// Has the C compiler say something.
fn compiler(words: &[&str], text: &str) -> Option<String> {
    let mut command = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    let mut asked = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    asked.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let said = asked.wait_with_output().ok()?;
    String::from_utf8(said.stdout).ok()
}
