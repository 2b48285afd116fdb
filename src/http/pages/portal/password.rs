use actix_web::{HttpResponse, web};
use askama::Template;

use super::curable;
use crate::http::State;
use crate::http::pages::answers::see_other;
use crate::http::pages::browser::with_cookie;
use crate::http::pages::cookies::Cookie;
use crate::http::pages::shell::{Answered, Form, Shell, Visitor, show};
use crate::oauth::Secret;
use crate::protocol::authorize::Problem;
use crate::protocol::portal::{PasswordChange, change_password};

const PLACE: &str = "/account/password";

#[derive(Template)]
#[template(path = "portal/password.html")]
struct Password<'a> {
    shell: Shell<'a>,
    email: &'a str,
    /// Whether it was just changed.
    changed: bool,
}

/// The form.
pub(in crate::http) async fn get(
    state: web::Data<State>,
    visitor: Visitor,
    request: actix_web::HttpRequest,
) -> Answered {
    Ok(page(&state, &visitor, request.query_string() == "changed", None))
}

/// Sets a new password.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let secret = |name| Secret::new(form.one(name).unwrap_or_default().to_owned());
    let (current, new) = (secret("current_password"), secret("new_password"));
    if form.one("new_password") != form.one("repeated_password") {
        return Ok(page(&state, &visitor, false, Some("The new password was not repeated as it is.")));
    }
    let asker = (&visitor.present, &visitor.browser);
    match change_password(&state.services, asker, (&current, new)).await {
        // The notice would be the old session's, which has ended.
        Ok(PasswordChange::Done(cookie)) => {
            let response = see_other(&format!("{}{PLACE}?changed", state.services.issuer));
            Ok(with_cookie(response, state.cookies.set(Cookie::Session, &cookie, None)))
        }
        Ok(PasswordChange::Unproved(problem)) => Ok(page(&state, &visitor, false, Some(words(problem)))),
        Err(error) => Ok(page(&state, &visitor, false, Some(&curable(error)?))),
    }
}

fn words(problem: Problem) -> &'static str {
    match problem {
        Problem::Wrong => "The present password is not right.",
        Problem::TooMany { .. } => "There were too many tries. Please wait a while before the next one.",
        Problem::Busy { .. } => "Many people are signing in just now. Please try again in a moment.",
    }
}

fn page(state: &State, visitor: &Visitor, changed: bool, problem: Option<&str>) -> HttpResponse {
    let shell = Shell::new(state, visitor, PLACE).with_problem(problem);
    show(problem, &Password { shell, email: visitor.present.account.email.as_str(), changed })
}
