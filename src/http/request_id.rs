//! What a request is called: in its answer, in the audit log and in the service's own log.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

use super::{State, limits};
use crate::audit::{Origin, RequestId};
use crate::entropy::Entropy;
use crate::limits::ClientAddress;

/// The field by which an answer, and a trusted proxy's request, says which request it is.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes identifiers. No entropy is asked for a request: a counter behind a keyed hash, so that nobody sees from
/// identifiers how many requests there are.
pub(super) struct RequestIds {
    /// Has the key in it.
    hasher: DefaultHasher,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&entropy.bytes::<32>());
        Self { hasher, next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        let mut hasher = self.hasher.clone();
        hasher.write_u64(self.next.fetch_add(1, Ordering::Relaxed));
        RequestId::Own(hasher.finish())
    }
}

/// Where a request comes from, and what it is called: by a name of our own, or as a trusted proxy says where that is believed.
pub(super) fn origin(state: &State, request: &HttpRequest) -> Origin {
    let address = limits::address(state, request).map(ClientAddress::ip);
    Origin { address, request_id: given(state, request).unwrap_or_else(|| state.request_ids.next()) }
}

fn given(state: &State, request: &HttpRequest) -> Option<RequestId> {
    let peer = ClientAddress::from(request.peer_addr()?.ip());
    if !state.believe_request_id || !state.proxies.trusts(peer) {
        return None;
    }
    let mut fields = request.headers().get_all(REQUEST_ID);
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    RequestId::given(field.to_str().ok()?)
}

/// The identifier as the answer's field has it. Every answer has one, so it is not formatted as other texts are.
pub(super) fn field(request_id: &RequestId) -> Option<HeaderValue> {
    match request_id {
        RequestId::Own(number) => {
            let digits: [u8; 16] =
                std::array::from_fn(|place| b"0123456789abcdef"[usize::from(nibble(*number, place))]);
            HeaderValue::from_bytes(&digits).ok()
        }
        RequestId::Given(text) => HeaderValue::from_str(text).ok(),
    }
}

/// Four bits of a number, the highest first.
fn nibble(number: u64, place: usize) -> u8 {
    let byte = number.to_be_bytes()[place / 2];
    if place.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
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

    #[test]
    fn a_field_says_what_a_log_says() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let request_id = RequestId::Own(number);
            assert_eq!(field(&request_id).unwrap(), request_id.to_string());
        }
        assert_eq!(field(&RequestId::given("a.B-9").unwrap()).unwrap(), "a.B-9");
    }
}
