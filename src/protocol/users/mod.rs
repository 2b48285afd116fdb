//! The accounts: what the users API, the admin API and the command line on a stopped installation all call.
//! Every change is audited before it takes effect.

mod admit;
mod error;
pub(in crate::protocol) mod request;
mod sign_in;
mod view;

use super::admin::api_keys::revoke_of;
use super::admin::{audited, clients, difference};
use super::{ProtocolError, Services};
use crate::audit::{Actor, Event, EventKind};
use crate::oauth::{ErrorCode, Subject, UserId};
use crate::tokens::Whole;
use crate::users::{Account, AccountChange, AccountError, ApiKeyOwner, NewAccount, Page};

pub use admit::admit;
pub use request::{NewUser, PageRequest, UserChange};
pub use sign_in::{Entry, end_session, sign_in, sign_in_from, sign_out_everywhere};
pub use view::{UserView, optional_rfc3339, rfc3339};

/// Who changes accounts, and how far.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// Who.
    pub actor: Actor,
    /// Whether administrators' accounts may be made, changed and deleted too: whoever may do that can become one.
    pub of_administrators: bool,
}

impl Keeper {
    /// Their act, for the record.
    fn event(&self, kind: EventKind) -> Event {
        Event::new(kind, self.actor.clone())
    }

    fn may_touch(&self, administrator: bool) -> Result<(), ProtocolError> {
        if self.of_administrators || !administrator {
            return Ok(());
        }
        let reason = "administrators' accounts are changed by those who hold every admin scope";
        Err(ProtocolError::new(ErrorCode::InsufficientScope, reason))
    }
}

/// The accounts of one page, in the order in which they were made.
///
/// # Errors
/// When the store fails.
pub async fn list(services: &Services, page: Page) -> Result<Vec<Account>, ProtocolError> {
    Ok(services.accounts.list(page).await?)
}

/// One account.
///
/// # Errors
/// `not_found`.
pub async fn show(services: &Services, id: &str) -> Result<Account, ProtocolError> {
    let Ok(id) = UserId::parse(id) else { return Err(not_found()) };
    services.accounts.find(&id).await?.ok_or_else(not_found)
}

/// Makes an account.
///
/// # Errors
/// `invalid_request` with the reason, `conflict` when the e-mail address or the user name is taken,
/// `insufficient_scope` for an administrator whom the keeper may not make.
pub async fn register(
    services: &Services,
    keeper: &Keeper,
    new: NewAccount,
) -> Result<Account, ProtocolError> {
    keeper.may_touch(new.administrator)?;
    let id = services.accounts.new_id();
    services.accounts.may_register(&id, &new).await?;
    let event = keeper
        .event(EventKind::UserRegistered)
        .subject(&Subject::from(&id))
        .detail("administrator", new.administrator)
        .detail("email_verified", new.email_verified)
        .detail("email", difference::of_email(&services.digests, &new.email));
    audited(services, event, async { Ok(services.accounts.register_as(id, new).await?) }).await
}

/// Changes an account. A new password and disabling it end all that the person is signed in to; disabling it, all that was issued
/// to the person's applications, too.
///
/// # Errors
/// As [`register`], `not_found`, and `conflict` where the account is another version than the change is of, or nobody
/// would be left who administers.
pub async fn change(
    services: &Services,
    keeper: &Keeper,
    id: &str,
    mut change: AccountChange,
) -> Result<Account, ProtocolError> {
    let account = show(services, id).await?;
    keeper.may_touch(account.administrator || change.administrator == Some(true))?;
    if change.of_version.is_some_and(|version| version != account.changed_at()) {
        return Err(AccountError::Changed.into());
    }
    // What is put on record is what is done: of the account as it was read.
    change.of_version = Some(account.changed_at());
    // Nobody is signed out, and nothing put on record as done, by what is refused anyway.
    let changed = account.with(&change)?;
    services.accounts.may_be(&changed).await?;
    if !changed.administers() {
        services.accounts.may_leave(&account).await?;
    }
    let mut difference = difference::of_account(&services.digests, &account, &changed)?;
    if change.password.is_some() {
        difference = difference.and("password");
    }
    let event =
        keeper.event(EventKind::UserChanged).subject(&Subject::from(&account.id)).difference(&difference);
    audited(services, event, async {
        // Who sets a password or lets somebody in again vouches for the owner: strangers' tries are forgotten.
        if change.password.is_some() || change.disabled == Some(false) {
            services.login_throttle.recovered(&account.id).await?;
        }
        if !change.signs_out() {
            return Ok(services.accounts.update(&account.id, &change).await?);
        }
        // Before, so that a crash in between leaves nothing valid behind; after, for what was begun meanwhile.
        sign_out_everywhere(services, &account.id).await?;
        let changed = services.accounts.update(&account.id, &change).await?;
        sign_out_everywhere(services, &account.id).await?;
        if changed.disabled {
            for client in services.clients.of_owner(&account.id) {
                services.revocations.revoke_before_now(&Whole::Client(client.client_id.clone())).await?;
            }
        }
        Ok(changed)
    })
    .await
}

/// Deletes an account with all that belongs to it, and ends all that the person is signed in to. Its identifier is
/// never given again.
///
/// # Errors
/// `not_found`, `insufficient_scope` for an administrator whom the keeper may not delete, or `conflict` for the last one and
/// for an account that was changed meanwhile.
pub async fn delete(services: &Services, keeper: &Keeper, id: &str) -> Result<(), ProtocolError> {
    let account = show(services, id).await?;
    keeper.may_touch(account.administrator)?;
    services.accounts.may_leave(&account).await?;
    let event = keeper
        .event(EventKind::UserDeleted)
        .subject(&Subject::from(&account.id))
        .detail("email", difference::of_email(&services.digests, &account.email));
    audited(services, event, async {
        // Before, so that a failure in between leaves nothing behind, and it can be asked for again; after, for what was
        // begun meanwhile.
        take_all(services, keeper, &account.id).await?;
        services.accounts.delete(&account).await?;
        take_all(services, keeper, &account.id).await
    })
    .await
}

/// Takes from somebody all but the account itself.
async fn take_all(services: &Services, keeper: &Keeper, user: &UserId) -> Result<(), ProtocolError> {
    sign_out_everywhere(services, user).await?;
    services.consents.withdraw_all(user).await?;
    revoke_of(services, &ApiKeyOwner::User(user.clone())).await?;
    // Nobody would be left who answers for them.
    for client in services.clients.of_owner(user) {
        clients::remove(services, keeper.event(EventKind::ClientDeleted), &client).await?;
    }
    Ok(())
}

/// Removes the second factor of somebody who lost it: from now on the password is enough. Ends all that the person is
/// signed in to, because whoever found it may be; where there is no factor any more too, so that it can be asked for again when that
/// end failed. That it is the owner who asks is not checked.
///
/// # Errors
/// `not_found` where there is no such account, `insufficient_scope` for an administrator whom the
/// keeper may not change, or `conflict` for an account that was changed meanwhile.
pub async fn remove_second_factor(
    services: &Services,
    keeper: &Keeper,
    id: &str,
) -> Result<(), ProtocolError> {
    let account = show(services, id).await?;
    keeper.may_touch(account.administrator)?;
    let was_set = services.second_factors.find(&account.id).await?.is_some();
    let event = keeper.event(EventKind::SecondFactorRemoved).detail("was_set", was_set);
    audited(services, event.subject(&Subject::from(&account.id)), async {
        // Before, so that a crash in between leaves nothing valid behind; after, for what was begun meanwhile.
        sign_out_everywhere(services, &account.id).await?;
        // Of the account as the keeper may touch it; and nobody gets in who used the factor a moment before.
        let of_version = Some(account.changed_at());
        let change = AccountChange { removes_second_factor: true, of_version, ..AccountChange::default() };
        services.accounts.update(&account.id, &change).await?;
        sign_out_everywhere(services, &account.id).await?;
        Ok(())
    })
    .await
}

fn not_found() -> ProtocolError {
    ProtocolError::new(ErrorCode::NotFound, "there is no such user")
}
