//! Failures of commands and their exit codes.

use std::fmt;
use std::process::ExitCode;

use crate::private_text::reveal;
use crate::server;

/// Exit code of an invalid command line or setting.
pub(super) const USAGE: u8 = 2;

/// The reason why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line, a variable or the configuration file.
    Usage(anyhow::Error),
    /// A signal stopped a sync.
    Stopped {
        /// The message about the stopped sync.
        message: anyhow::Error,
        /// The exit code of the signal.
        code: u8,
    },
    /// Any other failure.
    Run(anyhow::Error),
}

impl Failure {
    /// An invalid setting.
    pub(super) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// Any other failure.
    pub(super) fn run(error: impl Into<anyhow::Error>) -> Self {
        Self::Run(error.into())
    }

    /// The exit code of the program.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The number of the exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Stopped { code, .. } => *code,
            Self::Run(_) => 1,
        }
    }

    /// [`Self::message`] with texts that can be about people. Only for the user who started the command.
    pub(super) fn revealed(&self) -> String {
        struct Message<'a>(&'a Failure);
        impl fmt::Display for Message<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.message())
            }
        }
        reveal(&Message(self))
    }

    /// The error and its causes, in one line, without text that can be about a person: safe to log.
    pub(super) fn message(&self) -> String {
        let (Self::Usage(error) | Self::Stopped { message: error, .. } | Self::Run(error)) = self;
        in_one_line(error)
    }
}

impl From<server::Error> for Failure {
    /// A server that cannot run, because of a setting or of the machine.
    fn from(error: server::Error) -> Self {
        if error.is_a_setting() { Self::usage(error) } else { Self::run(error) }
    }
}

/// An error and its causes, without repetition: the text of some errors already includes their cause.
pub(super) fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, next| match said.as_str() {
        "" => next,
        _ if said.contains(&next) => said,
        _ => format!("{said}: {next}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::in_one_line;
    use crate::server;

    #[test]
    fn a_cause_in_the_text_of_an_error_is_not_repeated() {
        let taken = || io::Error::new(io::ErrorKind::AddrInUse, "address taken");
        let listen = server::Error::Listen { address: "h:1".to_owned(), source: taken() };
        assert_eq!(
            in_one_line(&listen.into()),
            "cannot listen on h:1: address taken; choose another address with --listen"
        );
        let wrapped = anyhow::Error::from(taken()).context("first").context("second");
        assert_eq!(in_one_line(&wrapped), "second: first: address taken");
    }
}
