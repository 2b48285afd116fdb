//! The accounts: looked at, disabled, enabled, signed out.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::{administrator, words};
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::{State, body};
use crate::oauth::{Resource, Scope};
use crate::protocol::admin::users::AccountChangeRequest;
use crate::protocol::users::PageRequest;
use crate::protocol::{ProtocolError, admin, users};
use crate::users::{Account, Consent, Session};

const PLACE: &str = "/console/users";

/// How many accounts are on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage<'a> {
    shell: Shell<'a>,
    users: Vec<UserRow>,
    /// How many are skipped on the page before, and on the next.
    before: Option<usize>,
    next: Option<usize>,
}

struct UserRow {
    id: String,
    name: String,
    email: String,
    administrator: bool,
    disabled: bool,
    created: String,
}

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserPage<'a> {
    shell: Shell<'a>,
    user: UserRow,
    username: Option<String>,
    updated: String,
    second_factor: bool,
    sessions: Vec<SessionRow>,
    consents: Vec<(String, String, String)>,
    myself: bool,
}

struct SessionRow {
    started: String,
    last_seen: String,
    address: String,
}

impl From<&Account> for UserRow {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.name.clone(),
            email: account.email.to_string(),
            administrator: account.administrator,
            disabled: account.disabled,
            created: words::date(account.created_at),
        }
    }
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

/// A page of the accounts.
pub(in crate::http) async fn list(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    let offset = PageRequest::parse(&params)?.page().offset;
    let page = crate::users::Page { limit: PAGE + 1, offset };
    let mut accounts = users::list(&state.services, page).await?;
    let more = accounts.len() > PAGE;
    accounts.truncate(PAGE);
    let template = UsersPage {
        shell: Shell::new(&state, &visitor, PLACE),
        users: accounts.iter().map(UserRow::from).collect(),
        before: (offset > 0).then(|| offset.saturating_sub(PAGE)),
        next: more.then(|| offset + PAGE),
    };
    Ok(show(None, &template))
}

/// One account.
pub(in crate::http) async fn one(
    state: web::Data<State>,
    visitor: Visitor,
    id: web::Path<String>,
) -> Answered {
    user_page(&state, &visitor, &id, None).await
}

/// Disables or enables an account, or signs the person out everywhere.
pub(in crate::http) async fn act(
    state: web::Data<State>,
    visitor: Visitor,
    (id, form): (web::Path<String>, Form),
) -> Answered {
    let (services, administrator) = (&state.services, administrator(&visitor));
    let change = |disabled| AccountChangeRequest::disabled(disabled);
    let text = match form.one("act") {
        Some("disable") if *id == visitor.present.account.id.as_str() => {
            let problem = "You can’t disable your own account.";
            return user_page(&state, &visitor, &id, Some(problem)).await;
        }
        Some("disable") => {
            admin::users::change(services, &administrator, &id, change(true)).await?;
            "The account is disabled, and the person signed out everywhere."
        }
        Some("enable") => {
            admin::users::change(services, &administrator, &id, change(false)).await?;
            "The account is enabled."
        }
        _ => return Err(ProtocolError::invalid_request("act is not known").into()),
    };
    let path = format!("{PLACE}/{id}");
    after(&state, &visitor, (&path, Notice::done(text)))
}

async fn user_page(state: &State, visitor: &Visitor, id: &str, problem: Option<&str>) -> Answered {
    let services = &state.services;
    let account = users::show(services, id).await?;
    let consents = services.consents.of_user(&account.id).await?;
    let sessions = services.sessions.of_user(&account.id).await?;
    let second_factor = services.second_factors.find(&account.id).await?;
    let template = UserPage {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        user: UserRow::from(&account),
        username: account.preferred_username.as_ref().map(ToString::to_string),
        updated: account.updated_at.map_or_else(|| "never".to_owned(), words::date),
        second_factor: second_factor.is_some(),
        sessions: sessions.iter().map(SessionRow::from).collect(),
        consents: consents.iter().flat_map(consent_rows).collect(),
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
