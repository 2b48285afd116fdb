use actix_web::web;
use askama::Template;

use super::words;
use crate::http::State;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::protocol::{ProtocolError, portal};

const PLACE: &str = "/account/sessions";

#[derive(Template)]
#[template(path = "portal/sessions.html")]
struct Sessions<'a> {
    shell: Shell<'a>,
    sessions: Vec<SessionRow>,
}

struct SessionRow {
    sid: String,
    user_agent: String,
    address: String,
    started: String,
    last_seen: String,
    present: bool,
}

/// Where the person is signed in.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let mut sessions = state.services.sessions.of_user(&visitor.present.account.id).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse(session.last_seen));
    let rows = sessions.into_iter().map(|session| SessionRow {
        present: session.sid == visitor.present.session.sid,
        sid: session.sid.to_string(),
        user_agent: session.user_agent.unwrap_or_else(|| "unknown".to_owned()),
        address: session.address.map(|address| address.to_string()).unwrap_or_default(),
        started: words::date(session.created_at),
        last_seen: words::date(session.last_seen),
    });
    let shell = Shell::new(&state, &visitor, PLACE);
    Ok(show(None, &Sessions { shell, sessions: rows.collect() }))
}

/// Ends one session, or all but the present one.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let (services, present) = (&state.services, &visitor.present);
    let text = match (form.one("act"), form.one("sid")) {
        (Some("end"), Some(sid)) => {
            portal::end_session(services, present, sid).await?;
            "The session has ended.".to_owned()
        }
        (Some("end_others"), None) => match portal::end_other_sessions(services, present).await? {
            1 => "One other session has ended.".to_owned(),
            number => format!("{number} other sessions have ended."),
        },
        _ => return Err(ProtocolError::invalid_request("act is not known").into()),
    };
    after(&state, &visitor, (PLACE, Notice::done(text)))
}
