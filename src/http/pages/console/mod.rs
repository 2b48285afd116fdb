//! The console: for administrators. Every act is one of the admin API's, done by the same functions.
//!
//! One file a page; `timeline` is the geometry of the keys' drawing, `words` how dates and the like are written.

pub(in crate::http) mod audit;
mod client_form;
pub(in crate::http) mod clients;
mod entries;
pub(in crate::http) mod keys;
pub(in crate::http) mod overview;
pub(in crate::http) mod resources;
pub(in crate::http) mod revocations;
mod timeline;
pub(in crate::http) mod user;
mod user_form;
pub(in crate::http) mod users;

use super::shell::Visitor;
use super::words;
use crate::audit::Actor;
use crate::clients::ADMIN_SCOPE;
use crate::oauth::Scope;
use crate::protocol::admin::Administrator;

/// The visitor as whom the admin API's functions know: an administrator holds every admin scope.
fn administrator(visitor: &Visitor) -> Administrator {
    Administrator {
        actor: Actor::User(visitor.present.account.id.clone()),
        scope: Scope::parse(ADMIN_SCOPE).unwrap_or_default(),
    }
}
