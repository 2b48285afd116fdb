//! One account: looked at, changed, given a new password, freed of its second factor, disabled, enabled and deleted.

use actix_web::web;
use askama::Template;

use super::user_form::{self, UserForm};
use super::users::PLACE;
use super::{administrator, words};
use crate::http::State;
use crate::http::pages::answers::curable;
use crate::http::pages::profile_form::Shown;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::oauth::{Resource, Scope};
use crate::protocol::admin::users::AccountChangeRequest;
use crate::protocol::{ProtocolError, admin, users};
use crate::users::{Account, Consent, Session};

/// Said where an act would lock out whoever does it.
const NOT_ONESELF: &str = "That can’t be done to your own account here.";

const UNCONFIRMED: &str = "Nothing was done: the act has to be confirmed.";

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserPage<'a> {
    shell: Shell<'a>,
    account: &'a Account,
    created: String,
    updated: String,
    second_factor: bool,
    sessions: Vec<SessionRow>,
    consents: Vec<(String, String, String)>,
    form: UserForm,
    profile: Shown,
    myself: bool,
}

struct SessionRow {
    started: String,
    last_seen: String,
    address: String,
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        Self {
            started: words::date(session.created_at),
            last_seen: words::date(session.last_seen),
            address: session.address.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}

/// One account.
pub(in crate::http) async fn one(
    state: web::Data<State>,
    visitor: Visitor,
    id: web::Path<String>,
) -> Answered {
    user_page(&state, &visitor, (&id, None), None).await
}

/// Changes an account.
pub(in crate::http) async fn act(
    state: web::Data<State>,
    visitor: Visitor,
    (id, form): (web::Path<String>, Form),
) -> Answered {
    let myself = *id == visitor.present.account.id.as_str();
    let brought = UserForm::read(&form);
    let (change, text) = match form.one("act") {
        Some("change") => {
            let account = users::show(&state.services, &id).await?;
            (brought.change(&account, myself)?, "The account is changed.")
        }
        Some("disable" | "set_password" | "remove_second_factor" | "delete") if myself => {
            return user_page(&state, &visitor, (&id, None), Some(NOT_ONESELF)).await;
        }
        Some("disable") => (disabled(true), "The account is disabled, and the person signed out everywhere."),
        Some("enable") => (disabled(false), "The account is enabled."),
        Some("set_password") => {
            let password = user_form::password(&form);
            let problem = "Nothing was done: there was no password.";
            let Some(password) = password else {
                return user_page(&state, &visitor, (&id, None), Some(problem)).await;
            };
            let change = AccountChangeRequest { password: Some(password), ..AccountChangeRequest::default() };
            (change, "The password is set, and the person signed out everywhere.")
        }
        Some("remove_second_factor") if form.one("confirm") == Some("yes") => {
            admin::users::remove_second_factor(&state.services, &administrator(&visitor), &id).await?;
            let notice = Notice::done("The second factor is removed, and the person signed out everywhere.");
            return after(&state, &visitor, (&format!("{PLACE}/{id}"), notice));
        }
        Some("delete") if form.one("confirm") == Some("yes") => {
            admin::users::delete(&state.services, &administrator(&visitor), &id).await?;
            return after(&state, &visitor, (PLACE, Notice::done(format!("The account {id} is deleted."))));
        }
        Some("remove_second_factor" | "delete") => {
            return user_page(&state, &visitor, (&id, None), Some(UNCONFIRMED)).await;
        }
        _ => return Err(ProtocolError::invalid_request("act is not known").into()),
    };
    match admin::users::change(&state.services, &administrator(&visitor), &id, change).await {
        Ok(_) => after(&state, &visitor, (&format!("{PLACE}/{id}"), Notice::done(text))),
        Err(error) => {
            let problem = curable(error)?;
            let brought = (form.one("act") == Some("change")).then_some(brought);
            user_page(&state, &visitor, (&id, brought), Some(&problem)).await
        }
    }
}

fn disabled(disabled: bool) -> AccountChangeRequest {
    AccountChangeRequest { disabled: Some(disabled), ..AccountChangeRequest::default() }
}

/// The page, with the form as it was brought if it was.
async fn user_page(
    state: &State,
    visitor: &Visitor,
    (id, brought): (&str, Option<UserForm>),
    problem: Option<&str>,
) -> Answered {
    let services = &state.services;
    let account = users::show(services, id).await?;
    let consents = services.consents.of_user(&account.id).await?;
    let sessions = services.sessions.of_user(&account.id).await?;
    let second_factor = services.second_factors.find(&account.id).await?;
    // One of another version would undo what was changed meanwhile.
    let form = brought.filter(|form| form.is_of(&account)).unwrap_or_else(|| UserForm::of(&account));
    let template = UserPage {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        account: &account,
        created: words::date(account.created_at),
        updated: account.updated_at.map_or_else(|| "never".to_owned(), words::date),
        second_factor: second_factor.is_some(),
        sessions: sessions.iter().map(SessionRow::from).collect(),
        consents: consents.iter().flat_map(consent_rows).collect(),
        profile: if problem.is_some() { form.refused() } else { form.shown() },
        form,
        myself: account.id == visitor.present.account.id,
    };
    Ok(show(problem, &template))
}

/// The client, the resource, and what was allowed there.
fn consent_rows(consent: &Consent) -> impl Iterator<Item = (String, String, String)> {
    let row = |(uri, scope): (&Resource, &Scope)| {
        (consent.client_id.to_string(), uri.to_string(), scope.to_string())
    };
    consent.resources.iter().map(row)
}
