//! OAuth itself; knows no HTTP type.
