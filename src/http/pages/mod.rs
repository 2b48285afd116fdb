//! What people see: the sign-in, consent and sign-out pages. Plain HTML forms that work without scripts, with one
//! style sheet.
//!
//! The files: `authorize`, `sign_in` and `sign_out` answer the routes, by what `answers` has for all; `views` and
//! `templates/` are the pages, `frame` what surrounds each and the headers that protect it, `scopes` what a scope
//! means in words, `cookies` the cookies, `assets` what is embedded.

mod answers;
mod assets;
pub(super) mod authorize;
mod browser;
pub(super) mod console;
mod cookies;
mod fields;
mod frame;
pub(super) mod portal;
mod profile_form;
mod scopes;
mod shell;
pub(super) mod sign_in;
pub(super) mod sign_out;
mod views;
mod words;

pub(super) use answers::{failure, form_opened, no_such_page};
pub(super) use assets::asset;
pub(super) use cookies::Cookies;
pub(super) use frame::Frame;
pub(crate) use scopes::unexplained as unexplained_scopes;
pub(super) use shell::{guard, nothing_here};
