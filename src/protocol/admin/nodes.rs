//! Which nodes serve this installation.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::protocol::users::optional_rfc3339;
use crate::protocol::{ProtocolError, Services};
use crate::store::{Node, Said};

/// The nodes of the installation.
#[derive(Debug, Serialize)]
pub struct NodeList {
    /// Whether others could use the same store: if not, this node is all there is.
    pub shared: bool,
    /// Those that have announced themselves within the last minute and not taken leave since, by name.
    pub nodes: Vec<NodeView>,
}

/// A node, as it last announced itself. What it said is missing of one of an earlier release.
#[derive(Debug, Serialize)]
pub struct NodeView {
    /// What it is called.
    pub name: String,
    /// Which release it is of.
    pub version: Option<String>,
    /// When it was started, by its own clock.
    #[serde(serialize_with = "optional_rfc3339")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it was last heard of, by the store's clock.
    #[serde(serialize_with = "optional_rfc3339")]
    pub seen_at: Option<DateTime<Utc>>,
    /// By how much its clock is ahead of the store's, in milliseconds.
    pub clock_offset_millis: Option<i64>,
    /// Whether its clock is too far off to issue anything.
    pub clock_off: Option<bool>,
}

/// Every node that serves this installation now.
///
/// # Errors
/// When the store fails.
pub async fn list(services: &Services) -> Result<NodeList, ProtocolError> {
    let nodes = services.nodes.list(services.fitness.node_clock()).await?;
    let shared = services.nodes.may_be_many();
    Ok(NodeList { shared, nodes: nodes.into_iter().map(NodeView::of).collect() })
}

impl NodeView {
    fn of(Node { name, said }: Node) -> Self {
        let tell = said.as_ref();
        Self {
            name,
            version: tell.map(|said| said.version.clone()),
            started_at: tell.map(|said| said.started_at),
            seen_at: tell.map(|said| said.seen_at),
            clock_offset_millis: tell.map(|said| said.clock.offset_millis),
            clock_off: tell.map(|said: &Said| said.clock.is_off),
        }
    }
}
