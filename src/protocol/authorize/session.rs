use super::goal::Goal;
use super::sign_in::SignedIn;
use super::step::{Browser, Present};
use crate::audit::{Actor, Event, EventKind};
use crate::protocol::{ProtocolError, Services};
use crate::users::{Account, Authentication, NewSession, StartedSession};

/// Lets somebody in who has proved who they are by `amr` (RFC 8176). The session's cookie is always a new one, so
/// that one which was planted before is worth nothing; whoever was signed in by this browser is signed out.
pub(super) async fn start(
    services: &Services,
    goal: &Goal,
    (account, amr): (&Account, &[&str]),
    browser: &Browser,
) -> Result<SignedIn, ProtocolError> {
    let event = Event::new(EventKind::SessionStarted, Actor::User(account.id.clone()));
    services.audit.record(event).await?;
    let authentication = Authentication {
        auth_time: services.clock.numeric_date(),
        amr: amr.iter().map(|&method| method.to_owned()).collect(),
        acr: None,
    };
    let before = Present::find(services, browser.session.as_ref()).await?;
    let renewed = match &before {
        Some(before) if before.account.id == account.id => {
            services.sessions.reauthenticate(&before.cookie, authentication.clone()).await?
        }
        Some(before) => {
            services.sessions.end(&before.account.id, &before.session.sid).await?;
            None
        }
        None => None,
    };
    let StartedSession { cookie, .. } = if let Some(renewed) = renewed {
        renewed
    } else {
        let (user_agent, address) = (browser.user_agent.clone(), Some(browser.address.ip()));
        let new = NewSession { user: account.id.clone(), authentication, user_agent, address };
        services.sessions.start(new).await?
    };
    let device = services.login_throttle.succeeded(&browser.attempt(account.id.as_str())).await?;
    Ok(SignedIn::Done { location: goal.signed_in(services), session: Some(cookie), device: Some(device) })
}
