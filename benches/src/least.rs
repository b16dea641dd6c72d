//! The cheapest server there can be: it creates, writes and closes files, and keeps none of the promises. What it takes is
//! what the kernel takes, and no server takes less.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};

/// When it answers.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Answers {
    /// Each record, and the contents, when they have come.
    InTurn,
    /// All at once, before anything has come.
    Ahead(usize),
}

/// Stores a directory of files in the working directory.
///
/// # Errors
/// The client says something else than the measurement's does.
pub fn sink(answers: Answers) -> io::Result<()> {
    let (mut input, mut output) = (BufReader::with_capacity(64 * 1024, io::stdin().lock()), io::stdout());
    let mut answer = |count: usize| output.write_all(&vec![0; count]).and_then(|()| output.flush());
    let in_turn = usize::from(answers == Answers::InTurn);
    match answers {
        Answers::InTurn => answer(1)?,
        // The first reply, two for the directory, and two for each file.
        Answers::Ahead(files) => answer(3 + 2 * files)?,
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
                let mut file = File::create_new(format!("{directory}/{name}"))?;
                answer(in_turn)?;
                contents.resize(size + 1, 0);
                input.read_exact(&mut contents)?;
                file.write_all(&contents[..size])?;
            }
            Some(b'E') => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        answer(in_turn)?;
    }
}
