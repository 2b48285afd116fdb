use std::num::NonZeroU32;
use std::time::Duration;

/// How many requests in any span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub requests: NonZeroU32,
    /// In any span as long as this.
    pub span: Duration,
}

impl Limit {
    /// So many in any 60 seconds; none at all means no limit.
    #[must_use]
    pub fn per_minute(requests: u32) -> Option<Self> {
        NonZeroU32::new(requests).map(|requests| Self { requests, span: Duration::from_mins(1) })
    }
}

/// What is left of a limit after a request asked for its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whether the request is let through.
    pub admitted: bool,
    /// The limit.
    pub limit: Limit,
    /// How many more would be let through at once.
    pub remaining: u32,
    /// After how long one more is: when the oldest request leaves the span. Nothing if none is in it.
    pub resets_after: Duration,
}

impl Quota {
    /// [`Self::resets_after`] in whole seconds, never too few.
    #[must_use]
    pub fn reset_seconds(&self) -> u64 {
        self.resets_after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }
}
