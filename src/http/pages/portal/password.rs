use actix_web::{HttpResponse, web};
use askama::Template;

use super::curable;
use crate::http::State;
use crate::http::pages::browser::with_cookie;
use crate::http::pages::cookies::Cookie;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after_in, show};
use crate::oauth::Secret;
use crate::protocol::authorize::Problem;
use crate::protocol::portal::{PasswordChange, change_password};
use crate::users::DeviceCookie;

const PLACE: &str = "/account/password";

#[derive(Template)]
#[template(path = "portal/password.html")]
struct Password<'a> {
    shell: Shell<'a>,
    email: &'a str,
}

/// The form.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    Ok(page(&state, &visitor, None))
}

/// Sets a new password.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let secret = |name| Secret::new(form.one(name).unwrap_or_default().to_owned());
    let (current, new) = (secret("current_password"), secret("new_password"));
    if form.one("new_password") != form.one("repeated_password") {
        return Ok(page(&state, &visitor, Some("The new password was not repeated as it is.")));
    }
    let asker = (&visitor.present, &visitor.browser);
    match change_password(&state.services, asker, (&current, new)).await {
        Ok(PasswordChange::Done { started, device }) => {
            let notice = Notice::done("Your password is changed. You are signed out everywhere else.");
            // The present session has ended.
            let response = after_in(&state, &started.session.sid, (PLACE, notice))?;
            let response = with_cookie(response, state.cookies.set(Cookie::Session, &started.cookie, None));
            Ok(known_device(&state, response, &device))
        }
        Ok(PasswordChange::Refused { error, device }) => {
            Ok(known_device(&state, page(&state, &visitor, Some(&curable(error)?)), &device))
        }
        Ok(PasswordChange::Unproved(problem)) => Ok(page(&state, &visitor, Some(words(problem)))),
        Err(error) => Ok(page(&state, &visitor, Some(&curable(error)?))),
    }
}

/// The record of a device that was known for others alone has gone on under another name: its cookie has to.
fn known_device(state: &State, response: HttpResponse, device: &DeviceCookie) -> HttpResponse {
    with_cookie(response, state.cookies.set(Cookie::Device, &device.value, Some(device.max_age)))
}

fn words(problem: Problem) -> &'static str {
    match problem {
        Problem::Wrong => "The present password is not right.",
        Problem::TooMany { .. } => "There were too many tries. Please wait a while before the next one.",
        Problem::Busy { .. } => "Many people are signing in just now. Please try again in a moment.",
    }
}

fn page(state: &State, visitor: &Visitor, problem: Option<&str>) -> HttpResponse {
    let shell = Shell::new(state, visitor, PLACE).with_problem(problem);
    show(problem, &Password { shell, email: visitor.present.account.email.as_str() })
}
