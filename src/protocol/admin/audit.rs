//! The audit trail, for who looks for something in it. To look is no act, and not recorded.

use serde::Serialize;

use crate::audit::{Entry, Found, Search};
use crate::protocol::{Params, ProtocolError, Services};

/// A page of the entries of this node's log, the newest first.
#[derive(Debug, Serialize)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What to give as `before` for what is older; absent when the log's beginning was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// What is looked for, from the parameters `event`, `actor`, `subject` and `before` of a query string; `limit` entries at most.
///
/// # Errors
/// `invalid_request` when `before` is no number.
pub fn asked(params: &Params<'_>, limit: usize) -> Result<Search, ProtocolError> {
    let text = |name| params.one(name).unwrap_or_default().trim().to_owned();
    let wrong = |_| ProtocolError::invalid_request("before must be a number");
    let before = params.one("before").map(str::parse).transpose().map_err(wrong)?;
    Ok(Search { event: text("event"), actor: text("actor"), subject: text("subject"), before, limit })
}

/// Searches the log from its end, or from where an earlier search stopped; a page may have fewer than it could have, and
/// still not be the last. Whether the chain holds is not looked at.
///
/// # Errors
/// When the log can't be read.
pub async fn search(services: &Services, search: Search) -> Result<EntryPage, ProtocolError> {
    let Found { entries, before } = services.audit.search(search).await?;
    Ok(EntryPage { entries, before })
}
