use crate::audit::{Entry, Search};
use crate::protocol::admin::audit::{self, EntryPage};
use crate::protocol::{ProtocolError, Services};

/// An entry of the audit trail, as a row of a table.
pub(super) struct EntryView {
    pub(super) time: String,
    pub(super) event: String,
    pub(super) outcome: String,
    /// What they are.
    pub(super) actor: String,
    /// Which one, unless there is one only.
    pub(super) actor_id: Option<String>,
    pub(super) targets: Vec<String>,
    pub(super) detail: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let targets = entry.targets().map(str::to_owned).collect();
        let more = |(name, value): (&String, &serde_json::Value)| match value {
            serde_json::Value::String(text) => format!("{name}: {text}"),
            serde_json::Value::Array(words) => {
                let words: Vec<&str> = words.iter().filter_map(serde_json::Value::as_str).collect();
                format!("{name}: {}", words.join(", "))
            }
            other => format!("{name}: {other}"),
        };
        let mut detail: Vec<String> = entry.detail.iter().map(more).collect();
        detail.extend(entry.source_ip.map(|address| format!("from {address}")));
        let (actor, actor_id) = (entry.actor.kind, entry.actor.id);
        // As it stands in the log, to the second.
        let time = entry.time.replace('T', " ").split('.').next().unwrap_or_default().to_owned();
        Self {
            time,
            event: entry.event,
            outcome: entry.outcome,
            actor,
            actor_id,
            targets,
            detail: detail.join("; "),
        }
    }
}

/// Searches the audit trail.
pub(super) async fn search(
    services: &Services,
    search: Search,
) -> Result<(Vec<EntryView>, Option<u64>), ProtocolError> {
    let EntryPage { entries, before } = audit::search(services, search).await?;
    Ok((entries.into_iter().map(EntryView::from).collect(), before))
}

/// The newest entries.
pub(super) async fn latest(services: &Services, limit: usize) -> Result<Vec<EntryView>, ProtocolError> {
    Ok(search(services, Search { limit, ..Search::default() }).await?.0)
}
