//! The targets, by what they read.

pub(crate) mod admin;
pub(crate) mod browser;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod hint;
pub(crate) mod jwt;
pub(crate) mod network;
pub(crate) mod operator;
pub(crate) mod published;
pub(crate) mod resource_server;
pub(crate) mod steps;
pub(crate) mod token;
pub(crate) mod values;

/// The bytes as text; a target that is about text has nothing to do with others.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The text in front of the first line break, and what is behind it.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
