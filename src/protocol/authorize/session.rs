use super::goal::Goal;
use super::sign_in::SignedIn;
use super::step::{Browser, Present};
use super::{Interrupted, consent};
use crate::audit::{Actor, Event, EventKind};
use crate::protocol::users::{self, Entry};
use crate::protocol::{ProtocolError, Services};
use crate::users::{Account, Arrival, Authentication, NewSession, Session};

/// Lets somebody in who has proved who they are by `amr` (RFC 8176). The session's cookie is always a new one, so
/// that one which was planted before is worth nothing; whoever was signed in by this browser is signed out. Nobody gets
/// in whose password was changed, or whose account was disabled, since `account` was read. All that it comes to is one
/// commit, with the client's code where nobody has to be asked anything more.
pub(super) async fn start(
    services: &Services,
    goal: &Goal,
    (account, amr): (&Account, &[&str]),
    arrival: &Arrival,
    browser: &Browser,
) -> Result<SignedIn, Interrupted> {
    let authentication = Authentication {
        auth_time: services.clock.numeric_date(),
        amr: amr.iter().map(|&method| method.to_owned()).collect(),
    };
    let before = Present::find(services, browser.session.as_ref()).await?;
    if let Some(other) = before.as_ref().filter(|before| before.account.id != account.id) {
        let event = Event::new(EventKind::SessionEnded, Actor::User(other.account.id.clone()));
        services.audit.record(event).await.map_err(ProtocolError::from)?;
        let ended = users::end_session(services, &other.account.id, &other.session.sid).await;
        ended.map_err(ProtocolError::from)?;
    }
    let own = before.filter(|before| before.account.id == account.id);
    let (user_agent, address) = (browser.user_agent.clone(), Some(browser.address.ip()));
    let new = NewSession { user: account.id.clone(), authentication, user_agent, address };
    let answerable = goal.answerable(services, (account, &new.authentication)).await?;
    let code = |session: &Session, batch| match &answerable {
        Some((request, granted_at)) => {
            let (code, batch) =
                services.codes.issuing(batch, consent::code_for(request, session, *granted_at))?;
            Ok((Some(request.reply_to.code(&code).location()), batch))
        }
        None => Ok((None, batch)),
    };
    let entering = async {
        if let Some(own) = own {
            let anew = Entry::Anew(own.cookie, new.authentication.clone());
            match users::sign_in_from(services, (account, anew), arrival, code).await {
                Ok(None) => {}
                Err(error) => {
                    // It may have been renewed all the same: then nobody has its cookie, and the browser could not end it.
                    let event = Event::new(EventKind::SessionEnded, Actor::User(account.id.clone()));
                    if let Err(error) = services.audit.record(event).await {
                        tracing::warn!(%error, "the end of a session is not on record");
                    }
                    if let Err(error) = users::end_session(services, &account.id, &own.session.sid).await {
                        tracing::warn!(%error, "a session may live on whose cookie nobody has");
                    }
                    return Err(error);
                }
                renewed => return renewed,
            }
        }
        users::sign_in_from(services, (account, Entry::New(new)), arrival, code).await
    };
    // Both at once, for neither lets anybody in before the cookie is given out.
    let event = Event::new(EventKind::SessionStarted, Actor::User(account.id.clone()));
    let (recorded, entered) = tokio::join!(services.audit.record(event), entering);
    let entered = entered.map_err(ProtocolError::from)?;
    let Some((started, device, reply)) = entered else {
        return Err(Interrupted::stale(goal.location(services)));
    };
    if let Err(unrecorded) = recorded {
        // Nobody has its cookie; it must not stand among the person's sessions either, nor what was issued in it if it is one
        // that was renewed.
        let ended = users::end_session(services, &account.id, &started.session.sid).await;
        ended.map_err(ProtocolError::from)?;
        return Err(ProtocolError::from(unrecorded).into());
    }
    let location = reply.unwrap_or_else(|| goal.signed_in(services));
    Ok(SignedIn::Done { location, session: Some(started.cookie), device: Some(device) })
}
