//! The authorization endpoint (RFC 6749, section 3.1; OpenID Connect Core 1.0, section 3.1.2): reads a request, has
//! the person sign in and say yes, and answers the client with a code.
//!
//! The files: `request` is what was asked, `target` what for, `asked_claims` of whom and how well proved, `step` what comes next, `sign_in`, `second_factor` and
//! `consent` are what the forms do, `form` is what they carry, `redirect` is how the client is answered.

mod asked_claims;
mod consent;
mod door;
pub(super) mod form;
mod goal;
mod interrupted;
mod prompt;
mod redirect;
mod request;
mod second_factor;
mod session;
mod sign_in;
mod step;
mod target;
mod throttle;

pub use asked_claims::AskedAcr;
pub use consent::{ConsentForm, decide};
pub use door::Door;
pub use goal::Requester;
pub use interrupted::Interrupted;
pub use prompt::Prompt;
pub use redirect::{Reply, ReplyTo, ResponseMode};
pub use request::{AuthorizationRequest, Refused};
pub use second_factor::{SecondFactorForm, second_factor};
pub use sign_in::{Problem, SignInForm, SignedIn, sign_in, sign_in_for_page};
pub use step::{Asked, Browser, Present, Step, authorize};

pub(super) use redirect::with_query;
pub(super) use sign_in::check as check_password;
