use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::oauth::{Secret, SessionId, Subject, UserId};
use crate::protocol::{ProtocolError, Services};
use crate::store::{Batch, Committed, StoreError};
use crate::tokens::Whole;
use crate::users::{Account, Arrival, Authentication, DeviceCookie, NewSession, Session, StartedSession};

/// How often a sign-in or a sign-out is tried again because something that it depends on was changed.
const ATTEMPTS: usize = 16;

/// What a sign-in is to come to.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A new session.
    New(NewSession),
    /// The session that this cookie opens goes on with another cookie, for the person has proved it anew. It must be theirs.
    Anew(Secret, Authentication),
}

/// Lets somebody in who has proved to be the person of `account`. `None` if all that the person was signed in to was ended
/// since `account` was read: by a new password, or by disabling or deleting it; and if the session that was to go on has
/// ended. Whether a second factor was asked for is not looked at.
///
/// # Errors
/// When the store fails.
pub async fn sign_in(
    services: &Services,
    account: &Account,
    entry: Entry,
) -> Result<Option<StartedSession>, StoreError> {
    committed(services, async || entering(services, account, &entry).await).await
}

/// The same; and in the same commit the tries of strangers are forgotten, the device is known from now on, and what `also`
/// adds for the session happens. Send the device its cookie.
///
/// # Errors
/// When the store fails.
pub async fn sign_in_from<T>(
    services: &Services,
    (account, entry): (&Account, Entry),
    arrival: &Arrival,
    also: impl Fn(&Session, Batch) -> Result<(T, Batch), StoreError>,
) -> Result<Option<(StartedSession, DeviceCookie, T)>, StoreError> {
    let drafted = async || {
        let Some((started, batch)) = entering(services, account, &entry).await? else { return Ok(None) };
        let (cookie, batch) = services.login_throttle.forgiving(batch, &account.id, arrival).await?;
        let (more, batch) = also(&started.session, batch)?;
        Ok(Some(((started, cookie, more), batch)))
    };
    committed(services, drafted).await
}

/// The session, and the batch with which it begins or goes on. That depends on the account's row: whoever ends all
/// sessions after changing it finds this one among them, or has kept it from beginning.
async fn entering(
    services: &Services,
    account: &Account,
    entry: &Entry,
) -> Result<Option<(StartedSession, Batch)>, StoreError> {
    let Some(batch) = services.accounts.unchanged(Batch::new(), account).await? else { return Ok(None) };
    let drafted = match entry.clone() {
        Entry::New(new) => Some(services.sessions.starting(batch, new)?),
        Entry::Anew(cookie, authentication) => {
            services.sessions.renewing(batch, &cookie, authentication).await?
        }
    };
    Ok(drafted.filter(|(started, _)| started.session.user == account.id))
}

/// Commits what `draft` says, drafted anew as long as something that it depends on is changed before.
async fn committed<T>(
    services: &Services,
    draft: impl AsyncFn() -> Result<Option<(T, Batch)>, StoreError>,
) -> Result<Option<T>, StoreError> {
    for _ in 0..ATTEMPTS {
        let Some((drafted, batch)) = draft().await? else { return Ok(None) };
        if services.store.commit(batch).await? == Committed::Applied {
            return Ok(Some(drafted));
        }
    }
    Err(StoreError::Unavailable("what a session depends on is changed all the time".into()))
}

/// Ends one session, and with it what was issued in it: codes and refresh tokens need it, and the access tokens are revoked in the
/// same commit. What was granted with `offline_access` goes on (OpenID Connect Back-Channel Logout 1.0, section 2.7). Answers
/// with the session if there was one. `sid` must be known to be of `user`: what was issued in it is revoked also if it has ended.
/// What could not be revoked after that commit is revoked by [`Families::finish`](crate::tokens::Families::finish).
///
/// # Errors
/// When the store fails before the session has ended, or may have; and where it had ended before, when what is left of it can't
/// be revoked.
pub async fn end_session(
    services: &Services,
    user: &UserId,
    sid: &SessionId,
) -> Result<Option<Session>, StoreError> {
    let attempted = AtomicBool::new(false);
    let drafted = async || {
        let Some((ended, batch)) = services.sessions.ending(Batch::new(), user, sid).await? else {
            return Ok(None);
        };
        let (batch, tokens) = services.families.ending(batch, sid).await?;
        attempted.store(true, Relaxed);
        Ok(Some(((ended, tokens), batch)))
    };
    let ended = match committed(services, &drafted).await {
        // It may be that the answer was lost and not the commit: then it has ended, and what comes after is to be done.
        Err(StoreError::Unavailable(_)) => committed(services, &drafted).await?,
        answered => answered?,
    };
    let (ended, tokens) = ended.unwrap_or_default();
    services.logouts.wake();
    if let Err(error) = services.families.ended(sid, &tokens).await {
        if !attempted.load(Relaxed) {
            // Nothing was put on record by this: who asked has to ask again.
            return Err(error);
        }
        // That it has ended is on record, and so is that there may be such: nobody need ask for this again.
        tracing::warn!(%error, "access tokens of an ended session count until housekeeping has revoked them");
    }
    Ok(ended)
}

/// Ends every session of `user`, and every token and grant that was made for them up to now. Answers with the sessions,
/// whose relying parties may want to be told.
///
/// # Errors
/// When the store fails: then some may have ended. What was made before is cut off all the same if that can be written.
pub async fn sign_out_everywhere(services: &Services, user: &UserId) -> Result<Vec<Session>, ProtocolError> {
    // The cut-off is the last: a session that lived on behind it could still redeem a code.
    // One that can't be ended keeps no token alive.
    let ended = services.sessions.end_all(user).await;
    services.revocations.revoke_before_now(&Whole::Subject(Subject::from(user))).await?;
    Ok(ended?)
}
