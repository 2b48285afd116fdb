//! OAuth itself: authenticates clients, decides grants, answers introspection and revocation, and runs the
//! administration. It knows no HTTP type; the HTTP room decodes into these requests and shapes the answers.

pub mod admin;
mod api_key;
mod apps;
mod authenticate;
pub mod authorize;
mod backchannel_logout;
mod claims;
mod discovery;
mod error;
mod grants;
mod health;
mod id_token_hint;
mod id_token_key;
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
mod welcome;

pub use crate::store::Patience;
pub use api_key::{API_KEY_PREFIX, PresentedKey, admit_api_key, present_api_key};
pub use apps::{app_of_token, register_app};
pub use authenticate::{Credentials, authenticate};
pub use backchannel_logout::{LogoutDeliveries, LogoutOutcome, send_logouts};
pub use discovery::metadata;
pub use error::{Cause, ProtocolError};
pub use grants::{ACCESS_TOKEN, API_KEY, Asked, Defaults, Exchanged, Granted, Pending, TOKEN_EXCHANGE};
pub use grants::{asked_for_token, exchange, grant};
pub use health::{Health, Silence, health};
pub use id_token_hint::IdTokenHint;
pub use introspect::{AskedToIntrospect, Introspection, asked_to_introspect, introspect};
pub use logout::{SignOut, SignOutForm, logout, sign_out};
pub use measure::measure;
pub use params::Params;
pub use revoke::{AskedToRevoke, RevocationOutcome, asked_to_revoke, revoke};
pub use services::Services;
pub use userinfo::{PlainUserinfo, plain_userinfo, userinfo};
