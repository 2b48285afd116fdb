use super::change_own;
use crate::oauth::Secret;
use crate::protocol::authorize::{Browser, Present, Problem, check_password};
use crate::protocol::users::{self, Entry};
use crate::protocol::{ProtocolError, Services};
use crate::users::{AccountChange, DeviceCookie, NewSession, StartedSession};

/// What came of a new password.
#[derive(Debug)]
pub enum PasswordChange {
    /// It is set. Everything the person was signed in to has ended, but for this new session.
    Done {
        /// The session.
        started: StartedSession,
        /// By what the device is known from now on.
        device: DeviceCookie,
    },
    /// The present password was proved, but the new one is not taken.
    Refused {
        /// Why.
        error: ProtocolError,
        /// By what the device is known from now on.
        device: DeviceCookie,
    },
    /// The present password was not proved.
    Unproved(Problem),
}

/// Sets a new password for whoever proves the present one. The tries count as those of the sign-in form do.
///
/// # Errors
/// The store fails, or too much is being hashed.
pub async fn change_password(
    services: &Services,
    (present, browser): (&Present, &Browser),
    (current, new): (&Secret, Secret),
) -> Result<PasswordChange, ProtocolError> {
    let account = &present.account;
    let device = match check_password(services, (account.email.as_str(), current), browser).await? {
        Ok((proved, arrival)) if proved.id == account.id => {
            services.login_throttle.succeeded(&account.id, &arrival).await?
        }
        Ok(_) => return Ok(PasswordChange::Unproved(Problem::Wrong)),
        Err(problem) => return Ok(PasswordChange::Unproved(problem)),
    };
    let changed = match change_own(services, present, AccountChange::password(new)).await {
        Ok(changed) => changed,
        Err(error) => return Ok(PasswordChange::Refused { error, device }),
    };
    let new = NewSession {
        user: account.id.clone(),
        // When and how they signed in has not changed by this.
        authentication: present.session.authentication.clone(),
        user_agent: browser.user_agent.clone(),
        address: Some(browser.address.ip()),
    };
    match users::sign_in(services, &changed, Entry::New(new)).await? {
        Some(started) => Ok(PasswordChange::Done { started, device }),
        // Disabled, or the password changed once more, in the meantime.
        None => Ok(PasswordChange::Unproved(Problem::Wrong)),
    }
}
