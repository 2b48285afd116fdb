//! The people: how often somebody may try to sign in, and the API keys that they hand to programs.

mod api_key;
mod api_keys;
mod throttle;

pub use api_key::{ApiKey, ApiKeyOwner, CreatedApiKey, NewApiKey};
pub use api_keys::{ApiKeyError, ApiKeys};
pub use throttle::{Attempt, DeviceCookie, DeviceId, LoginThrottle, ThrottleError};
