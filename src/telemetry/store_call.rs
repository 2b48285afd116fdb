/// What was asked of the store, as its contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// One row.
    Get,
    /// A page of rows.
    Scan,
    /// A batch of conditional writes.
    Commit,
    /// What others committed.
    Changes,
    /// What time it is there.
    Now,
    /// Rows that have expired are removed.
    Sweep,
    /// A view of one moment is opened.
    Freeze,
}

impl StoreCall {
    /// The names of all of them.
    pub(super) const NAMES: [&'static str; 7] =
        ["get", "scan", "commit", "changes", "now", "sweep", "freeze"];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Scan => "scan",
            Self::Commit => "commit",
            Self::Changes => "changes",
            Self::Now => "now",
            Self::Sweep => "sweep",
            Self::Freeze => "freeze",
        }
    }
}
