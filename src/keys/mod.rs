//! The signing keys and their rotation.
