use super::views::ScopeView;
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
    let configured = state.scope_descriptions.get(token).map(String::as_str);
    let usual = || USUAL.iter().find(|(each, _)| *each == token).map(|(_, words)| *words);
    ScopeView { token, words: configured.or_else(usual).unwrap_or(token) }
}
