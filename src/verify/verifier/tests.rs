use super::*;
use crate::clock::ManualClock;
use crate::oauth::Algorithm::EdDSA;
use crate::verify::testing::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

fn built(
    issuer: &str,
    change: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
) -> Result<Verifier, BuildError> {
    change(Verifier::builder(issuer).audience(AUDIENCE)).build()
}

#[test]
fn settings_that_would_weaken_a_verifier_are_refused() {
    assert!(built(ISSUER, |b| b).is_ok());
    assert!(matches!(Verifier::builder(ISSUER).build(), Err(BuildError::NoAudience)));
    assert!(matches!(built(ISSUER, |b| b.audience("not a URI")), Err(BuildError::Audience(_))));
    assert!(built(ISSUER, |b| b.leeway(Duration::from_mins(5))).is_ok());
    assert!(matches!(built(ISSUER, |b| b.leeway(Duration::from_secs(301))), Err(BuildError::Leeway)));
    assert!(matches!(built(ISSUER, |b| b.jwks_uri("/jwks")), Err(BuildError::JwksUri)));
    for issuer in
        ["", "auth.example", "https://a.example/?x", "https://a.example/#x", "mailto:a@b", "file:///x"]
    {
        assert!(matches!(built(issuer, |b| b), Err(BuildError::Issuer)), "{issuer}");
    }
}

#[tokio::test]
async fn a_jwks_uri_of_ones_own_needs_no_metadata() {
    let network = FakeFetch::of(Issuer::new(), &[EdDSA]);
    network.remove(&FakeFetch::metadata_uri());
    let verifier = Verifier::builder(ISSUER)
        .audience(AUDIENCE)
        .jwks_uri(&FakeFetch::jwks_uri())
        .clock(Arc::new(ManualClock::at(NOW)))
        .fetch(network)
        .build()
        .unwrap();
    let token = Issuer::new().token(EdDSA, &Issuer::claims());
    assert_eq!(verifier.verify(&token).await, Ok(Issuer::claims()));
}

#[tokio::test]
async fn what_can_not_be_a_token_leads_to_no_fetch() {
    let network = FakeFetch::of(Issuer::new(), &[EdDSA]);
    let verifier = built(ISSUER, |b| b.fetch(network.clone())).unwrap();
    assert_eq!(verifier.verify("a.b.c").await, Err(Refusal::Malformed));
    assert_eq!(network.all_calls(), 0);
}
