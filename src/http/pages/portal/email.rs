//! The e-mail address. Who may change it can take the account over, so it asks that the person has signed in a short
//! while ago.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::curable;
use crate::http::State;
use crate::http::pages::fields;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::oauth::ErrorCode;
use crate::protocol::{ProtocolError, portal};
use crate::users::Account;

/// Where it stands in the menu.
const PLACE: &str = "/account";

#[derive(Template)]
#[template(path = "portal/email.html")]
struct EmailPage<'a> {
    shell: Shell<'a>,
    account: &'a Account,
    /// As it stands in the form.
    email: &'a str,
}

/// The form.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    offered(&state)?;
    Ok(page(&state, &visitor, "", None))
}

/// Changes the address.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    offered(&state)?;
    let email = fields::text(&form, "email");
    match portal::change_email(&state.services, &visitor.present, &email).await {
        Ok(()) => {
            let text = format!("Your e-mail address is changed. Sign in as {email} from now on.");
            after(&state, &visitor, (PLACE, Notice::done(text)))
        }
        Err(error) => Ok(page(&state, &visitor, &email, Some(&curable(error)?))),
    }
}

/// Whether the settings let people change it.
fn offered(state: &State) -> Result<(), ProtocolError> {
    let reason = "an administrator changes your e-mail address: ask them";
    if state.change_email { Ok(()) } else { Err(ProtocolError::new(ErrorCode::NotFound, reason)) }
}

fn page(state: &State, visitor: &Visitor, email: &str, problem: Option<&str>) -> HttpResponse {
    let shell = Shell::new(state, visitor, PLACE).with_problem(problem);
    show(problem, &EmailPage { shell, account: &visitor.present.account, email })
}
