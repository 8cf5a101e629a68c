//! The person at the terminal: questions whose answers are not shown, and plain ones.
//!
//! The terminal itself is asked (`/dev/tty`), so that standard input and output may be files.
//! While a secret is typed the terminal neither echoes nor makes signals of keys, so that Ctrl-C comes here and the
//! terminal is never left mute.

use std::io;

use zeroize::Zeroizing;

/// More than anybody types.
#[cfg(unix)]
const LONGEST: usize = 1024;

/// Why there is no answer, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("there is no terminal to ask on")]
    NoTerminal,
    /// Its terminal would stop it for ever.
    #[error("this is in the background, where nobody can answer")]
    Background,
    #[error("cancelled at the terminal")]
    Cancelled,
    #[error("the terminal cannot be read")]
    Io(#[source] io::Error),
}

/// Asks for a secret, which is not shown.
pub(crate) fn ask_secret(question: &str) -> Result<Zeroizing<String>, AskError> {
    imp::ask(question, imp::Shown::No)
}

/// Asks for something that may be seen.
pub(crate) fn ask(question: &str) -> Result<Zeroizing<String>, AskError> {
    imp::ask(question, imp::Shown::Yes)
}

#[cfg(unix)]
mod imp {
    use std::{
        fs::{File, OpenOptions},
        io::{self, Write as _},
    };

    use rustix::{
        process,
        termios::{self, LocalModes, OptionalActions, Termios},
    };
    use zeroize::Zeroizing;

    use super::{AskError, LONGEST};

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum Shown {
        Yes,
        No,
    }

    /// A terminal that gives keys one by one; as it was before when this is dropped.
    struct Keys<'a> {
        terminal: &'a File,
        before: Termios,
    }

    impl<'a> Keys<'a> {
        fn of(terminal: &'a File) -> io::Result<Self> {
            let before = termios::tcgetattr(terminal)?;
            let mut mode = before.clone();
            mode.local_modes
                .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
            termios::tcsetattr(terminal, OptionalActions::Drain, &mode)?;
            Ok(Self { terminal, before })
        }
    }

    impl Drop for Keys<'_> {
        fn drop(&mut self) {
            // A terminal that is gone has no mode.
            termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before).ok();
        }
    }

    pub(super) fn ask(question: &str, shown: Shown) -> Result<Zeroizing<String>, AskError> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
        let mut terminal = terminal.map_err(|_| AskError::NoTerminal)?;
        // Whoever asks from the background is stopped by the terminal, and says nothing any more.
        if termios::tcgetpgrp(&terminal).is_ok_and(|group| group != process::getpgrp()) {
            return Err(AskError::Background);
        }
        let keys = match shown {
            Shown::Yes => None,
            Shown::No => Some(terminal.try_clone().map_err(AskError::Io)?),
        };
        let keys = keys.as_ref().map(Keys::of).transpose().map_err(AskError::Io)?;
        // The question comes when the terminal is ready for the answer.
        terminal.write_all(question.as_bytes()).map_err(AskError::Io)?;
        let answer = line(&mut terminal);
        if keys.is_some() {
            // The end of the line that was not echoed.
            terminal.write_all(b"\n").map_err(AskError::Io)?;
        }
        answer
    }

    fn line(from: &mut impl io::Read) -> Result<Zeroizing<String>, AskError> {
        const INTERRUPT: u8 = 0x03;
        const END: u8 = 0x04;
        const BACKSPACE: u8 = 0x08;
        const KILL: u8 = 0x15;
        const DELETE: u8 = 0x7f;
        // Whole from the start, so that no shorter copy is left behind.
        let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
        let mut byte = [0];
        // One by one: what follows the line is the answer to another question.
        while read_some(from, &mut byte)? {
            match byte[0] {
                b'\n' | b'\r' => break,
                INTERRUPT => return Err(AskError::Cancelled),
                END if typed.is_empty() => return Err(AskError::Cancelled),
                END => break,
                KILL => typed.clear(),
                BACKSPACE | DELETE => {
                    // A letter is one byte that begins it and those that go on.
                    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                }
                _ if typed.len() == LONGEST => {}
                byte => typed.push(byte),
            }
        }
        let text = std::str::from_utf8(&typed).map_err(|_| AskError::Io(io::ErrorKind::InvalidData.into()))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Whether there was another byte.
    fn read_some(from: &mut impl io::Read, byte: &mut [u8; 1]) -> Result<bool, AskError> {
        loop {
            match from.read(byte) {
                Ok(read) => return Ok(read == 1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AskError::Io(error)),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_line_is_edited_as_on_a_terminal() {
            let check = |keys: &[u8], expect: Option<&str>| {
                let line = line(&mut &*keys).ok();
                assert_eq!(line.as_ref().map(|line| line.as_str()), expect, "for {keys:?}");
            };
            check(b"four words\nmore", Some("four words"));
            check(b"four\r", Some("four"));
            check(b"foux\x7fr\n", Some("four"));
            check("fü\x08our\n".as_bytes(), Some("four"));
            check(b"\x7fno\x15yes\n", Some("yes"));
            check(b"half", Some("half"));
            check(b"half\x04", Some("half"));
            check(b"\x04", None);
            check(b"ab\x03c\n", None);
            check(b"\xff\n", None);
            assert_eq!(
                line(&mut "x".repeat(2000).as_bytes()).ok().map(|line| line.len()),
                Some(LONGEST)
            );
        }
    }
}

/// Elsewhere a passphrase comes from a file or a variable.
#[cfg(not(unix))]
mod imp {
    use zeroize::Zeroizing;

    use super::AskError;

    pub(super) enum Shown {
        Yes,
        No,
    }

    pub(super) fn ask(_question: &str, _shown: Shown) -> Result<Zeroizing<String>, AskError> {
        Err(AskError::NoTerminal)
    }
}
