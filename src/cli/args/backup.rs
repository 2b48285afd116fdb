use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;

/// Which copy is put back.
#[derive(Args, Debug)]
pub(in crate::cli) struct RestoreArgs {
    /// The file that `export` wrote.
    #[arg(required_unless_present_any = ["in_place", "false_alarm"], conflicts_with_all = ["in_place", "false_alarm"])]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The data directory itself is the copy, put back by other means.
    #[arg(long)]
    pub(in crate::cli) in_place: bool,
    /// Nothing was put back, although the start warns that it was, noticed at this time: nothing ends, and it warns no more.
    #[arg(long, value_name = "NOTICED_AT", conflicts_with_all = ["in_place", "keep_api_keys", "keys_lost", "sha256"])]
    pub(in crate::cli) false_alarm: Option<DateTime<Utc>>,
    /// Keep the API keys, because none was revoked since the copy was taken. They end otherwise.
    #[arg(long)]
    pub(in crate::cli) keep_api_keys: bool,
    /// The private keys of the installation are lost; those that lie there now belong to nobody else and are destroyed.
    #[arg(long, requires = "in_place", conflicts_with = "file")]
    pub(in crate::cli) keys_lost: bool,
    /// Which copy it must be, as `export` and `inspect` print it: an older one is refused before anything is touched.
    #[arg(long, conflicts_with = "in_place", value_name = "DIGEST")]
    pub(in crate::cli) sha256: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) nodes: NodesArgs,
}

/// What the operator knows of the nodes of a database.
#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct NodesArgs {
    /// No node runs, although the database has heard of one within the last minute: it was killed.
    #[arg(long = "nodes-are-stopped")]
    pub(in crate::cli) stopped: bool,
}
