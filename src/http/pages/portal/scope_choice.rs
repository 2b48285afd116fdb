//! Checkboxes for scope tokens.

use crate::http::State;
use crate::http::pages::fields::value;
use crate::http::pages::scopes;
use crate::http::pages::views::ScopeView;
use crate::oauth::Scope;
use crate::protocol::{Params, ProtocolError};

/// What may be chosen, and whether the form has it.
pub(super) fn choices<'a>(
    state: &'a State,
    offered: &'a Scope,
    form: &Params<'_>,
) -> Vec<(ScopeView<'a>, bool)> {
    offered.iter().map(|token| (scopes::view(state, token), is_chosen(form, token))).collect()
}

/// What the form has of it.
///
/// # Errors
/// When that is more than a scope can hold.
pub(super) fn chosen(offered: &Scope, form: &Params<'_>) -> Result<Scope, ProtocolError> {
    let tokens: Vec<&str> = offered.iter().filter(|token| is_chosen(form, token)).collect();
    value("scope", &tokens.join(" "), Scope::parse)
}

fn is_chosen(form: &Params<'_>, token: &str) -> bool {
    form.one(&format!("scope:{token}")) == Some("yes")
}
