use super::Interrupted;
use super::goal::Goal;
use super::sign_in::SignedIn;
use super::step::{Browser, Present};
use crate::audit::{Actor, Event, EventKind};
use crate::protocol::{ProtocolError, Services, users};
use crate::users::{Account, Authentication, NewSession};

/// Lets somebody in who has proved who they are by `amr` (RFC 8176). The session's cookie is always a new one, so
/// that one which was planted before is worth nothing; whoever was signed in by this browser is signed out. Nobody gets
/// in whose password was changed, or whose account was disabled, since `account` was read.
pub(super) async fn start(
    services: &Services,
    goal: &Goal,
    (account, amr): (&Account, &[&str]),
    browser: &Browser,
) -> Result<SignedIn, Interrupted> {
    let event = Event::new(EventKind::SessionStarted, Actor::User(account.id.clone()))
        .source_ip(browser.address.ip());
    services.audit.record(event).await.map_err(ProtocolError::from)?;
    let authentication = Authentication {
        auth_time: services.clock.numeric_date(),
        amr: amr.iter().map(|&method| method.to_owned()).collect(),
        acr: None,
    };
    let before = Present::find(services, browser.session.as_ref()).await?;
    let renewed = match &before {
        Some(before) if before.account.id == account.id => {
            users::sign_in_anew(services, account, &before.cookie, authentication.clone())
                .await
                .map_err(ProtocolError::from)?
        }
        Some(before) => {
            let ended = services.sessions.end(&before.account.id, &before.session.sid).await;
            ended.map_err(ProtocolError::from)?;
            None
        }
        None => None,
    };
    let started = if renewed.is_some() {
        renewed
    } else {
        let (user_agent, address) = (browser.user_agent.clone(), Some(browser.address.ip()));
        let new = NewSession { user: account.id.clone(), authentication, user_agent, address };
        users::sign_in(services, account, new).await.map_err(ProtocolError::from)?
    };
    let Some(started) = started else { return Err(Interrupted::stale(goal.location(services))) };
    let device = services.login_throttle.succeeded(&account.id, browser.device_id().as_ref()).await;
    Ok(SignedIn::Done {
        location: goal.signed_in(services),
        session: Some(started.cookie),
        device: Some(device.map_err(ProtocolError::from)?),
    })
}
