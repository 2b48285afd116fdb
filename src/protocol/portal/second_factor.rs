use super::event;
use crate::audit::EventKind;
use crate::oauth::Secret;
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
    let event = event(EventKind::SecondFactorAdded, present);
    audited(services, event, async { Ok(services.second_factors.confirm(&present.account.id, code).await?) })
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
    audited(services, event, async { Ok(services.second_factors.new_recovery_codes(user).await?) }).await
}
