//! OAuth itself: authenticates clients, decides grants, answers introspection and revocation, and runs the
//! administration. It knows no HTTP type; the HTTP room decodes into these requests and shapes the answers.

pub mod admin;
mod authenticate;
pub mod authorize;
mod claims;
mod discovery;
mod error;
mod grants;
mod health;
mod id_token_hint;
mod introspect;
mod logout;
mod measure;
mod params;
pub mod portal;
mod revoke;
mod services;
mod userinfo;
pub mod users;
mod verified;

pub use authenticate::{Credentials, authenticate};
pub use discovery::metadata;
pub use error::{Cause, ProtocolError};
pub use grants::{Asked, Defaults, Granted, Pending, asked_for_token, grant};
pub use health::{Health, health};
pub use id_token_hint::IdTokenHint;
pub use introspect::{AskedToIntrospect, Introspection, asked_to_introspect, introspect};
pub use logout::{SignOut, SignOutForm, logout, sign_out};
pub use measure::measure;
pub use params::Params;
pub use revoke::{AskedToRevoke, RevocationOutcome, asked_to_revoke, revoke};
pub use services::Services;
pub use userinfo::{PlainUserinfo, plain_userinfo, userinfo};
