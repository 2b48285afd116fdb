//! The hash-chained log of security-relevant acts.
