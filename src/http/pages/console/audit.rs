use actix_web::{HttpRequest, web};
use askama::Template;
use url::form_urlencoded;

use super::entries::{EntryView, search};
use crate::audit::Search;
use crate::http::pages::shell::{Answered, Shell, Visitor, show};
use crate::http::{State, body};
use crate::protocol::admin;

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
    let asked = admin::audit::asked(&params, PAGE)?;
    let (entries, older) = search(&state.services, asked.clone()).await?;
    let Search { event, actor, subject, .. } = asked;
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
