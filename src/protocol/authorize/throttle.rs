use super::sign_in::Problem;
use crate::protocol::{ProtocolError, Services};
use crate::users::{Arrival, Attempt, ThrottleError};

/// Lets a try be looked at, or says why not. One that is counts as failed until somebody is let in. A node whose clock is off looks
/// at none: it would date the tries, and the session that one begins.
pub(super) async fn check(
    services: &Services,
    attempt: &Attempt,
) -> Result<Result<Arrival, Problem>, ProtocolError> {
    services.fitness.check()?;
    match services.login_throttle.check(attempt).await {
        Ok(arrival) => Ok(Ok(arrival)),
        Err(ThrottleError::TooMany { retry_after }) => {
            Ok(Err(Problem::TooMany { retry_after: retry_after.as_secs().max(1) }))
        }
        Err(ThrottleError::Store(error)) => Err(error.into()),
    }
}
