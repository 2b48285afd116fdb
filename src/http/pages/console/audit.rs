use actix_web::{HttpRequest, web};
use askama::Template;
use url::form_urlencoded;

use super::entries::{EntryView, search};
use crate::audit::Search;
use crate::http::pages::fields::text;
use crate::http::pages::shell::{Answered, Shell, Visitor, show};
use crate::http::{State, body};
use crate::protocol::ProtocolError;

/// How many entries are on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "console/audit.html")]
struct Audit<'a> {
    shell: Shell<'a>,
    event: String,
    actor: String,
    subject: String,
    entries: Vec<EntryView>,
    /// The query of the page with what is older.
    older: Option<String>,
}

/// The audit trail from its end, or what of it is looked for.
pub(in crate::http) async fn get(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    let (event, actor, subject) = (text(&params, "event"), text(&params, "actor"), text(&params, "subject"));
    let wrong = |_| ProtocolError::invalid_request("before must be a number");
    let before = params.one("before").map(str::parse).transpose().map_err(wrong)?;
    let asked =
        Search { event: event.clone(), actor: actor.clone(), subject: subject.clone(), before, limit: PAGE };
    let (entries, older) = search(&state.services, asked).await?;
    let query = |before: u64| {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("event", &*event), ("actor", &actor), ("subject", &subject)])
            .append_pair("before", &before.to_string())
            .finish()
    };
    let older = older.map(query);
    let shell = Shell::new(&state, &visitor, "/console/audit");
    Ok(show(None, &Audit { shell, event, actor, subject, entries, older }))
}
