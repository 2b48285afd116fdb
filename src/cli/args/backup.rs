use std::path::PathBuf;

use clap::Args;

/// Which copy is put back.
#[derive(Args, Debug)]
pub(in crate::cli) struct RestoreArgs {
    /// The file that `export` wrote.
    #[arg(required_unless_present = "in_place", conflicts_with = "in_place")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The data directory itself is the copy, put back by other means.
    #[arg(long)]
    pub(in crate::cli) in_place: bool,
    /// Keep the API keys, because none was revoked since the copy was taken. They end otherwise.
    #[arg(long)]
    pub(in crate::cli) keep_api_keys: bool,
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
