use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::CliError;
use crate::oauth::Secret;

/// A token as given, or from standard input if it is `-`.
pub(in crate::cli) fn token(given: &str) -> Result<Secret, CliError> {
    let text = if given == "-" { text_from(Path::new("-"))? } else { given.to_owned() };
    Ok(Secret::new(text.trim().to_owned()))
}

/// A secret that is in a file, or on standard input if its name is `-`.
pub(super) fn secret_from(path: &Path) -> Result<Secret, CliError> {
    text_from(path).map(Secret::new)
}

/// What is in a file, or on standard input if its name is `-`.
pub(super) fn text_from(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| CliError::Usage(format!("{} can't be read: {error}", path.display())))?;
    Ok(text)
}

/// The JSON object in a file, or on standard input if its name is `-`.
pub(super) fn object_from(path: &Path) -> Result<Map<String, Value>, CliError> {
    serde_json::from_str(&text_from(path)?)
        .map_err(|error| CliError::Usage(format!("{} is no JSON object: {error}", path.display())))
}
