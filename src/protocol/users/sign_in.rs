use crate::oauth::{Secret, Subject, UserId};
use crate::protocol::{ProtocolError, Services};
use crate::store::StoreError;
use crate::tokens::Whole;
use crate::users::{Account, Authentication, NewSession, Session, StartedSession};

/// Starts a session for somebody who has proved to be the person of `account`. `None` if all that the person was
/// signed in to was ended since `account` was read: by a new password, or by disabling or deleting it. Whether a second
/// factor was asked for is not looked at.
///
/// # Errors
/// When the store fails.
pub async fn sign_in(
    services: &Services,
    account: &Account,
    new: NewSession,
) -> Result<Option<StartedSession>, StoreError> {
    let started = services.sessions.start(new).await?;
    unless_ended(services, account, started).await
}

/// The same for somebody who is signed in by `cookie` already and has proved it anew: the session goes on with another
/// cookie. `None` also if it has ended.
///
/// # Errors
/// When the store fails.
pub async fn sign_in_anew(
    services: &Services,
    account: &Account,
    cookie: &Secret,
    authentication: Authentication,
) -> Result<Option<StartedSession>, StoreError> {
    match services.sessions.reauthenticate(cookie, authentication).await? {
        Some(started) => unless_ended(services, account, started).await,
        None => Ok(None),
    }
}

async fn unless_ended(
    services: &Services,
    account: &Account,
    started: StartedSession,
) -> Result<Option<StartedSession>, StoreError> {
    // Read after the session is there: whoever ends all sessions later finds it among them.
    let now = services.accounts.find(&account.id).await?;
    let unchanged = |now: &Account| !now.disabled && now.sign_in_generation == account.sign_in_generation;
    if started.session.user == account.id && now.as_ref().is_some_and(unchanged) {
        return Ok(Some(started));
    }
    services.sessions.end(&started.session.user, &started.session.sid).await?;
    Ok(None)
}

/// Ends every session of `user`, and every token and grant that was made for them up to now. Answers with the sessions,
/// whose relying parties may want to be told.
///
/// # Errors
/// When the store fails: then some may have ended.
pub async fn sign_out_everywhere(services: &Services, user: &UserId) -> Result<Vec<Session>, ProtocolError> {
    services.revocations.revoke_before_now(&Whole::Subject(Subject::from(user))).await?;
    Ok(services.sessions.end_all(user).await?)
}
