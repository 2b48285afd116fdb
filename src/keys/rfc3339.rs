//! Seconds since the epoch, written for people (RFC 3339).
#![expect(clippy::trivially_copy_pass_by_ref, clippy::ref_option, reason = "as serde calls it")]

use chrono::{DateTime, Utc};
use serde::{Serialize as _, Serializer};

pub(super) fn date<S: Serializer>(seconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    DateTime::<Utc>::from_timestamp(*seconds, 0).serialize(serializer)
}

pub(super) fn optional<S: Serializer>(seconds: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    seconds.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0)).serialize(serializer)
}
