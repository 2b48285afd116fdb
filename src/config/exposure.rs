use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;

/// The mode of a file of secrets that others may read, or its group change; nothing if it is closed to them. The group may
/// read: an orchestrator mounts secrets so.
#[must_use]
pub fn exposed(file: &Metadata) -> Option<u32> {
    let mode = file.permissions().mode() & 0o777;
    (mode & 0o027 != 0).then_some(mode)
}
