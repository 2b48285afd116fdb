use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::oauth::Algorithm::{ES256, EdDSA};
use crate::oauth::{ClientId, RevokedBefore, StatusClaim, StatusListClaims, Subject};
use crate::verify::key_source::{JwksLoader, KeySettings};
use crate::verify::testing::{FakeFetch, ISSUER, Issuer, NOW};

struct Fixture {
    network: FakeFetch,
    clock: Arc<ManualClock>,
    status: StatusSource,
}

const URI: &str = "https://auth.example/status/1";

impl Fixture {
    fn new(policy: StatusPolicy) -> Self {
        let network = FakeFetch::of(Issuer::new(), &[ES256, EdDSA]);
        let clock = Arc::new(ManualClock::at(NOW));
        let fetch: Arc<dyn Fetch> = Arc::new(network.clone());
        let loader = JwksLoader::new(ISSUER.into(), fetch.clone(), None);
        let keys = Arc::new(KeySource::new(loader, clock.clone(), KeySettings::default()));
        let context = Context {
            issuer: ISSUER.into(),
            issuer_url: Url::parse(ISSUER).unwrap(),
            leeway: Duration::from_mins(1),
            clock: clock.clone(),
            fetch,
            keys,
            cutoffs: Cutoffs::default(),
        };
        Self { network, clock, status: StatusSource::new(context, policy) }
    }

    /// Publishes a list as of now, changed by `change`.
    fn publish(&self, revoked: &[u64], change: impl FnOnce(&mut StatusListClaims)) {
        let mut claims = Issuer::list_claims("1", revoked);
        claims.iat = self.clock.as_ref().numeric_date();
        claims.exp = claims.iat + 3600;
        change(&mut claims);
        self.network.put(URI, Issuer::new().list(ES256, &claims), 300);
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn check(&self, uri: &str, idx: u64) -> Result<(), Refusal> {
        let mut token = token();
        token.claims.status = Some(StatusClaim { status_list: StatusReference { idx, uri: uri.into() } });
        self.status.check(&token).await
    }
}

fn token() -> Verified {
    let issuer = Issuer::new();
    Verified { claims: Issuer::claims(), kid: issuer.jwk(ES256).kid }
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_its_neighbours_are_not() {
    let f = Fixture::new(StatusPolicy::Required);
    f.publish(&[3], |_| {});
    assert_eq!(f.check(URI, 2).await, Ok(()));
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
    assert_eq!(f.check(URI, 4).await, Ok(()));
    assert_eq!(f.network.calls(URI), 1);
}

#[tokio::test]
async fn any_status_but_valid_is_revoked() {
    let f = Fixture::new(StatusPolicy::Required);
    f.publish(&[1], |claims| claims.status_list.bits = 2); // the first status is 2: suspended
    assert_eq!(f.check(URI, 0).await, Err(Refusal::Revoked));
    assert_eq!(f.check(URI, 1).await, Ok(()));
}

#[tokio::test]
async fn an_index_beyond_the_list_is_refused_by_either_policy() {
    for policy in [StatusPolicy::Required, StatusPolicy::BestEffort] {
        let f = Fixture::new(policy);
        assert_eq!(f.check(URI, 511).await, Ok(()));
        assert_eq!(f.check(URI, 512).await, Err(Refusal::InvalidStatus));
        assert_eq!(f.check(URI, u64::MAX).await, Err(Refusal::InvalidStatus));
    }
}

#[tokio::test]
async fn only_the_issuers_own_origin_is_asked() {
    for policy in [StatusPolicy::Required, StatusPolicy::BestEffort] {
        for uri in [
            "https://evil.example/status/1",
            "http://auth.example/status/1",
            "https://auth.example:8443/status/1",
            "https://auth.example.evil.example/status/1",
            "https://auth.example@evil.example/status/1",
            "https://user@auth.example/status/1",
            "https://user:pw@auth.example/status/1",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "data:text/plain,x",
            "//auth.example/status/1",
            "status/1",
            "",
        ] {
            let f = Fixture::new(policy);
            assert_eq!(f.check(uri, 0).await, Err(Refusal::InvalidStatus), "{uri}");
            assert_eq!(f.network.all_calls(), 0, "{uri}");
        }
    }
}

#[tokio::test]
async fn a_revocation_is_seen_when_the_ttl_is_over() {
    let f = Fixture::new(StatusPolicy::Required);
    assert_eq!(f.check(URI, 3).await, Ok(()));
    f.advance(60);
    f.publish(&[3], |_| {});
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
}

/// The issuer's clock and this one's, which may be one.
#[tokio::test]
async fn what_is_revoked_after_clocks_were_set_back_is_seen() {
    let f = Fixture::new(StatusPolicy::Required);
    f.clock.jump_to(NOW + 3600);
    f.publish(&[], |_| {});
    assert_eq!(f.check(URI, 3).await, Ok(()));
    f.clock.jump_to(NOW);
    f.advance(60);
    let client = RevokedBefore::client_name(&Issuer::claims().client_id);
    f.publish(&[3], |claims| _ = claims.revoked_before.clients.insert(client, NOW + 3600));
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
    assert_eq!(f.check(URI, 4).await, Err(Refusal::Revoked), "with all of the client");
}

#[tokio::test]
async fn the_time_spent_in_a_shared_cache_counts() {
    let f = Fixture::new(StatusPolicy::Required);
    let publish = |revoked: &[u64], max_age| {
        f.network.put(URI, Issuer::new().list(ES256, &Issuer::list_claims("1", revoked)), max_age);
    };
    // The ttl is 60; the headers leave 20 of it, and say so again when nothing has changed.
    publish(&[], 20);
    assert_eq!(f.check(URI, 3).await, Ok(()));
    f.advance(20);
    assert_eq!(f.check(URI, 3).await, Ok(()));
    assert_eq!(f.network.calls(URI), 2);
    publish(&[3], 20);
    f.advance(20);
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
}

#[tokio::test]
async fn the_last_good_copy_serves_until_it_expires() {
    let f = Fixture::new(StatusPolicy::Required);
    assert_eq!(f.check(URI, 0).await, Ok(()));
    f.network.go_down();
    f.advance(3600 + 59);
    assert_eq!(f.check(URI, 0).await, Ok(()));
    f.advance(1);
    assert_eq!(f.check(URI, 0).await, Err(Refusal::StatusUnavailable));
}

#[tokio::test]
async fn what_a_list_at_hand_shows_as_revoked_stays_so_when_the_list_has_expired() {
    for (policy, others) in
        [(StatusPolicy::Required, Err(Refusal::StatusUnavailable)), (StatusPolicy::BestEffort, Ok(()))]
    {
        let f = Fixture::new(policy);
        f.publish(&[3], |_| {});
        assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
        f.network.go_down();
        f.advance(3600 + 60);
        assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked), "{policy:?}");
        assert_eq!(f.check(URI, 2).await, others, "{policy:?}");
        assert_eq!(f.check(URI, 512).await, others, "{policy:?}: the list may have grown since");
    }
}

#[tokio::test]
async fn what_each_policy_does_without_a_list() {
    let outcomes = [
        (StatusPolicy::Required, Err(Refusal::StatusUnavailable), Err(Refusal::InvalidStatus)),
        (StatusPolicy::BestEffort, Ok(()), Ok(())),
        (StatusPolicy::Off, Ok(()), Ok(())),
    ];
    for (policy, without_list, without_reference) in outcomes {
        let f = Fixture::new(policy);
        f.network.go_down();
        assert_eq!(f.check(URI, 0).await, without_list, "{policy:?}");
        let mut token = token();
        token.claims.status = None;
        assert_eq!(f.status.check(&token).await, without_reference, "{policy:?}");
    }
}

#[tokio::test]
async fn off_fetches_nothing() {
    let f = Fixture::new(StatusPolicy::Off);
    f.publish(&[3], |_| {});
    assert_eq!(f.check(URI, 3).await, Ok(()));
    assert_eq!(f.network.all_calls(), 0);
}

#[tokio::test]
async fn a_list_that_is_not_the_one_asked_for_is_refused() {
    type Change = fn(&mut StatusListClaims);
    let changes: [(&str, Change); 7] = [
        ("another list", |claims| claims.sub = "https://auth.example/status/2".into()),
        ("another issuer", |claims| claims.iss = "https://evil.example".into()),
        ("expired", |claims| claims.exp = NOW - 60),
        ("from the future", |claims| claims.iat = NOW + 61),
        ("three bits", |claims| claims.status_list.bits = 3),
        ("not compressed", |claims| claims.status_list.lst = "AAAA".into()),
        ("not base64url", |claims| claims.status_list.lst = "****".into()),
    ];
    for (name, change) in changes {
        let f = Fixture::new(StatusPolicy::Required);
        f.publish(&[], change);
        assert_eq!(f.check(URI, 0).await, Err(Refusal::StatusUnavailable), "{name}");
    }
}

#[tokio::test]
async fn a_list_that_the_issuer_did_not_sign_is_refused() {
    let (issuer, attacker) = (Issuer::new(), Issuer::attacker());
    let claims = Issuer::list_claims("1", &[]);
    let genuine = String::from_utf8(issuer.list(ES256, &claims)).unwrap();
    let access_token_type = issuer.header(ES256).to_string();
    let forged = [
        ("an unknown key", attacker.list(ES256, &claims)),
        ("no signature", genuine.as_bytes()[..genuine.rfind('.').unwrap()].to_vec()),
        ("tampered", genuine.replacen("eyJ", "eyK", 1).into_bytes()),
        (
            "an access token",
            issuer.sign(ES256, &access_token_type, serde_json::to_string(&claims).unwrap()).into_bytes(),
        ),
        ("not text", vec![0xff; 100]),
        ("nothing", vec![]),
    ];
    for (name, bytes) in forged {
        let f = Fixture::new(StatusPolicy::Required);
        f.network.put(URI, bytes, 300);
        assert_eq!(f.check(URI, 0).await, Err(Refusal::StatusUnavailable), "{name}");
    }
}

#[tokio::test]
async fn an_older_list_never_hides_a_revocation() {
    let f = Fixture::new(StatusPolicy::Required);
    f.advance(600);
    f.publish(&[3], |_| {});
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
    // What was signed ten minutes ago, and has not expired.
    f.network.put(URI, Issuer::new().list(ES256, &Issuer::list_claims("1", &[])), 300);
    f.advance(60);
    assert_eq!(f.check(URI, 3).await, Err(Refusal::Revoked));
    assert_eq!(f.network.calls(URI), 2);
}

#[tokio::test]
async fn cut_offs_count_for_every_token() {
    let issuer = Issuer::new();
    let claims = Issuer::claims();
    let client = RevokedBefore::client_name(&claims.client_id);
    let subject = RevokedBefore::subject_name(&claims.sub);
    let by_client = |iat| RevokedBefore { clients: [(client.clone(), iat)].into(), ..Default::default() };
    let by_subject = |iat| RevokedBefore { subjects: [(subject.clone(), iat)].into(), ..Default::default() };
    let grant = RevokedBefore::grant_name(&claims.client_id, &claims.sub);
    let by_grant = |name, iat| RevokedBefore { grants: [(name, iat)].into(), ..Default::default() };
    let others = RevokedBefore::grant_name(&ClientId::parse("other").unwrap(), &claims.sub);
    let elses = RevokedBefore::grant_name(&claims.client_id, &Subject::parse("somebody-else").unwrap());
    let by_key = |kid| RevokedBefore { keys: vec![kid], ..Default::default() };
    let cases = [
        (by_client(claims.iat), Err(Refusal::Revoked)),
        (by_client(claims.iat - 1), Ok(())),
        (by_subject(claims.iat), Err(Refusal::Revoked)),
        (by_subject(claims.iat - 1), Ok(())),
        (by_grant(grant.clone(), claims.iat), Err(Refusal::Revoked)),
        (by_grant(grant, claims.iat - 1), Ok(())),
        (by_grant(others, claims.iat), Ok(())),
        (by_grant(elses, claims.iat), Ok(())),
        (by_key(issuer.jwk(EdDSA).kid), Err(Refusal::Revoked)),
        (by_key(issuer.jwk(crate::oauth::Algorithm::ES384).kid), Ok(())),
    ];
    for (revoked, outcome) in cases {
        let f = Fixture::new(StatusPolicy::Required);
        f.publish(&[], |list| list.revoked_before = revoked.clone());
        let token = Verified { kid: issuer.jwk(EdDSA).kid, ..token() };
        assert_eq!(f.status.check(&token).await, outcome, "{revoked:?}");

        // Nor does it help to refer to another list, which doesn't say so.
        let second = Issuer::list_claims("2", &[]);
        let second = StatusListClaims { iat: NOW - 5, ..second };
        f.network.put("https://auth.example/status/2", issuer.list(ES256, &second), 300);
        let mut token = token.clone();
        token.claims.status.as_mut().unwrap().status_list.uri = "https://auth.example/status/2".into();
        assert_eq!(f.status.check(&token).await, outcome, "{revoked:?}");
    }
}

#[tokio::test]
async fn a_list_signed_with_a_compromised_key_is_refused() {
    let f = Fixture::new(StatusPolicy::Required);
    let issuer = Issuer::new();
    f.publish(&[], |list| list.revoked_before.keys.push(issuer.jwk(EdDSA).kid));
    assert_eq!(f.check(URI, 0).await, Ok(()));
    let second = Issuer::list_claims("2", &[]);
    f.network.put("https://auth.example/status/2", issuer.list(EdDSA, &second), 300);
    assert_eq!(f.check("https://auth.example/status/2", 0).await, Err(Refusal::StatusUnavailable));
}

#[tokio::test]
async fn the_number_of_lists_is_bounded_and_the_used_ones_stay() {
    let f = Fixture::new(StatusPolicy::BestEffort);
    f.check(URI, 0).await.unwrap();
    let first = f.status.lists.load()[URI].clone();
    for each in 0..MOST_LISTS * 2 {
        f.advance(1);
        f.check(&format!("https://auth.example/status/x{each}"), 0).await.unwrap();
        f.check(URI, 0).await.unwrap();
        assert!(f.status.kept() <= MOST_LISTS);
        f.publish(&[], |_| {});
    }
    assert!(Arc::ptr_eq(&first, &f.status.lists.load()[URI]), "it was dropped and fetched anew");
}

#[tokio::test]
async fn a_thousand_tokens_of_a_missing_list_lead_to_few_fetches() {
    let f = Fixture::new(StatusPolicy::Required);
    f.network.remove(URI);
    for _ in 0..1000 {
        assert_eq!(f.check(URI, 0).await, Err(Refusal::StatusUnavailable));
    }
    assert_eq!(f.network.calls(URI), 1);
}
