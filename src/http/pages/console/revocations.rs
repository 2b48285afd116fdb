//! What is revoked of a client, or of what speaks for a subject, as a whole; and revoking that, or a single token.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::{administrator, words};
use crate::http::pages::fields;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::{State, body};
use crate::oauth::{ClientId, ErrorCode, Subject};
use crate::protocol::ProtocolError;
use crate::protocol::admin::revocations::{self, CutoffView, RevocationRequest, revoke};

const PLACE: &str = "/console/revocations";

/// How many are shown at once.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "console/revocations.html")]
struct Revocations<'a> {
    shell: Shell<'a>,
    client_id: &'a str,
    sub: &'a str,
    /// Within how many seconds every verifier knows.
    within: String,
    cutoffs: Vec<CutoffRow>,
    /// Where the next page begins, fit for a query.
    next: Option<String>,
}

/// Dates are written as elsewhere on these pages.
struct CutoffRow {
    client_id: String,
    sub: String,
    up_to: String,
    tokens_until: String,
    grants_until: String,
}

impl From<CutoffView> for CutoffRow {
    fn from(cutoff: CutoffView) -> Self {
        Self {
            client_id: cutoff.client_id.map(String::from).unwrap_or_default(),
            sub: cutoff.sub.map(String::from).unwrap_or_default(),
            up_to: words::seconds(cutoff.issued_up_to),
            tokens_until: words::date(cutoff.tokens_until),
            grants_until: words::date(cutoff.grants_until),
        }
    }
}

/// The forms, and what is revoked at present.
pub(in crate::http) async fn get(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    page(&state, &visitor, (("", ""), params.one("after")), None).await
}

/// Revokes.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let [client_id, sub, token] = ["client_id", "sub", "token"].map(|name| fields::text(&form, name));
    // What was entered is shown again, but no token.
    let again = async |problem: &str| page(&state, &visitor, ((&client_id, &sub), None), Some(problem)).await;
    let request = match read(&client_id, &sub, &token) {
        Ok(request) if form.one("confirm") == Some("yes") => request,
        Ok(_) => return again("Nothing was revoked: it has to be confirmed.").await,
        Err(error) => return again(&error.description).await,
    };
    match revoke(&state.services, &administrator(&visitor), request).await {
        Err(error) if error.code == ErrorCode::InvalidRequest => return again(&error.description).await,
        revoked => _ = revoked?,
    }
    let text = if token.is_empty() {
        format!("Everything of {client_id}{sub} up to now is revoked.")
    } else {
        "The token is revoked.".to_owned()
    };
    after(&state, &visitor, (PLACE, Notice::done(text)))
}

fn read(client_id: &str, sub: &str, token: &str) -> Result<RevocationRequest, ProtocolError> {
    match (client_id, sub, token) {
        (client_id, "", "") if !client_id.is_empty() => {
            fields::value("client_id", client_id, ClientId::parse).map(RevocationRequest::client)
        }
        ("", sub, "") if !sub.is_empty() => {
            fields::value("sub", sub, Subject::parse).map(RevocationRequest::subject)
        }
        ("", "", token) if !token.is_empty() => Ok(RevocationRequest::token(token)),
        _ => Err(ProtocolError::invalid_request("name a client, a subject or a token")),
    }
}

async fn page(
    state: &State,
    visitor: &Visitor,
    ((client_id, sub), after): ((&str, &str), Option<&str>),
    problem: Option<&str>,
) -> Answered {
    let listed = revocations::list(&state.services, after, Some(PAGE)).await?;
    let template = Revocations {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        client_id,
        sub,
        within: words::wait(i64::try_from(state.services.status.ttl()).unwrap_or(i64::MAX)),
        cutoffs: listed.revocations.into_iter().map(CutoffRow::from).collect(),
        next: listed.next.map(|next| url::form_urlencoded::byte_serialize(next.as_bytes()).collect()),
    };
    Ok(show(problem, &template))
}
