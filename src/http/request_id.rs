//! What a request is called: in its answer, in the audit log and in the service's own log.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpRequest;

use super::observe::REQUEST_ID;
use super::{State, limits};
use crate::audit::{Origin, RequestId};
use crate::entropy::Entropy;
use crate::limits::ClientAddress;

/// Makes identifiers. No entropy is asked for a request: a counter behind a keyed hash, so that nobody sees from
/// identifiers how many requests there are.
pub(super) struct RequestIds {
    key: [u8; 32],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        Self { key: entropy.bytes(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write_u64(self.next.fetch_add(1, Ordering::Relaxed));
        RequestId::Own(hasher.finish())
    }
}

/// Where a request comes from, and what it is called: as a trusted proxy says, or else by a name of our own.
pub(super) fn origin(state: &State, request: &HttpRequest) -> Origin {
    let address = limits::address(state, request).map(ClientAddress::ip);
    Origin { address, request_id: given(state, request).unwrap_or_else(|| state.request_ids.next()) }
}

fn given(state: &State, request: &HttpRequest) -> Option<RequestId> {
    let peer = ClientAddress::from(request.peer_addr()?.ip());
    if !state.proxies.trusts(peer) {
        return None;
    }
    let mut fields = request.headers().get_all(REQUEST_ID);
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    RequestId::given(field.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn identifiers_differ_and_do_not_count() {
        let (one, other) = (RequestIds::new(&SeededEntropy::new(1)), RequestIds::new(&SeededEntropy::new(2)));
        let mut made: Vec<String> = (0..1000).map(|_| one.next().to_string()).collect();
        let ordered = made.is_sorted();
        made.extend((0..1000).map(|_| other.next().to_string()));
        made.sort_unstable();
        made.dedup();
        assert!(made.len() == 2000 && !ordered, "{}", made.len());
    }
}
