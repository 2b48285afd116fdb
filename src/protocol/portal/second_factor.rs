use super::event;
use crate::audit::EventKind;
use crate::oauth::{ErrorCode, Secret};
use crate::protocol::admin::audited;
use crate::protocol::authorize::Present;
use crate::protocol::{ProtocolError, Services};

/// Puts the authenticator app into use whose secret was made last, if `code` shows that it has it. Answers with the
/// recovery codes, or with nothing if the code is wrong.
///
/// # Errors
/// What the store or the audit log fail with.
pub async fn confirm_second_factor(
    services: &Services,
    present: &Present,
    code: &str,
) -> Result<Option<Vec<Secret>>, ProtocolError> {
    let (event, user) = (event(EventKind::SecondFactorAdded, present), &present.account.id);
    // What does not come about is not put on record as done.
    if !services.second_factors.would_confirm(user, code).await? {
        return Ok(None);
    }
    audited(services, event, async {
        services.second_factors.confirm(user, code).await?.ok_or_else(changed).map(Some)
    })
    .await
}

/// Removes the second factor: from now on the password is enough.
///
/// # Errors
/// What the store or the audit log fail with.
pub async fn remove_second_factor(services: &Services, present: &Present) -> Result<(), ProtocolError> {
    let event = event(EventKind::SecondFactorRemoved, present);
    audited(services, event, async { Ok(services.second_factors.remove(&present.account.id).await?) }).await
}

/// New recovery codes; the old ones count no more. Nothing if there is no second factor.
///
/// # Errors
/// What the store or the audit log fail with.
pub async fn new_recovery_codes(
    services: &Services,
    present: &Present,
) -> Result<Option<Vec<Secret>>, ProtocolError> {
    let (event, user) = (event(EventKind::RecoveryCodesRenewed, present), &present.account.id);
    if services.second_factors.find(user).await?.is_none() {
        return Ok(None);
    }
    audited(services, event, async {
        services.second_factors.new_recovery_codes(user).await?.ok_or_else(changed).map(Some)
    })
    .await
}

fn changed() -> ProtocolError {
    ProtocolError::new(ErrorCode::Conflict, "the second factor was changed meanwhile")
}
