//! Who asks how often: the address that a request counts for, and windows that let through at most so many
//! requests in any span of time. Nothing here is written down; what must survive a crash is the business of
//! `users`.

mod address;
mod forwarded;
mod policies;
mod quota;
mod share;
mod window;

pub use address::{AddressPrefix, ClientAddress};
pub use forwarded::TrustedProxies;
pub use policies::{Exceeded, Limited, Limits, Policy, Standing};
pub use quota::{Limit, Quota};
pub use window::SlidingWindow;
