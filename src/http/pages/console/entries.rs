use crate::audit::{Entry, Found, Search};
use crate::protocol::{ProtocolError, Services};

/// An entry of the audit trail, as a row of a table.
pub(super) struct EntryView {
    pub(super) time: String,
    pub(super) event: String,
    pub(super) outcome: String,
    pub(super) actor: String,
    pub(super) targets: Vec<String>,
    pub(super) detail: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let targets = entry.targets().map(str::to_owned).collect();
        let actor = match entry.actor.id {
            Some(id) => format!("{} {id}", entry.actor.kind),
            None => entry.actor.kind,
        };
        let more = |(name, value): (&String, &serde_json::Value)| match value {
            serde_json::Value::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        };
        let mut detail: Vec<String> = entry.detail.iter().map(more).collect();
        detail.extend(entry.source_ip.map(|address| format!("from {address}")));
        // As it stands in the log, to the second.
        let time = entry.time.replace('T', " ").split('.').next().unwrap_or_default().to_owned();
        Self { time, event: entry.event, outcome: entry.outcome, actor, targets, detail: detail.join("; ") }
    }
}

/// Searches the audit trail.
pub(super) async fn search(
    services: &Services,
    search: Search,
) -> Result<(Vec<EntryView>, Option<u64>), ProtocolError> {
    let Found { entries, before } = services.audit.search(search).await?;
    Ok((entries.into_iter().map(EntryView::from).collect(), before))
}

/// The newest entries.
pub(super) async fn latest(services: &Services, limit: usize) -> Result<Vec<EntryView>, ProtocolError> {
    Ok(search(services, Search { limit, ..Search::default() }).await?.0)
}
