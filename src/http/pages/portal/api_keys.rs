use actix_web::web;
use askama::Template;
use chrono::TimeDelta;

use super::scope_choice::{choices, chosen};
use super::{curable, words};
use crate::http::State;
use crate::http::pages::fields::text;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::pages::views::ScopeView;
use crate::oauth::{Resource, Scope, shell_word};
use crate::protocol::{Params, ProtocolError, portal};

const PLACE: &str = "/account/api-keys";

/// The longest life that the form offers, in days.
const LONGEST: i64 = 3650;

#[derive(Template)]
#[template(path = "portal/api_keys.html")]
struct ApiKeysPage<'a> {
    shell: Shell<'a>,
    keys: Vec<KeyRow>,
    snippet: Option<Snippet>,
    name: String,
    days: String,
    /// What may be chosen, and whether it is.
    scopes: Vec<(ScopeView<'a>, bool)>,
}

/// What there is to copy, as words of a shell.
struct Snippet {
    token_endpoint: String,
    resource: String,
    /// Something at the resource.
    place: String,
}

impl Snippet {
    fn new(issuer: &str, resource: &Resource) -> Self {
        Self {
            token_endpoint: shell_word(&format!("{issuer}/oauth2/token")),
            resource: shell_word(&format!("resource={resource}")),
            place: shell_word(&format!("{resource}/…")),
        }
    }
}

struct KeyRow {
    id: String,
    name: String,
    scope: String,
    made: String,
    ends: String,
    used: String,
}

/// The person's API keys, and the form of a new one.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    page(&state, &visitor, &Params::default(), None).await
}

/// Makes a key, or revokes one.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let (services, present) = (&state.services, &visitor.present);
    if let Some(id) = form.one("revoke") {
        portal::revoke_api_key(services, present, id).await?;
        return after(&state, &visitor, (PLACE, Notice::done("The API key is revoked.")));
    }
    let created = match read(&state, &form) {
        Ok(new) => portal::create_api_key(services, present, new).await,
        Err(error) => Err(error),
    };
    match created {
        Ok(created) => {
            let notice = Notice::done("You have a new API key.");
            let notice = notice.with_secrets("This is the key.", [created.secret().clone()]);
            after(&state, &visitor, (PLACE, notice))
        }
        Err(error) => page(&state, &visitor, &form, Some(&curable(error)?)).await,
    }
}

type New = (String, Scope, Option<chrono::DateTime<chrono::Utc>>);

fn read(state: &State, form: &Params<'_>) -> Result<New, ProtocolError> {
    let offered = portal::offered_to_keys(&state.services)?;
    let days = form.one("days").map(str::parse::<i64>).transpose().ok().flatten();
    let wrong = || ProtocolError::invalid_request(format!("days must be a number from 1 to {LONGEST}"));
    let days = match form.one("days") {
        None => None,
        Some(_) => Some(days.filter(|days| (1..=LONGEST).contains(days)).ok_or_else(wrong)?),
    };
    let ends = days.map(|days| state.services.clock.now() + TimeDelta::days(days));
    let scope = chosen(&offered, form)?;
    if scope.is_empty() {
        return Err(ProtocolError::invalid_request("choose what the key permits"));
    }
    Ok((text(form, "name"), scope, ends))
}

async fn page(state: &State, visitor: &Visitor, form: &Params<'_>, problem: Option<&str>) -> Answered {
    let keys = portal::own_api_keys(&state.services, &visitor.present).await?;
    let offered = portal::offered_to_keys(&state.services)?;
    let rows = keys.into_iter().map(|key| KeyRow {
        id: key.id.to_string(),
        name: key.name,
        scope: key.scope.to_string(),
        made: words::date(key.created_at),
        ends: key.expires_at.map_or_else(|| "never".to_owned(), words::date),
        used: key.last_used_at.map_or_else(|| "never".to_owned(), words::date),
    });
    let template = ApiKeysPage {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        keys: rows.collect(),
        snippet: portal::resource_for_keys(&state.services)
            .map(|resource| Snippet::new(&state.services.issuer, resource)),
        name: text(form, "name"),
        days: text(form, "days"),
        scopes: choices(state, &offered, form),
    };
    Ok(show(problem, &template))
}
