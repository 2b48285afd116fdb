use actix_web::web;
use askama::Template;

use super::words;
use crate::http::State;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::protocol::{ProtocolError, portal};
use crate::users::Session;

const PLACE: &str = "/account/sessions";

#[derive(Template)]
#[template(path = "portal/sessions.html")]
struct Sessions<'a> {
    shell: Shell<'a>,
    sessions: Vec<SessionRow>,
}

struct SessionRow {
    sid: String,
    browser: String,
    address: String,
    started: String,
    last_seen: String,
    present: bool,
}

/// Where the person is signed in.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let mut sessions = state.services.sessions.of_user(&visitor.present.account.id).await?;
    let is_present = |session: &Session| session.sid == visitor.present.session.sid;
    sessions.sort_by_key(|session| (!is_present(session), std::cmp::Reverse(session.last_seen)));
    let rows = sessions.into_iter().map(|session| SessionRow {
        present: is_present(&session),
        sid: session.sid.to_string(),
        browser: words::browser(session.user_agent.as_deref().unwrap_or_default()),
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
