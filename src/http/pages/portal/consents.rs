use actix_web::web;
use askama::Template;

use super::words;
use crate::http::State;
use crate::http::pages::scopes;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::oauth::Scope;
use crate::protocol::portal;

const PLACE: &str = "/account/consents";

#[derive(Template)]
#[template(path = "portal/consents.html")]
struct Consents<'a> {
    shell: Shell<'a>,
    consents: Vec<ConsentRow>,
}

struct ConsentRow {
    client_id: String,
    name: String,
    /// Each resource, and what was allowed there.
    resources: Vec<(String, Vec<String>)>,
    allowed: String,
}

/// Which applications the person let in.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let services = &state.services;
    let consents = services.consents.of_user(&visitor.present.account.id).await?;
    let words =
        |scope: &Scope| scope.iter().map(|token| scopes::view(&state, token).words.to_owned()).collect();
    let rows = consents.into_iter().map(|consent| {
        let client = services.clients.find(consent.client_id.as_str());
        ConsentRow {
            name: client.map_or_else(|| consent.client_id.to_string(), |client| client.client_name.clone()),
            client_id: consent.client_id.to_string(),
            resources: consent.resources.iter().map(|(uri, scope)| (uri.to_string(), words(scope))).collect(),
            allowed: words::date(consent.last_allowed_at),
        }
    });
    let shell = Shell::new(&state, &visitor, PLACE);
    Ok(show(None, &Consents { shell, consents: rows.collect() }))
}

/// Takes back what one application was allowed.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let client_id = form.required("client_id")?;
    portal::withdraw_consent(&state.services, &visitor.present, client_id).await?;
    after(&state, &visitor, (PLACE, Notice::done("The application has no access any more.")))
}
