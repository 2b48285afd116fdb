use super::*;
use crate::clock::ManualClock;
use crate::oauth::Algorithm::{self, ES256, ES384, EdDSA};
use crate::verify::testing::{FakeFetch, ISSUER, Issuer};

struct Fixture {
    network: FakeFetch,
    clock: Arc<ManualClock>,
    keys: Arc<KeySource>,
}

impl Fixture {
    fn new(algs: &[Algorithm]) -> Self {
        let network = FakeFetch::of(Issuer::new(), algs);
        let clock = Arc::new(ManualClock::at(0));
        let loader = JwksLoader::new(ISSUER.into(), Arc::new(network.clone()), None);
        let keys = Arc::new(KeySource::new(loader, clock.clone(), KeySettings::default()));
        Self { network, clock, keys }
    }

    fn publish(&self, algs: &[Algorithm]) {
        self.network.put(&FakeFetch::jwks_uri(), Issuer::new().jwks(algs), 300);
    }

    fn publish_text(&self, text: &str) {
        self.network.put(&FakeFetch::jwks_uri(), text.as_bytes().to_vec(), 300);
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Whether `alg`'s key is found.
    async fn finds(&self, alg: Algorithm) -> Result<bool, Refusal> {
        let kid = Issuer::new().jwk(alg).kid;
        Ok(self.keys.keys_for(&kid).await?.find(&kid).is_some())
    }

    fn jwks_calls(&self) -> usize {
        self.network.calls(&FakeFetch::jwks_uri())
    }
}

#[tokio::test]
async fn the_keys_are_found_from_the_issuer_alone() {
    let f = Fixture::new(&[ES256]);
    assert_eq!(f.finds(ES256).await, Ok(true));
    assert_eq!((f.network.calls(&FakeFetch::metadata_uri()), f.jwks_calls()), (1, 1));
}

#[tokio::test]
async fn the_metadata_of_another_issuer_are_refused() {
    for other in ["https://auth.example/", "https://AUTH.example", "https://evil.example", ""] {
        let f = Fixture::new(&[ES256]);
        let metadata = serde_json::json!({ "issuer": other, "jwks_uri": FakeFetch::jwks_uri() });
        f.network.put(&FakeFetch::metadata_uri(), metadata.to_string().into_bytes(), 300);
        assert_eq!(f.finds(ES256).await, Err(Refusal::KeysUnavailable), "{other}");
        assert_eq!(f.jwks_calls(), 0);
    }
}

#[test]
fn the_well_known_part_goes_between_host_and_path() {
    let url = |issuer| metadata_url(issuer).unwrap().to_string();
    assert_eq!(url("https://a.example"), "https://a.example/.well-known/oauth-authorization-server");
    assert_eq!(url("https://a.example/"), "https://a.example/.well-known/oauth-authorization-server");
    assert_eq!(url("https://a.example/x/y"), "https://a.example/.well-known/oauth-authorization-server/x/y");
    for bad in ["https://a.example/?q", "https://a.example/#f", "mailto:a@example", "a"] {
        assert!(metadata_url(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_renewal_names_the_entity_tag() {
    let f = Fixture::new(&[ES256]);
    f.finds(ES256).await.unwrap();
    assert_eq!(f.network.last_etag(), None);
    f.advance(300);
    assert_eq!(f.finds(ES256).await, Ok(true));
    assert!(f.network.last_etag().is_some());
}

#[tokio::test]
async fn a_new_key_is_found_by_its_first_token() {
    let f = Fixture::new(&[ES256]);
    f.finds(ES256).await.unwrap();
    f.advance(1);
    f.publish(&[ES256, EdDSA]);
    assert_eq!(f.finds(EdDSA).await, Ok(true));
}

#[tokio::test]
async fn a_key_gone_from_a_fresh_jwks_is_gone() {
    let f = Fixture::new(&[ES256, EdDSA]);
    assert_eq!(f.finds(EdDSA).await, Ok(true));
    f.publish(&[ES256]);
    f.advance(300);
    assert_eq!(f.finds(EdDSA).await, Ok(false));
}

#[tokio::test]
async fn an_empty_or_broken_jwks_never_replaces_a_good_one() {
    let symmetric = r#"{"keys":[{"kty":"oct","kid":"a","alg":"HS256","use":"sig","k":"AAAA"}]}"#;
    for text in ["", "garbage", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[1]}"#, symmetric]
    {
        let f = Fixture::new(&[ES256]);
        f.finds(ES256).await.unwrap();
        f.publish_text(text);
        f.advance(300);
        assert_eq!(f.finds(ES256).await, Ok(true), "{text}");
        assert_eq!(f.jwks_calls(), 2, "{text}");
    }
}

#[tokio::test]
async fn keys_of_unknown_kind_are_skipped() {
    let f = Fixture::new(&[ES256]);
    let ours = serde_json::to_value(Issuer::new().jwk(ES384)).unwrap();
    let weak = serde_json::json!({ "kty": "RSA", "kid": "w", "alg": "RS256", "use": "sig", "n": "AQAB", "e": "AQAB" });
    let set = serde_json::json!({ "keys": [
        { "kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "use": "sig", "pub": "AA" },
        { "kty": "oct", "kid": "s", "alg": "HS256", "use": "sig", "k": "AA" },
        { "kty": "EC" }, 7, null, weak, ours
    ] });
    f.publish_text(&set.to_string());
    assert_eq!(f.finds(ES384).await, Ok(true));
    let kid = Issuer::new().jwk(ES384).kid;
    assert_eq!(f.keys.keys_for(&kid).await.unwrap().len(), 1);
}

#[tokio::test]
async fn keys_are_used_for_a_day_while_the_issuer_is_away_and_no_longer() {
    let f = Fixture::new(&[ES256]);
    f.finds(ES256).await.unwrap();
    f.network.go_down();
    f.advance(300 + 24 * 3600);
    assert_eq!(f.finds(ES256).await, Ok(true));
    f.advance(1);
    assert_eq!(f.finds(ES256).await, Err(Refusal::KeysUnavailable));
}

#[tokio::test]
async fn whether_an_unknown_key_is_refused_or_awaited_depends_on_how_old_the_keys_are() {
    let f = Fixture::new(&[ES256]);
    f.finds(ES256).await.unwrap();
    f.network.go_down();
    // Fresh: what is not published does not exist.
    assert_eq!(f.finds(EdDSA).await, Ok(false));
    // Stale: it may have been published meanwhile.
    f.advance(300);
    assert_eq!(f.finds(EdDSA).await, Err(Refusal::KeysUnavailable));
    assert_eq!(f.finds(ES256).await, Ok(true));
}

#[tokio::test]
async fn a_jwks_that_moved_is_found_again() {
    let f = Fixture::new(&[ES256]);
    f.finds(ES256).await.unwrap();
    f.network.remove(&FakeFetch::jwks_uri());
    let moved = format!("{ISSUER}/moved");
    let metadata = serde_json::json!({ "issuer": ISSUER, "jwks_uri": moved });
    f.network.put(&FakeFetch::metadata_uri(), metadata.to_string().into_bytes(), 300);
    f.network.put(&moved, Issuer::new().jwks(&[EdDSA]), 300);
    f.advance(300);
    assert_eq!(f.finds(ES256).await, Ok(true)); // the fetch failed; the stale copy serves
    f.advance(1);
    f.finds(ES256).await.unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(f.finds(EdDSA).await, Ok(true));
}
