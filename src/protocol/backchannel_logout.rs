//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0, section 2.5).

mod deliveries;

use std::sync::Arc;

use tokio::task::JoinHandle;
use url::Url;

pub use deliveries::{LogoutDeliveries, LogoutOutcome};

use super::{ProtocolError, Services};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::clients::Client;
use crate::oauth::{SignedToken, Subject};
use crate::tokens::{IssueError, NewLogoutToken};
use crate::users::{ClaimedLogout, Logout};

/// How one try ended.
enum Told {
    /// The client has taken it.
    Delivered,
    /// There is nobody to tell: the client is gone, or wants to know no more.
    Dropped,
    /// The client will not take it, ever.
    Refused(String),
    /// It may work another time.
    Failed(String),
}

/// Sends what is due and may be under way at once, each in a task of its own, whose handles are given back; what is not
/// taken now is due again at the next call. A task that ends wakes [`crate::users::LogoutQueue::wanted`]. One that is
/// aborted loses nothing: what it had claimed comes due again.
///
/// A node that can't know what time it is, or what the others have done, leaves all of it to them: it can sign no logout token, and by
/// its clock everything may be due, and be too old.
///
/// # Errors
/// When the store fails.
pub async fn send_logouts(services: &Arc<Services>) -> Result<Vec<JoinHandle<()>>, ProtocolError> {
    let mut tasks = Vec::new();
    if services.is_stopping() || services.fitness.check().is_err() {
        return Ok(tasks);
    }
    let mut due = services.logouts.due(deliveries::OF_ONE_CLIENT).await?;
    if !due.is_empty() {
        // Another client first each time: where many do not answer, none is always the last.
        let first = usize::from(u16::from_be_bytes(services.entropy.bytes())) % due.len();
        due.rotate_left(first);
    }
    for due in due {
        let Some(slot) = services.logout_deliveries.slot(&due.logout.client_id) else { continue };
        let Some(claimed) = services.logouts.claim(due).await? else { continue };
        let services = services.clone();
        tasks.push(tokio::spawn(async move {
            if let Err(error) = settle(&services, claimed).await {
                tracing::error!(error = ?error, "what came of a logout token could not be written; it is sent again");
            }
            drop(slot);
            services.logouts.wake();
        }));
    }
    Ok(tasks)
}

/// Tells a client, and notes what came of it.
async fn settle(services: &Services, claimed: ClaimedLogout) -> Result<(), ProtocolError> {
    let (queue, deliveries) = (&services.logouts, &services.logout_deliveries);
    let (client_id, sid) = (claimed.logout.client_id.clone(), claimed.logout.sid.clone());
    let outcome = match tell(services, &claimed.logout).await {
        Told::Delivered => {
            queue.done(claimed).await?;
            LogoutOutcome::Delivered
        }
        Told::Dropped => {
            queue.done(claimed).await?;
            LogoutOutcome::Dropped
        }
        Told::Refused(reason) => {
            give_up(services, claimed, &reason).await?;
            LogoutOutcome::Refused
        }
        // The clock was stepped meanwhile: the row comes due again after the lease, whose date is right.
        Told::Failed(reason) if services.fitness.is_clock_off() => {
            tracing::debug!(%client_id, %sid, reason, "a logout token was not taken, and this node's clock is off");
            LogoutOutcome::Postponed
        }
        Told::Failed(reason) => {
            if let Some(claimed) = queue.postpone(claimed).await? {
                give_up(services, claimed, &reason).await?;
                LogoutOutcome::GivenUp
            } else {
                tracing::debug!(%client_id, %sid, reason, "a logout token was not taken; it is sent again later");
                LogoutOutcome::Postponed
            }
        }
    };
    deliveries.count(outcome);
    Ok(())
}

/// Records that the client goes on believing in the session, then forgets it.
async fn give_up(services: &Services, claimed: ClaimedLogout, reason: &str) -> Result<(), ProtocolError> {
    let Logout { client_id, user, sid, .. } = &claimed.logout;
    tracing::warn!(%client_id, %sid, reason, "a client can't be told that a session has ended");
    let event = Event::new(EventKind::LogoutUndelivered, Actor::Service)
        .outcome(Outcome::Failed)
        .client(client_id)
        .subject(&Subject::from(user))
        .detail("sid", sid.as_str())
        .detail("reason", reason);
    services.audit.record(event).await?;
    Ok(services.logouts.done(claimed).await?)
}

async fn tell(services: &Services, logout: &Logout) -> Told {
    let mut party = party(services, logout);
    if party.is_none() {
        // This node may not have heard of it yet: what is dropped is gone.
        if let Err(error) = services.clients.refresh(logout.client_id.as_str().as_bytes()).await {
            return Told::Failed(error.to_string());
        }
        party = self::party(services, logout);
    }
    let Some((client, url)) = party else { return Told::Dropped };
    let token = match issue(services, &client, logout) {
        Ok(token) => token,
        Err(error) => return Told::Failed(error.to_string()),
    };
    let fields = vec![("logout_token", token.expose().to_owned())];
    match services.logout_deliveries.outgoing.post_form(&url, fields).await {
        // 204 is what some frameworks make of an empty 200 (section 2.8).
        Ok(200..=299) => Told::Delivered,
        // Section 2.8; 501 is what earlier drafts had where the client could not end the session.
        Ok(status @ (400 | 501)) => Told::Refused(format!("the answer was {status}")),
        Ok(status) => Told::Failed(format!("the answer was {status}")),
        Err(error) => Told::Failed(error.to_string()),
    }
}

/// The client and its address, as this node knows them, if there is such a client and it wants to be told.
fn party(services: &Services, logout: &Logout) -> Option<(Arc<Client>, Url)> {
    let client = services.clients.find(logout.client_id.as_str())?;
    // A client of the same name that was registered later is another one.
    if client.created_at > logout.joined_at {
        return None;
    }
    let url = Url::parse(client.backchannel_logout_uri.as_ref()?.as_str()).ok()?;
    Some((client, url))
}

/// A new token for every try: one that was answered too late may be known as used, and none counts for long.
fn issue(services: &Services, client: &Client, logout: &Logout) -> Result<SignedToken, IssueError> {
    let key = services.logout_token_key(client)?;
    services.logout_tokens.issue(&NewLogoutToken {
        client_id: &client.client_id,
        subject: &Subject::from(&logout.user),
        sid: &logout.sid,
        key: &key,
        issued_at: services.clock.numeric_date(),
    })
}
