//! What the service tells its operators: the log and the metrics. Security-relevant acts stand in
//! [`crate::audit`], not here.

mod failures;
mod family;
mod latency;
mod logging;
mod metrics;
mod request_line;
mod store_call;

pub use failures::{request_failed, tell_failures};
pub use logging::{LoggingError, logging};
pub use metrics::{KeyPhase, Metrics};
pub use store_call::StoreCall;
