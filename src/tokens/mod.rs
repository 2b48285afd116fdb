//! Tokens and their revocation.
