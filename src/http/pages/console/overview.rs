use actix_web::web;
use askama::Template;

use super::entries::{EntryView, latest};
use super::words;
use crate::http::State;
use crate::http::pages::shell::{Answered, Shell, Visitor, show};
use crate::keys::{Health, Phase};
use crate::protocol::admin::nodes::{NodeList, NodeView};

#[derive(Template)]
#[template(path = "console/overview.html")]
struct Overview<'a> {
    shell: Shell<'a>,
    issuer: &'a str,
    /// A style class.
    health: &'static str,
    health_words: &'static str,
    next_change: Option<String>,
    published: usize,
    clients: usize,
    resources: usize,
    audited: bool,
    /// Whether other nodes could use the same store.
    shared: bool,
    nodes: Vec<NodeRow>,
    entries: Vec<EntryView>,
}

struct NodeRow {
    name: String,
    version: String,
    seen: String,
    /// Whether its clock is right; nothing where it did not say.
    clock_is_right: Option<bool>,
    /// By how much the clock is ahead, in words.
    offset: String,
}

impl NodeRow {
    fn of(node: NodeView) -> Self {
        let unknown = || "not known".to_owned();
        Self {
            name: node.name,
            version: node.version.unwrap_or_else(unknown),
            seen: node.seen_at.map_or_else(unknown, words::second),
            clock_is_right: node.clock_off.map(|is_off| !is_off),
            offset: node.clock_offset_millis.map_or_else(String::new, words::ahead),
        }
    }
}

/// How the service is, at a glance.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let services = &state.services;
    let list = crate::protocol::admin::keys::list(services).signing;
    let (health, health_words) = match services.keys.health() {
        Health::Green => ("green", "all is well"),
        Health::Amber { .. } => ("amber", "the last attempts to change them failed; they still sign"),
        Health::Red { signs: true, .. } => ("red", "no next key can be made; the present ones still sign"),
        Health::Red { signs: false, .. } => ("red", "not read for too long; nothing is signed"),
    };
    let published = |phase: Phase| !matches!(phase, Phase::Forgotten | Phase::Compromised);
    let NodeList { shared, nodes } = crate::protocol::admin::nodes::list(services).await?;
    let template = Overview {
        shell: Shell::new(&state, &visitor, "/console"),
        issuer: &services.issuer,
        health,
        health_words,
        next_change: list.next_change.map(words::seconds),
        published: list.keys.iter().filter(|key| published(key.phase)).count(),
        clients: services.clients.count(),
        resources: services.resources.all().len(),
        audited: services.audit.is_writable(),
        shared,
        nodes: nodes.into_iter().map(NodeRow::of).collect(),
        entries: latest(services, 8).await?,
    };
    Ok(show(None, &template))
}
