//! A server that makes hardly any calls but those of the files themselves: it creates, writes and closes, or opens and sends, and
//! keeps none of the promises. What it takes is what those calls take.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// When it answers.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Answers {
    /// Each record, and the contents, when they have come.
    InTurn,
    /// All at once, before anything has come.
    Ahead(usize),
}

/// When a file gets its name.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Named {
    /// With its first byte.
    AtOnce,
    /// With its last one, as by a server that never shows half of a file.
    WhenWhole,
}

/// What a file is called before that.
const TEMPORARY: &str = ".scp-least";

/// Stores a directory of files in the working directory.
///
/// # Errors
/// The client says something else than the measurement's does.
pub fn sink(answers: Answers, named: Named) -> io::Result<()> {
    let (mut input, mut output) = (BufReader::with_capacity(64 * 1024, io::stdin().lock()), io::stdout());
    let mut answer = |count: usize| output.write_all(&vec![0; count]).and_then(|()| output.flush());
    let in_turn = usize::from(answers == Answers::InTurn);
    match answers {
        Answers::InTurn => answer(1)?,
        // The first reply, three for the directory, and three for each file: as many as with times.
        Answers::Ahead(files) => answer(4 + 3 * files)?,
    }
    let (mut line, mut directory, mut contents) = (String::new(), String::new(), Vec::new());
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut fields = line.trim_end().splitn(3, ' ');
        let (mode, size, name) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
        match mode.and_then(|mode| mode.bytes().next()) {
            Some(b'D') => {
                directory = name.to_owned();
                fs::create_dir(&directory)?;
            }
            Some(b'C') => {
                let size: usize =
                    size.and_then(|size| size.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
                let name = format!("{directory}/{name}");
                let temporary = format!("{directory}/{TEMPORARY}");
                let mut file = File::create_new(if named == Named::AtOnce { &name } else { &temporary })?;
                answer(in_turn)?;
                contents.resize(size + 1, 0);
                input.read_exact(&mut contents)?;
                file.write_all(&contents[..size])?;
                if named == Named::WhenWhole {
                    fs::rename(&temporary, &name)?;
                }
            }
            Some(b'E' | b'T') => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        answer(in_turn)?;
    }
}

/// Sends a file that is in the working directory, or a directory of files.
///
/// # Errors
/// The client leaves early.
pub fn source(name: &Path) -> io::Result<()> {
    let mut wire = Wire {
        input: File::from(io::stdin().as_fd().try_clone_to_owned()?),
        output: File::from(io::stdout().as_fd().try_clone_to_owned()?),
        contents: Vec::new(),
    };
    wire.hear()?;
    if !name.is_dir() {
        return wire.send(name);
    }
    wire.ask(&format!("D0755 0 {}", name.display()))?;
    for entry in fs::read_dir(name)? {
        wire.send(&entry?.path())?;
    }
    wire.ask("E")
}

struct Wire {
    input: File,
    output: File,
    contents: Vec<u8>,
}

/// Bytes from which on it is worth it that they are not copied, and that a pipe holds then.
const LARGE: u64 = 1024 * 1024;

impl Wire {
    fn hear(&mut self) -> io::Result<()> {
        self.input.read_exact(&mut [0])
    }

    fn ask(&mut self, record: &str) -> io::Result<()> {
        self.output.write_all(format!("{record}\n").as_bytes())?;
        self.hear()
    }

    fn send(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.ask(&format!("C0644 {size} {name}"))?;
        if size >= LARGE {
            self.splice(&file, size)?;
        } else {
            self.contents.resize(usize::try_from(size).unwrap_or_default(), 0);
            file.read_exact(&mut self.contents)?;
            self.output.write_all(&self.contents)?;
        }
        self.output.write_all(&[0])?;
        self.hear()
    }

    fn splice(&self, file: &File, size: u64) -> io::Result<()> {
        let (from, to) = (file.as_raw_fd(), self.output.as_raw_fd());
        // SAFETY: a call that takes two numbers.
        unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, 1024 * 1024) };
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        while left > 0 {
            // SAFETY: without offsets there is no memory that the call touches.
            let moved =
                unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), left, 0) };
            match usize::try_from(moved) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => left -= moved,
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}
