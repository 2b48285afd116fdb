use std::collections::{BTreeMap, BTreeSet};

use super::views::ScopeView;
use crate::config::Config;
use crate::http::State;

/// What the usual scope tokens mean, unless the settings say otherwise.
const USUAL: [(&str, &str); 10] = [
    ("openid", "Know that it is you"),
    ("profile", "See your name and profile"),
    ("email", "See your e-mail address"),
    ("address", "See your postal address"),
    ("phone", "See your phone number"),
    ("offline_access", "Keep its access while you are away"),
    ("read", "See your data"),
    ("write", "Add to your data and change it"),
    ("follow", "Follow, block and mute others for you"),
    ("push", "Send you notifications"),
];

/// A scope token with what it means, as the settings say or as is usual; one that nobody has explained is shown as it
/// is.
pub(super) fn view<'a>(state: &'a State, token: &'a str) -> ScopeView<'a> {
    ScopeView { token, words: words(&state.scope_descriptions, token).unwrap_or(token) }
}

fn words<'a>(described: &'a BTreeMap<String, String>, token: &str) -> Option<&'a str> {
    let usual = || USUAL.iter().find(|(each, _)| *each == token).map(|(_, words)| *words);
    described.get(token).map(String::as_str).or_else(usual)
}

/// The scope tokens of the settings' resources that people are asked about and that nobody has explained, each once.
pub(crate) fn unexplained(config: &Config) -> Vec<&str> {
    let tokens: BTreeSet<&str> = config.resources.iter().flat_map(|resource| resource.scope.iter()).collect();
    let described = &config.pages.scope_descriptions;
    tokens.into_iter().filter(|token| words(described, token).is_none()).collect()
}
