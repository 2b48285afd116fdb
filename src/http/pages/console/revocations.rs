//! Revoking all that a client holds, or that speaks for a subject.

use actix_web::web;
use askama::Template;

use super::{administrator, words};
use crate::http::State;
use crate::http::pages::fields;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::oauth::{ClientId, Subject};
use crate::protocol::ProtocolError;
use crate::protocol::admin::revocations::{RevocationRequest, revoke};

const PLACE: &str = "/console/revocations";

#[derive(Template)]
#[template(path = "console/revocations.html")]
struct Revocations<'a> {
    shell: Shell<'a>,
    client_id: &'a str,
    sub: &'a str,
    /// Within how many seconds every verifier knows.
    within: String,
}

/// The forms.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    Ok(page(&state, &visitor, ("", ""), None))
}

/// Revokes.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let (client_id, sub) = (fields::text(&form, "client_id"), fields::text(&form, "sub"));
    let request = match read(&client_id, &sub) {
        Ok(request) if form.one("confirm") == Some("yes") => request,
        Ok(_) => {
            let problem = "Nothing was revoked: it has to be confirmed.";
            return Ok(page(&state, &visitor, (&client_id, &sub), Some(problem)));
        }
        Err(error) => return Ok(page(&state, &visitor, (&client_id, &sub), Some(&error.description))),
    };
    revoke(&state.services, &administrator(&visitor), request).await?;
    let text = format!("Everything of {client_id}{sub} up to now is revoked.");
    after(&state, &visitor, (PLACE, Notice::done(text)))
}

fn read(client_id: &str, sub: &str) -> Result<RevocationRequest, ProtocolError> {
    match (client_id, sub) {
        (client_id, "") if !client_id.is_empty() => {
            fields::value("client_id", client_id, ClientId::parse).map(RevocationRequest::client)
        }
        ("", sub) if !sub.is_empty() => {
            fields::value("sub", sub, Subject::parse).map(RevocationRequest::subject)
        }
        _ => Err(ProtocolError::invalid_request("name a client or a subject")),
    }
}

fn page(
    state: &State,
    visitor: &Visitor,
    (client_id, sub): (&str, &str),
    problem: Option<&str>,
) -> actix_web::HttpResponse {
    let template = Revocations {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        client_id,
        sub,
        within: words::wait(i64::try_from(state.services.status.ttl()).unwrap_or(i64::MAX)),
    };
    show(problem, &template)
}
