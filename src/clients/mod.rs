//! The registered clients.
