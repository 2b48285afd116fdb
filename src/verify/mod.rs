//! The resource server half: verifies access tokens offline.
