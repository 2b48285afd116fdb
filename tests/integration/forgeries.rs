//! Tokens that nobody may accept: every list is named, table-driven, and made for any issuer's key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use signet::oauth::{AccessTokenClaims, Algorithm, Jwk, PublicKey, TokenType};

use crate::support::Issuer;

/// Every verifier meets at least so many forgeries.
const FEWEST: usize = 200;

/// Whose tokens are forged, and which. The lists of properly signed but wrong tokens need his key.
pub(crate) struct Target<'a> {
    /// The published key.
    pub(crate) jwk: Jwk,
    /// What kind of token it is.
    pub(crate) kind: TokenType,
    /// The claims of a token that is accepted.
    pub(crate) claims: Value,
    /// Signs with the key, in the form of JWS.
    pub(crate) sign: &'a dyn Fn(&[u8]) -> Vec<u8>,
}

/// What it is, and the token.
pub(crate) type Forgery = (String, String);

impl<'a> Target<'a> {
    /// An access token with these claims.
    pub(crate) fn access_token(
        jwk: Jwk,
        claims: &AccessTokenClaims,
        sign: &'a dyn Fn(&[u8]) -> Vec<u8>,
    ) -> Self {
        Self { jwk, kind: TokenType::AccessToken, claims: serde_json::to_value(claims).unwrap(), sign }
    }

    /// The token that is accepted: for the control.
    pub(crate) fn genuine(&self) -> String {
        self.signed(&self.header().to_string(), self.payload())
    }

    fn header(&self) -> Value {
        json!({ "alg": self.jwk.alg, "kid": self.jwk.kid, "typ": self.typ() })
    }

    fn typ(&self) -> &'static str {
        self.kind.as_str()
    }

    fn date(&self, name: &str) -> i64 {
        self.claims[name].as_i64().unwrap()
    }

    /// The claims that are read of such a token; of a hint no dates, for it may have ended.
    fn read(&self) -> &'static [&'static str] {
        match self.kind {
            TokenType::IdToken => &["iss", "sub", "aud", "sid"],
            TokenType::StatusList => &["iss", "sub", "iat", "exp", "ttl", "status_list"],
            _ => &[
                "iss",
                "sub",
                "aud",
                "client_id",
                "scope",
                "iat",
                "exp",
                "nbf",
                "jti",
                "auth_time",
                "acr",
                "amr",
                "sid",
                "status",
            ],
        }
    }

    /// Their values without names, as derived code would take them from an array.
    fn unnamed(&self) -> Value {
        let stand_in = |name: &str| match name {
            "nbf" | "auth_time" => self.claims["iat"].clone(),
            "amr" => json!([]),
            _ => Value::Null,
        };
        let value = |name: &&str| self.claims.get(name).cloned().unwrap_or_else(|| stand_in(name));
        self.read().iter().map(value).collect()
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        header.to_string()
    }

    fn payload(&self) -> String {
        self.claims.to_string()
    }

    fn signed(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        let input = input(header, payload);
        join(&input, (self.sign)(input.as_bytes()))
    }

    /// What the attacker makes, with a key of his own of the right algorithm.
    fn by_attacker(&self, header: &str) -> String {
        let input = input(header, self.payload());
        join(&input, Issuer::attacker().signature(self.jwk.alg, input.as_bytes()))
    }
}

fn input(header: &str, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn join(input: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// All that follows but [`for_others`]: nothing that reads such a token may accept one of them.
pub(crate) fn forgeries(target: &Target<'_>) -> Vec<Forgery> {
    let lists = [
        algorithms(target),
        public_key_as_secret(target),
        foreign_keys(target),
        key_ids(target),
        types(target),
        extensions(target),
        forms(target),
        signatures(target),
        claims(target),
        payloads(target),
    ];
    let list: Vec<Forgery> = lists.into_iter().flatten().collect();
    assert!(list.len() >= FEWEST, "only {} forgeries", list.len());
    list
}

/// `alg` says something else than what the key is for.
pub(crate) fn algorithms(target: &Target<'_>) -> Vec<Forgery> {
    let genuine = target.genuine();
    let genuine_signature = genuine.rsplit_once('.').unwrap().1;
    let mut list = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", "noNE", "none ", " none", "none\0", "null", "undefined"] {
        let input = input(&target.with("alg", json!(none)), target.payload());
        list.push((format!("alg {none:?}, no signature"), format!("{input}.")));
        list.push((format!("alg {none:?}, no third segment"), input.clone()));
        list.push((format!("alg {none:?}, some signature"), format!("{input}.AAAA")));
        list.push((format!("alg {none:?}, genuine signature"), format!("{input}.{genuine_signature}")));
        list.push((format!("alg {none:?}, signed"), join(&input, (target.sign)(input.as_bytes()))));
    }
    let known = [
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "EdDSA",
        "Ed25519",
        "Ed448",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "HS256",
        "HS384",
        "HS512",
        "ML-DSA-44",
        "dir",
        "A256GCM",
        "RS1",
    ];
    for alg in known.into_iter().filter(|alg| *alg != target.jwk.alg.as_str()) {
        let header = target.with("alg", json!(alg));
        list.push((format!("alg {alg}, signed by the key"), target.signed(&header, target.payload())));
        if let Ok(other) = alg.parse::<Algorithm>() {
            let input = input(&header, target.payload());
            let signature = Issuer::attacker().signature(other, input.as_bytes());
            list.push((format!("alg {alg}, signed by the attacker's {alg} key"), join(&input, signature)));
        }
    }
    let right = target.jwk.alg.as_str();
    let odd = [
        json!(right.to_lowercase() + " "),
        json!(format!(" {right}")),
        json!(format!("{right}\0")),
        json!(""),
        json!(0),
        json!(true),
        Value::Null,
        json!([right]),
        json!({ "alg": right }),
    ];
    for alg in odd {
        list.push((format!("alg {alg}"), target.signed(&target.with("alg", alg), target.payload())));
    }
    let absent = json!({ "kid": target.jwk.kid, "typ": target.typ() }).to_string();
    list.push(("no alg".into(), target.signed(&absent, target.payload())));
    list
}

/// HMAC under something that everybody knows.
pub(crate) fn public_key_as_secret(target: &Target<'_>) -> Vec<Forgery> {
    let der = spki(&target.jwk.key);
    let body: Vec<String> = STANDARD
        .encode(&der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into())
        .collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", body.join("\n"));
    let secrets: [(&str, Vec<u8>); 9] = [
        ("nothing", vec![]),
        ("the PEM", pem.clone().into_bytes()),
        ("the PEM with a newline", format!("{pem}\n").into_bytes()),
        ("the DER", der.clone()),
        ("the raw key", raw(&target.jwk.key)),
        ("the JWK", serde_json::to_vec(&target.jwk).unwrap()),
        ("the bare JWK", serde_json::to_vec(&target.jwk.key).unwrap()),
        ("the kid", target.jwk.kid.as_str().into()),
        ("the DER as base64", STANDARD.encode(&der).into_bytes()),
    ];
    let hashes = [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    let mut list = Vec::new();
    for (alg, hash) in hashes {
        for (name, secret) in &secrets {
            for header_alg in [alg, target.jwk.alg.as_str()] {
                let input = input(&target.with("alg", json!(header_alg)), target.payload());
                let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
                list.push((format!("{alg} under {name}, alg {header_alg}"), join(&input, tag)));
            }
        }
    }
    list
}

/// The attacker brings his own key.
pub(crate) fn foreign_keys(target: &Target<'_>) -> Vec<Forgery> {
    let foreign = Issuer::attacker().jwk(target.jwk.alg);
    let certificate = STANDARD.encode(spki(&foreign.key));
    let ways = [
        ("jwk", json!(foreign)),
        ("jwk", json!([foreign])),
        ("jku", json!("https://evil.example/jwks")),
        ("jku", json!(format!("{}@evil.example/jwks", target.claims["iss"].as_str().unwrap()))),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5u", json!("file:///etc/passwd")),
        ("x5c", json!([certificate])),
        ("x5t", json!(URL_SAFE_NO_PAD.encode([0; 20]))),
        ("x5t#S256", json!(URL_SAFE_NO_PAD.encode([0; 32]))),
        ("iss", target.claims["iss"].clone()),
    ];
    let mut list = Vec::new();
    for (name, value) in ways {
        for (whose, kid) in
            [("genuine", json!(target.jwk.kid)), ("foreign", json!(foreign.kid)), ("no", Value::Null)]
        {
            let mut header = json!({ "alg": target.jwk.alg, "typ": target.typ(), name: value });
            if !kid.is_null() {
                header["kid"] = kid;
            }
            list.push((format!("{name} with the {whose} kid"), target.by_attacker(&header.to_string())));
        }
        // Even if the signature is good, such a header is an attempt.
        if !matches!(name, "x5t" | "x5t#S256" | "iss") {
            let header = target.with(name, value);
            list.push((format!("{name}, properly signed"), target.signed(&header, target.payload())));
        }
    }
    list.push((
        "the attacker's key under the genuine kid".into(),
        target.by_attacker(&target.header().to_string()),
    ));
    list
}

/// `kid` is used for something else than to look a key up.
pub(crate) fn key_ids(target: &Target<'_>) -> Vec<Forgery> {
    let kid = target.jwk.kid.as_str();
    let texts = [
        "../../../../dev/null",
        "/dev/null",
        "..%2f..%2fdev%2fnull",
        "file:///etc/passwd",
        "C:\\Windows\\win.ini",
        "https://evil.example/key",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "key; DROP TABLE keys",
        "| cat /etc/passwd",
        "$(id)",
        "{{7*7}}",
        "*",
        "%00",
        "\0",
        "",
        " ",
        "__proto__",
        "constructor",
        "0",
        "null",
        "..",
        "é",
    ];
    let mut kids: Vec<Value> = texts.into_iter().map(Value::from).collect();
    kids.extend([
        json!(format!("{kid} ")),
        json!(format!(" {kid}")),
        json!(format!("{kid}\0")),
        json!(format!("{kid}\n")),
        json!(&kid[1..]),
        json!(&kid[..kid.len() - 1]),
        json!(format!("{kid}{kid}")),
        json!(swap_case(kid)),
        json!("a".repeat(4000)),
        json!([kid]),
        json!({ "kid": kid }),
        json!(1),
        json!(0.5),
        json!(true),
        Value::Null,
    ]);
    let mut list = Vec::new();
    for each in kids {
        let header = target.with("kid", each.clone());
        let name: String = each.to_string().chars().take(40).collect();
        list.push((format!("kid {name}, by the attacker"), target.by_attacker(&header)));
        list.push((format!("kid {name}, properly signed"), target.signed(&header, target.payload())));
    }
    let absent = json!({ "alg": target.jwk.alg, "typ": target.typ() }).to_string();
    list.push(("no kid".into(), target.signed(&absent, target.payload())));
    list
}

/// Properly signed, but another kind of token.
pub(crate) fn types(target: &Target<'_>) -> Vec<Forgery> {
    let typ = target.typ();
    let others = [
        "JWT",
        "jwt",
        "application/jwt",
        "JOSE",
        "at+jwt",
        "application/at+jwt",
        "id_token+jwt",
        "statuslist+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "at",
        "AT+JWS",
        "",
    ];
    let is_other = |each: &&str| !each.trim_start_matches("application/").eq_ignore_ascii_case(typ);
    let mut types: Vec<Value> = others.into_iter().filter(is_other).map(Value::from).collect();
    types.extend([
        json!(format!("{typ}2")),
        json!(format!("{typ};x=1")),
        json!(format!("application/application/{typ}")),
        json!(format!("text/{typ}")),
        json!(format!("/{typ}")),
        json!(format!("{typ}\0")),
        json!(format!(" {typ}")),
        json!(format!("{typ} ")),
        Value::Null,
        json!(1),
        json!([typ]),
        json!({ "typ": typ }),
    ]);
    let mut list: Vec<Forgery> = types
        .into_iter()
        .map(|typ| (format!("typ {typ}"), target.signed(&target.with("typ", typ), target.payload())))
        .collect();
    let absent = json!({ "alg": target.jwk.alg, "kid": target.jwk.kid }).to_string();
    list.push(("no typ".into(), target.signed(&absent, target.payload())));
    let content_type = json!({ "alg": target.jwk.alg, "kid": target.jwk.kid, "cty": typ }).to_string();
    list.push(("cty instead of typ".into(), target.signed(&content_type, target.payload())));
    list
}

/// Properly signed, but to be understood in a way that nobody does.
pub(crate) fn extensions(target: &Target<'_>) -> Vec<Forgery> {
    let values = [
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("crit", json!("exp")),
        ("crit", Value::Null),
        ("crit", json!(["http://evil.example/unheard-of"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("zip", Value::Null),
        ("enc", json!("A256GCM")),
    ];
    values
        .into_iter()
        .map(|(name, value)| {
            let header = target.with(name, value.clone());
            (format!("{name} {value}"), target.signed(&header, target.payload()))
        })
        .collect()
}

/// A genuine token in another form.
pub(crate) fn forms(target: &Target<'_>) -> Vec<Forgery> {
    let genuine = target.genuine();
    let parts: Vec<&str> = genuine.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!("a token has three parts") };
    let pad = |part: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
    let (padded_header, padded_payload) = (pad(header) + "=", pad(payload) + "=");
    let mut list: Vec<Forgery> = [
        ("empty", String::new()),
        ("dots", "..".into()),
        ("one part", header.into()),
        ("two parts", format!("{header}.{payload}")),
        ("two parts and a dot", format!("{header}.{payload}.")),
        ("a fourth part", format!("{genuine}.{signature}")),
        ("a trailing dot", format!("{genuine}.")),
        ("a leading dot", format!(".{genuine}")),
        ("five parts, as a JWE", format!("{header}.{payload}.{signature}.{signature}.{signature}")),
        ("a doubled dot", format!("{header}..{payload}.{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("header and payload swapped", format!("{payload}.{header}.{signature}")),
        ("payload and signature swapped", format!("{header}.{signature}.{payload}")),
        ("header twice", format!("{header}.{header}.{signature}")),
        ("padded header", format!("{padded_header}.{payload}.{signature}")),
        ("padded payload", format!("{header}.{padded_payload}.{signature}")),
        ("padded signature", format!("{header}.{payload}.{}", pad(signature) + "=")),
        ("a space before", format!(" {genuine}")),
        ("a space behind", format!("{genuine} ")),
        ("a newline behind", format!("{genuine}\n")),
        ("a newline within", genuine.replacen('.', "\n.", 1)),
        ("a space within", format!("{header}. {payload}.{signature}")),
        ("a NUL behind", format!("{genuine}\0")),
        ("a byte order mark", format!("\u{feff}{genuine}")),
        ("a letter that looks like one", genuine.replacen('e', "е", 1)),
        ("quoted", format!("\"{genuine}\"")),
        ("with its scheme", format!("Bearer {genuine}")),
        ("twice", format!("{genuine}{genuine}")),
        ("percent-encoded dots", genuine.replace('.', "%2E")),
        ("standard base64 alphabet", format!("{header}.{payload}.-_+/{signature}")),
        ("not base64", format!("{header}.{payload}.!!!!")),
        ("cut in the signature", genuine[..genuine.len() - 1].into()),
        ("cut in the payload", format!("{header}.{}.{signature}", &payload[..payload.len() - 4])),
        ("cut in the header", format!("{}.{payload}.{signature}", &header[4..])),
        ("a longer signature", format!("{genuine}AAAA")),
        ("trailing bits in the signature", format!("{header}.{payload}.{}", next_alias(signature))),
        ("raw JSON", target.payload()),
        (
            "flattened JSON serialization",
            json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
        ),
        (
            "general JSON serialization",
            json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] })
                .to_string(),
        ),
        (
            "unprotected header",
            json!({ "header": target.header(), "payload": payload, "signature": signature }).to_string(),
        ),
        ("over the size limit", format!("{genuine}{}", "A".repeat(9000))),
        ("far over the size limit", "A".repeat(1 << 20)),
        ("a thousand dots", ".".repeat(1000)),
    ]
    .into_iter()
    .map(|(name, token)| (name.to_owned(), token))
    .collect();

    let mut large = target.claims.clone();
    large["padding"] = json!("x".repeat(9000));
    list.push((
        "over the size limit, properly signed".into(),
        target.signed(&target.header().to_string(), large.to_string()),
    ));
    let headers = [
        ("an array", json!([target.jwk.alg, target.jwk.kid, target.typ()]).to_string()),
        ("a string", json!(target.typ()).to_string()),
        ("null", "null".into()),
        ("empty", "{}".into()),
        ("cut off", target.header().to_string().trim_end_matches('}').to_owned()),
        ("followed by something", target.header().to_string() + "{}"),
        ("with a comment", target.header().to_string() + "/* */"),
        ("with a second alg", target.header().to_string().replacen('{', "{\"alg\":\"none\",", 1)),
        ("with a second kid", target.header().to_string().replacen('{', "{\"kid\":\"x\",", 1)),
        ("with a second typ", target.header().to_string().replacen('{', "{\"typ\":\"JWT\",", 1)),
        ("with single quotes", target.header().to_string().replace('"', "'")),
        ("with a byte order mark", format!("\u{feff}{}", target.header())),
        ("deeply nested", target.with("x", json!(0)).replace(":0", &format!(":{}", "[".repeat(3000)))),
    ];
    for (name, header) in headers {
        list.push((format!("header {name}"), target.signed(&header, target.payload())));
    }
    let mut invalid = target.header().to_string().into_bytes();
    invalid.splice(1..1, b"\"x\":\"\xff\xfe\",".iter().copied());
    let input = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(&invalid));
    list.push(("header in invalid UTF-8".into(), join(&input, (target.sign)(input.as_bytes()))));
    list
}

/// Signatures that a careless check takes for good.
pub(crate) fn signatures(target: &Target<'_>) -> Vec<Forgery> {
    let input = input(&target.header().to_string(), target.payload());
    let genuine = (target.sign)(input.as_bytes());
    let length = genuine.len();
    let half = length / 2;
    let mut changed = target.claims.clone();
    changed["exp"] = json!(target.date("exp") + 1);
    let other_input = self::input(&target.header().to_string(), changed.to_string());
    let mut list = vec![
        ("zeros", vec![0; length]),
        ("ones", vec![0xff; length]),
        ("one byte", vec![0]),
        ("r = s = 1", [vec![0; half - 1], vec![1], vec![0; half - 1], vec![1]].concat()),
        ("r = 0", [vec![0; half], genuine[half..].to_vec()].concat()),
        ("s = 0", [genuine[..half].to_vec(), vec![0; length - half]].concat()),
        ("halves swapped", [&genuine[half..], &genuine[..half]].concat()),
        ("reversed", genuine.iter().rev().copied().collect()),
        ("a zero before", [&[0], genuine.as_slice()].concat()),
        ("a zero behind", [genuine.as_slice(), &[0]].concat()),
        ("twice", [genuine.as_slice(), &genuine].concat()),
        ("cut", genuine[..length - 1].to_vec()),
        ("the first half", genuine[..half].to_vec()),
        ("one as an integer", [vec![0; length - 1], vec![1]].concat()),
        ("of another token", (target.sign)(other_input.as_bytes())),
        ("of the payload alone", (target.sign)(input.split_once('.').unwrap().1.as_bytes())),
        (
            "of the decoded token",
            (target.sign)(format!("{}.{}", target.header(), target.payload()).as_bytes()),
        ),
        ("of nothing", (target.sign)(b"")),
        ("by the attacker", Issuer::attacker().signature(target.jwk.alg, input.as_bytes())),
    ];
    match &target.jwk.key {
        PublicKey::EC { crv, .. } => {
            list.push(("in ASN.1", asn1(&genuine)));
            let order = curve_order(crv);
            list.push(("r = s = n", [order.clone(), order.clone()].concat()));
            list.push(("r = n", [order.clone(), genuine[half..].to_vec()].concat()));
            list.push(("ASN.1 zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]));
        }
        PublicKey::OKP { .. } => {
            // R the neutral element, s zero: good under a key of small order.
            list.push(("neutral", [vec![1], vec![0; 63]].concat()));
            list.push(("s = L", [genuine[..32].to_vec(), group_order_25519().to_vec()].concat()));
        }
        PublicKey::RSA { n, .. } => list.push(("the modulus", URL_SAFE_NO_PAD.decode(n).unwrap())),
    }
    list.into_iter().map(|(name, signature)| (format!("signature {name}"), join(&input, signature))).collect()
}

/// Properly signed, but a claim is wrong.
pub(crate) fn claims(target: &Target<'_>) -> Vec<Forgery> {
    let (genuine, read) = (&target.claims, target.read());
    let (now, iss) = (target.date("iat"), genuine["iss"].as_str().unwrap());
    let no_text = [json!(1), json!(true), Value::Null, json!([]), json!({}), json!(["x"]), json!("")];
    let no_date = [
        json!(now.to_string()),
        json!("9999999999"),
        json!(""),
        json!(true),
        Value::Null,
        json!([]),
        json!({}),
        json!([9_999_999_999_u64]),
        json!("NaN"),
        json!("Infinity"),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(-1e300),
        json!(253_402_300_800_u64),
    ];
    let mut wrong: Vec<(&str, Value)> = Vec::new();
    for name in ["iss", "sub", "client_id", "jti"] {
        wrong.extend(no_text.iter().map(|value| (name, value.clone())));
    }
    for name in ["exp", "iat", "nbf"] {
        wrong.extend(no_date.iter().map(|value| (name, value.clone())));
    }
    wrong.extend([
        ("exp", json!(0)),
        ("exp", json!(now - 3600)),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("iss", json!(format!("{iss}/"))),
        ("iss", json!(iss.to_uppercase())),
        ("iss", json!(iss.replacen("http", "Http", 1))),
        ("iss", json!(format!("{iss}."))),
        ("iss", json!(format!("{iss}\0"))),
        ("iss", json!(format!(" {iss}"))),
        ("iss", json!(format!("{iss}.evil.example"))),
        ("iss", json!(format!("{iss}@evil.example"))),
        ("iss", json!(format!("{iss}#"))),
        ("iss", json!("https://evil.example")),
        ("iss", json!([iss])),
        ("aud", Value::Null),
        ("aud", json!(1)),
        ("aud", json!(true)),
        ("aud", json!({})),
        ("aud", json!([1])),
        ("aud", json!([null])),
        ("aud", json!([[genuine["aud"]]])),
        ("aud", json!("")),
        ("scope", json!(["read"])),
        ("scope", json!(1)),
        ("scope", Value::Null),
        ("scope", json!({ "read": true })),
        ("scope", json!("read\tadmin")),
        ("scope", json!("read  admin")),
        ("scope", json!("read\"")),
        ("sub", json!("a b")),
        ("sub", json!("a\0")),
        ("sub", json!("a".repeat(300))),
        ("status", json!(1)),
        ("status", json!("valid")),
        ("status", json!({})),
        ("status", json!({ "status_list": {} })),
        ("status", json!({ "status_list": { "idx": -1, "uri": iss } })),
        ("status", json!({ "status_list": { "idx": "0", "uri": iss } })),
        ("status", json!({ "status_list": { "idx": 0.5, "uri": iss } })),
        ("status", json!({ "status_list": { "idx": 0 } })),
        ("sid", json!(1)),
        ("sid", json!("")),
        ("sid", json!("a b")),
        ("sid", json!(["x"])),
    ]);
    wrong.extend(of_lists());
    wrong.retain(|(name, _)| read.contains(name));
    let mut list: Vec<Forgery> = wrong
        .into_iter()
        .map(|(name, value)| {
            let mut claims = genuine.clone();
            claims[name] = value.clone();
            let value: String = value.to_string().chars().take(40).collect();
            (format!("{name} {value}"), target.signed(&target.header().to_string(), claims.to_string()))
        })
        .collect();
    let required = ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "ttl", "status_list"];
    for name in required.into_iter().filter(|name| read.contains(name)) {
        let mut claims = genuine.clone();
        claims.as_object_mut().unwrap().remove(name);
        list.push((format!("no {name}"), target.signed(&target.header().to_string(), claims.to_string())));
        // The same member twice: what one parser reads, another doesn't.
        let twice = genuine.to_string().replacen('{', &format!("{{\"{name}\":{},", genuine[name]), 1);
        list.push((format!("{name} twice"), target.signed(&target.header().to_string(), twice)));
    }
    list
}

/// Claims that status lists have alone.
fn of_lists() -> [(&'static str, Value); 11] {
    [
        ("ttl", json!(-1)),
        ("ttl", json!("60")),
        ("ttl", json!(0.5)),
        ("ttl", Value::Null),
        ("status_list", json!({})),
        ("status_list", json!({ "bits": 3, "lst": "eNpjYAAAAAEAAQ" })),
        ("status_list", json!({ "bits": "1", "lst": "eNpjYAAAAAEAAQ" })),
        ("status_list", json!({ "bits": 1, "lst": "" })),
        ("status_list", json!({ "bits": 1, "lst": "eNpjYA" })),
        ("status_list", json!({ "bits": 1, "lst": "AAAA" })),
        ("status_list", json!({ "bits": 1, "lst": [0] })),
    ]
}

/// Properly signed, but what is signed is no set of claims.
pub(crate) fn payloads(target: &Target<'_>) -> Vec<Forgery> {
    let genuine = target.payload();
    let spliced = |bytes: &[u8]| {
        let mut payload = genuine.clone().into_bytes();
        payload.splice(1..1, bytes.iter().copied());
        payload
    };
    let payloads: [(&str, Vec<u8>); 14] = [
        ("garbage", b"garbage".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"1".to_vec()),
        ("a string", json!(genuine).to_string().into_bytes()),
        ("an array", target.unnamed().to_string().into_bytes()),
        ("an array of one", format!("[{genuine}]").into_bytes()),
        ("empty object", b"{}".to_vec()),
        ("cut off", genuine[..genuine.len() - 1].into()),
        ("followed by another", format!("{genuine}{genuine}").into_bytes()),
        ("with a byte order mark", format!("\u{feff}{genuine}").into_bytes()),
        ("in invalid UTF-8", spliced(b"\"x\":\"\xc0\xaf\",")),
        ("with a lone surrogate", spliced(br#""sub":"\ud800","#)),
        ("deeply nested and cut off", spliced(format!("\"x\":{}", "[".repeat(4000)).as_bytes())),
        ("NaN", genuine.replacen(&target.date("exp").to_string(), "NaN", 1).into_bytes()),
    ];
    payloads
        .into_iter()
        .map(|(name, payload)| {
            (format!("payload {name}"), target.signed(&target.header().to_string(), payload))
        })
        .collect()
}

/// Genuine, but for another resource: a resource server refuses them, the issuer's introspection does not.
pub(crate) fn for_others(target: &Target<'_>) -> Vec<Forgery> {
    let ours = target.claims["aud"].as_str().unwrap();
    let audiences = [
        json!("https://other.example"),
        json!(["https://other.example", "https://another.example"]),
        json!([]),
        json!(format!("{ours}/")),
        json!(format!("{ours}/v1")),
        json!(format!("{ours}.evil.example")),
        json!(ours.to_uppercase()),
        json!(
            ours.strip_prefix("https")
                .map_or_else(|| ours.replacen("http", "https", 1), |rest| format!("http{rest}"))
        ),
        target.claims["iss"].clone(),
    ];
    audiences
        .into_iter()
        .map(|aud| {
            let mut claims = target.claims.clone();
            claims["aud"] = aud.clone();
            (format!("aud {aud}"), target.signed(&target.header().to_string(), claims.to_string()))
        })
        .collect()
}

/// A genuine token with one bit changed, for every bit of it.
pub(crate) fn bit_flips(target: &Target<'_>) -> Vec<Forgery> {
    let genuine = target.genuine();
    let parts: Vec<Vec<u8>> = genuine.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let mut list = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        for bit in 0..part.len() * 8 {
            let mut flipped = parts.clone();
            flipped[index][bit / 8] ^= 1 << (bit % 8);
            let token: Vec<String> = flipped.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            list.push((format!("bit {bit} of part {index}"), token.join(".")));
        }
    }
    list
}

fn swap_case(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect()
}

/// The same bytes in another spelling, if there is one: bits behind the last byte are set.
fn next_alias(part: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let value = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    match part.len() % 4 {
        0 => part.to_owned() + "A",
        _ => format!("{rest}{}", char::from(ALPHABET[value + 1])),
    }
}

fn raw(key: &PublicKey) -> Vec<u8> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    match key {
        PublicKey::EC { x, y, .. } => [vec![4], decode(x), decode(y)].concat(),
        PublicKey::OKP { x, .. } => decode(x),
        PublicKey::RSA { n, e } => der(0x30, &[integer(&decode(n)), integer(&decode(e))].concat()),
    }
}

/// The key as `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
fn spki(key: &PublicKey) -> Vec<u8> {
    let algorithm: &[u8] = match key {
        PublicKey::EC { crv, .. } if crv == "P-256" => {
            b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
        }
        PublicKey::EC { .. } => b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
        PublicKey::OKP { .. } => b"\x06\x03\x2b\x65\x70",
        PublicKey::RSA { .. } => b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
    };
    der(0x30, &[der(0x30, algorithm), der(3, &[vec![0], raw(key)].concat())].concat())
}

/// An ECDSA signature as a certificate has it, instead of as JWS does (RFC 7518, section 3.4).
fn asn1(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    der(0x30, &[integer(r), integer(s)].concat())
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let sign = if bytes[start] >= 0x80 { vec![0] } else { vec![] };
    der(2, &[sign, bytes[start..].to_vec()].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut out = match content.len() {
        0..=0x7f => vec![tag, length[1]],
        0x80..=0xff => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    out.extend_from_slice(content);
    out
}

fn curve_order(crv: &str) -> Vec<u8> {
    let hex = match crv {
        "P-256" => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        _ => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
    };
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn group_order_25519() -> [u8; 32] {
    let mut order = [0; 32];
    order[..16].copy_from_slice(b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14");
    order[31] = 0x10;
    order
}
