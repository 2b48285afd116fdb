//! The authenticator app and the recovery codes. All of it asks that the person has signed in a short while ago.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::{Deserialize, Serialize};

use super::qr::Qr;
use super::words;
use crate::http::State;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::oauth::SessionId;
use crate::protocol::{ProtocolError, portal};
use crate::users::Enrollment;

const PLACE: &str = "/account/second-factor";
const PURPOSE: &str = "second-factor enrolment";

const ONLY_NOW: &str = "These are your recovery codes. Each opens your account once if you lose your device.";

#[derive(Template)]
#[template(path = "portal/second_factor.html")]
struct SecondFactor<'a> {
    shell: Shell<'a>,
    /// Since when there is one.
    since: Option<String>,
    recovery_codes: usize,
    enrollment: Option<ShownEnrollment>,
}

/// What is shown of a secret that waits to be confirmed.
struct ShownEnrollment {
    secret: String,
    uri: String,
    qr: Option<Qr>,
    /// The form brings it back, so that it can be shown again.
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Carried {
    sid: SessionId,
    secret: String,
    uri: String,
}

/// Whether there is a second factor.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    page(&state, &visitor, None, None).await
}

/// Begins with an app, puts it into use, removes it, or makes new recovery codes.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let (services, present) = (&state.services, &visitor.present);
    match form.one("act") {
        // Not a redirect: the secret is shown, and nothing is in use before it is confirmed.
        Some("enroll") => {
            let label = present.account.email.as_str();
            let Enrollment { secret, uri } =
                services.second_factors.enroll(&present.account.id, label).await?;
            let (secret, uri) = (secret.expose().to_owned(), uri.expose().to_owned());
            let shown = shown(&state, Carried { sid: present.session.sid.clone(), secret, uri })?;
            page(&state, &visitor, Some(shown), None).await
        }
        Some("confirm") => {
            let code = form.one("code").unwrap_or_default();
            if let Some(codes) = portal::confirm_second_factor(services, present, code).await? {
                let notice = Notice::done("Your authenticator app is in use from now on.");
                return after(&state, &visitor, (PLACE, notice.with_secrets(ONLY_NOW, codes)));
            }
            let again = carried(&state, &visitor, form.one("enrollment"))?;
            let again = again.map(|carried| shown(&state, carried)).transpose()?;
            let problem = "That code is not right. Please wait for the next one and try again.";
            page(&state, &visitor, again, Some(problem)).await
        }
        Some("new_recovery_codes") => match portal::new_recovery_codes(services, present).await? {
            Some(codes) => {
                let notice = Notice::done("You have new recovery codes. The old ones count no more.");
                after(&state, &visitor, (PLACE, notice.with_secrets(ONLY_NOW, codes)))
            }
            None => page(&state, &visitor, None, Some("You have no second factor.")).await,
        },
        Some("remove") if form.one("confirm") == Some("yes") => {
            portal::remove_second_factor(services, present).await?;
            after(&state, &visitor, (PLACE, Notice::done("Your second factor is removed.")))
        }
        _ => page(&state, &visitor, None, Some("Nothing was done: the act has to be confirmed.")).await,
    }
}

fn shown(state: &State, carried: Carried) -> Result<ShownEnrollment, ProtocolError> {
    let plain = serde_json::to_vec(&carried).map_err(ProtocolError::server_error)?;
    let sealed = state.services.sealer.seal(PURPOSE, &plain)?;
    let qr = Qr::draw(&carried.uri);
    Ok(ShownEnrollment { secret: carried.secret, uri: carried.uri, qr, sealed })
}

fn carried(state: &State, visitor: &Visitor, sealed: Option<&str>) -> Result<Option<Carried>, ProtocolError> {
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = state.services.sealer.open(PURPOSE, sealed)?;
    let carried: Option<Carried> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    Ok(carried.filter(|carried| carried.sid == visitor.present.session.sid))
}

async fn page(
    state: &State,
    visitor: &Visitor,
    enrollment: Option<ShownEnrollment>,
    problem: Option<&str>,
) -> Answered {
    let found = state.services.second_factors.find(&visitor.present.account.id).await?;
    let template = SecondFactor {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        since: found.as_ref().map(|factor| words::date(factor.confirmed_at)),
        recovery_codes: found.map_or(0, |factor| factor.recovery_codes),
        enrollment,
    };
    let response: HttpResponse = show(problem, &template);
    Ok(response)
}
