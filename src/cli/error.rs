use std::process::ExitCode;

use crate::config::ConfigError;

/// A command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings can't be used.
    #[error("the settings can't be used:\n{0}")]
    Settings(#[from] ConfigError),
    /// The command line, or something it names, can't be used.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// 2 if the settings or the command line are wrong, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}
