//! What is told at the start of algorithms that come and go.

use chrono::DateTime;

use crate::clients::Stranded;
use crate::keys::Waiting;
use crate::oauth::ClientId;
use crate::protocol::Services;

/// Says which algorithms wait until when, and which clients are registered for one that is gone: both work on, but not as somebody
/// who has just changed the settings may think.
pub(super) fn tell(services: &Services) {
    for Waiting { algorithm, sign_from } in services.keys.waiting() {
        let date = sign_from.and_then(|date| DateTime::from_timestamp(date, 0)).map(|date| date.to_rfc3339());
        let sign_from = date.as_deref().unwrap_or("when its first key is made and every verifier knows it");
        tracing::info!(
            %algorithm,
            sign_from,
            "an algorithm in use waits until every verifier knows its key; until then others sign as before"
        );
    }
    let Stranded { count, first } = services.clients.stranded();
    if count > 0 {
        let first: Vec<&str> = first.iter().map(ClientId::as_str).collect();
        tracing::warn!(
            count,
            first = first.join(", "),
            "clients are registered for an algorithm that is not in keys.algorithms: their access tokens are signed by another, \
             and their ID tokens are refused as soon as no key signs with it any more; change the clients, or add the algorithm"
        );
    }
}
