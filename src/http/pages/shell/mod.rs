//! What the portal and the console share: both are for people who are signed in.
//!
//! The files: `guard` lets nobody else through and no form of another site, `anti_forgery` tells forms apart, `notice`
//! is what the page after an act shows, once.

mod anti_forgery;
mod guard;
mod notice;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;

use super::frame::{Allowed, Frame, page};
use crate::http::State;

pub(super) use guard::{Answered, Form, Visitor};
pub(in crate::http) use guard::{guard, nothing_here};
pub(super) use notice::{Notice, after, after_in};

/// What surrounds a page of the portal or the console.
pub(super) struct Shell<'a> {
    pub(super) frame: &'a Frame,
    /// Which entry of the menu it belongs to, by its path.
    pub(super) place: &'static str,
    pub(super) account: &'a str,
    pub(super) administrator: bool,
    /// Every form has to bring it back as `form_token`.
    pub(super) form_token: &'a str,
    pub(super) notice: Option<&'a Notice>,
    /// Why a form is shown again.
    pub(super) problem: Option<&'a str>,
}

impl<'a> Shell<'a> {
    /// The surroundings of the page at `place`, for `visitor`.
    pub(super) fn new(state: &'a State, visitor: &'a Visitor, place: &'static str) -> Self {
        Self {
            frame: &state.frame,
            place,
            account: &visitor.present.account.name,
            administrator: visitor.present.account.administrator,
            form_token: &visitor.form_token,
            notice: visitor.notice.as_ref(),
            problem: None,
        }
    }

    /// The same, where a form is shown again because of `problem`.
    pub(super) fn with_problem(self, problem: Option<&'a str>) -> Self {
        Self { problem, ..self }
    }

    pub(super) fn shell_sheet(&self) -> String {
        format!("{}/assets/{}", self.frame.base, super::assets::SHELL_SHEET.name)
    }

    pub(super) fn is_console(&self) -> bool {
        self.place.starts_with("/console")
    }

    /// The menu of the area: paths and names.
    pub(super) fn menu(&self) -> &'static [(&'static str, &'static str)] {
        if self.is_console() { &CONSOLE } else { &PORTAL }
    }
}

const PORTAL: [(&str, &str); 7] = [
    ("/account", "Profile"),
    ("/account/password", "Password"),
    ("/account/second-factor", "Second factor"),
    ("/account/sessions", "Sessions"),
    ("/account/consents", "Access"),
    ("/account/api-keys", "API keys"),
    ("/account/applications", "My applications"),
];

const CONSOLE: [(&str, &str); 7] = [
    ("/console", "Overview"),
    ("/console/keys", "Keys"),
    ("/console/clients", "Clients"),
    ("/console/users", "Users"),
    ("/console/resources", "Resources"),
    ("/console/revocations", "Revocations"),
    ("/console/audit", "Audit trail"),
];

/// A page; where a form is shown again because of a problem, with the status of a bad request.
pub(super) fn show(problem: Option<&str>, template: &impl Template) -> HttpResponse {
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page(status, template, &Allowed::default())
}
