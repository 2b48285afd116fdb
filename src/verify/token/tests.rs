use serde_json::{Value, json};

use super::*;
use crate::oauth::Audience;
use crate::verify::testing::{AUDIENCE, ISSUER, Issuer, NOW};

const ALG: Algorithm = Algorithm::EdDSA;

fn expected(audience: &[Resource]) -> Expectations<'_> {
    Expectations {
        issuer: ISSUER,
        audience: ExpectedAudience::AnyOf(audience),
        leeway: Duration::from_mins(1),
        now: NOW,
    }
}

fn audience() -> [Resource; 1] {
    [Resource::parse(AUDIENCE).unwrap()]
}

fn checked(token: &str) -> Result<Verified, Refusal> {
    check(token, &expected(&audience()), &Issuer::new().key_set(&[ALG]))
}

fn with_claim(name: &str, value: Value) -> Result<Verified, Refusal> {
    let issuer = Issuer::new();
    let mut claims = serde_json::to_value(Issuer::claims()).unwrap();
    claims[name] = value;
    checked(&issuer.sign(ALG, &issuer.header(ALG).to_string(), claims.to_string()))
}

fn with_header(header: &str) -> Result<Verified, Refusal> {
    let issuer = Issuer::new();
    checked(&issuer.sign(ALG, header, serde_json::to_string(&Issuer::claims()).unwrap()))
}

#[test]
fn genuine_tokens_of_every_algorithm_are_accepted() {
    let issuer = Issuer::new();
    for alg in Algorithm::ALL {
        let keys = issuer.key_set(&Algorithm::ALL);
        let verified = check(&issuer.token(alg, &Issuer::claims()), &expected(&audience()), &keys).unwrap();
        assert_eq!(verified, Verified { claims: Issuer::claims(), kid: issuer.jwk(alg).kid });
    }
}

#[test]
fn the_type_is_read_in_any_letter_case_and_with_its_full_name() {
    let kid = Issuer::new().jwk(ALG).kid;
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+JWT"] {
        let header = json!({ "alg": "EdDSA", "kid": kid, "typ": typ });
        assert!(with_header(&header.to_string()).is_ok(), "{typ}");
    }
    for typ in
        ["", "JWT", "jwt", "at", "at+jwt ", "application/", "application/application/at+jwt", "x/at+jwt"]
    {
        let header = json!({ "alg": "EdDSA", "kid": kid, "typ": typ });
        assert_eq!(with_header(&header.to_string()), Err(Refusal::WrongType), "{typ}");
    }
    let header = json!({ "alg": "EdDSA", "kid": kid });
    assert_eq!(with_header(&header.to_string()), Err(Refusal::WrongType));
}

#[test]
fn a_parameter_that_is_never_honoured_is_refused_even_if_properly_signed() {
    for name in ["crit", "jwk", "jku", "x5u", "x5c", "zip", "b64", "enc"] {
        for value in [Value::Null, json!(false), json!("https://evil.example"), json!(["exp"]), json!({})] {
            let mut header = Issuer::new().header(ALG);
            header[name] = value;
            assert_eq!(with_header(&header.to_string()), Err(Refusal::ForbiddenHeader), "{name}");
        }
    }
}

#[test]
fn a_parameter_nobody_knows_is_ignored() {
    let mut header = Issuer::new().header(ALG);
    header["x5t"] = json!("abc");
    header["unheard-of"] = json!({ "alg": "none", "alg2": [1, 2] });
    assert!(with_header(&header.to_string()).is_ok());
}

#[test]
fn a_header_must_be_an_object_without_a_member_twice() {
    let kid = Issuer::new().jwk(ALG).kid;
    assert_eq!(with_header(&json!(["EdDSA", kid, "at+jwt"]).to_string()), Err(Refusal::Malformed));
    let twice = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt","alg":"EdDSA"}}"#);
    assert_eq!(with_header(&twice), Err(Refusal::Malformed));
    let trailing = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}} "x""#);
    assert_eq!(with_header(&trailing), Err(Refusal::Malformed));
}

#[test]
fn claims_must_be_an_object() {
    let issuer = Issuer::new();
    let claims = Issuer::claims();
    // In the order of the fields: what a derived struct takes for itself.
    let array = json!([
        claims.iss,
        claims.sub,
        claims.aud,
        claims.client_id,
        claims.scope,
        claims.iat,
        claims.exp,
        claims.iat,
        claims.jti,
        claims.status
    ]);
    let token = issuer.sign(ALG, &issuer.header(ALG).to_string(), array.to_string());
    assert_eq!(checked(&token), Err(Refusal::InvalidClaims));
}

#[test]
fn the_key_is_chosen_by_kid_alone() {
    let (issuer, keys) = (Issuer::new(), Issuer::new().key_set(&Algorithm::ALL));
    let mut header = issuer.header(ALG);
    header["kid"] = json!(issuer.jwk(Algorithm::ES256).kid);
    let token = issuer.sign(ALG, &header.to_string(), serde_json::to_string(&Issuer::claims()).unwrap());
    let outcome = check(&token, &expected(&audience()), &keys);
    assert_eq!(outcome, Err(Refusal::AlgorithmMismatch));
    header["kid"] = json!("nobody");
    let token = issuer.sign(ALG, &header.to_string(), serde_json::to_string(&Issuer::claims()).unwrap());
    assert_eq!(check(&token, &expected(&audience()), &keys), Err(Refusal::UnknownKey));
}

#[test]
fn the_signature_is_checked_before_the_claims() {
    let mut claims = Issuer::claims();
    claims.exp = 0;
    let issuer = Issuer::attacker();
    let header = Issuer::new().header(ALG).to_string();
    let token = issuer.sign(ALG, &header, serde_json::to_string(&claims).unwrap());
    assert_eq!(checked(&token), Err(Refusal::BadSignature));
    assert_eq!(checked(&issuer.sign(ALG, &header, "garbage")), Err(Refusal::BadSignature));
}

#[test]
fn the_times_count_to_the_second() {
    let exp = |exp: i64| with_claim("exp", json!(exp)).err();
    assert_eq!(exp(NOW - 59), None);
    assert_eq!(exp(NOW - 60), Some(Refusal::Expired));
    let nbf = |nbf: i64| with_claim("nbf", json!(nbf)).err();
    assert_eq!(nbf(NOW + 60), None);
    assert_eq!(nbf(NOW + 61), Some(Refusal::NotYetValid));
    let iat = |iat: i64| with_claim("iat", json!(iat)).err();
    assert_eq!(iat(NOW + 60), None);
    assert_eq!(iat(NOW + 61), Some(Refusal::NotYetValid));
}

#[test]
fn arithmetic_does_not_overflow() {
    let times = |exp, now, leeway| Times { exp, nbf: None, iat: 0 }.check(now, leeway);
    assert_eq!(times(i64::MAX, NOW, Duration::MAX), Ok(()));
    assert_eq!(times(NOW, i64::MAX, Duration::ZERO), Err(Refusal::Expired));
    assert_eq!(times(i64::MIN, i64::MIN, Duration::from_secs(1)), Ok(()).and(Err(Refusal::NotYetValid)));
}

#[test]
fn the_issuer_is_compared_letter_for_letter() {
    for iss in [
        "https://auth.example/",
        "https://AUTH.example",
        "http://auth.example",
        "https://auth.example:443",
        "",
    ] {
        assert_eq!(with_claim("iss", json!(iss)), Err(Refusal::WrongIssuer), "{iss}");
    }
}

#[test]
fn one_of_the_audiences_must_be_ours() {
    assert!(with_claim("aud", json!(["https://other.example", AUDIENCE])).is_ok());
    for aud in [json!("https://other.example"), json!([]), json!(["https://api.example/"])] {
        assert_eq!(with_claim("aud", aud.clone()), Err(Refusal::WrongAudience), "{aud}");
    }
    let issuer = Issuer::new();
    let mut claims = Issuer::claims();
    claims.aud = Audience::Many(vec![]);
    let token = issuer.token(ALG, &claims);
    let anyone = Expectations { audience: ExpectedAudience::Anyone, ..expected(&[]) };
    assert!(check(&token, &anyone, &issuer.key_set(&[ALG])).is_ok());
    assert_eq!(check(&token, &expected(&[]), &issuer.key_set(&[ALG])), Err(Refusal::WrongAudience));
}

#[test]
fn length_is_limited_before_anything_is_decoded() {
    let issuer = Issuer::new();
    let mut claims = serde_json::to_value(Issuer::claims()).unwrap();
    claims["padding"] = json!("x".repeat(MAX_ACCESS_TOKEN_LENGTH));
    let token = issuer.sign(ALG, &issuer.header(ALG).to_string(), claims.to_string());
    assert_eq!(checked(&token), Err(Refusal::Malformed));
}

#[test]
fn what_has_not_three_parts_is_refused_by_its_form() {
    let header = URL_SAFE_NO_PAD.encode(Issuer::new().header(ALG).to_string());
    for rest in ["", ".", ".a", ".a.", "..a", ".a.b.c", ".a.b.c.d", "..."] {
        let token = format!("{header}{rest}");
        assert_eq!(Compact::access_token(&token).unwrap_err(), Refusal::Malformed, "{rest:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic_or_a_token(token in "[ -~]{0,200}|.{0,50}|[A-Za-z0-9_-]{0,99}(\\.[A-Za-z0-9_-]{0,99}){2}") {
        proptest::prop_assert!(checked(&token).is_err());
    }

    #[test]
    fn no_header_and_payload_are_a_panic(header in ".{0,80}", payload in proptest::collection::vec(0_u8.., 0..80)) {
        let _ = with_header(&header);
        let issuer = Issuer::new();
        proptest::prop_assert!(checked(&issuer.sign(ALG, &issuer.header(ALG).to_string(), &payload)).is_err());
    }
}

#[test]
fn an_access_token_is_no_status_list_and_the_other_way_round() {
    let issuer = Issuer::new();
    let token = issuer.token(ALG, &Issuer::claims());
    assert_eq!(Compact::status_list(&token).unwrap_err(), Refusal::WrongType);
    let list = String::from_utf8(issuer.list(ALG, &Issuer::list_claims("1", &[]))).unwrap();
    assert_eq!(Compact::access_token(&list).unwrap_err(), Refusal::WrongType);
}
