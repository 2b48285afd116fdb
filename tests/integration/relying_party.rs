//! A relying party that is told of ended sessions, on loopback; and what it must look at in a logout token, written from
//! OpenID Connect Back-Channel Logout 1.0, section 2.6.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, crypto};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::test_app::part;

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Answers {
    /// With a status, and the rest of the head.
    With(u16, String),
    /// By hanging up.
    HangUp,
}

impl Answers {
    pub(crate) fn with(status: u16) -> Self {
        Self::With(status, String::new())
    }
}

/// A listening relying party.
pub(crate) struct RelyingParty {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// Its logout token: the only member of the form (section 2.5).
    #[track_caller]
    pub(crate) fn logout_token(&self) -> String {
        assert!(
            self.head.to_ascii_lowercase().contains("content-type: application/x-www-form-urlencoded\r\n"),
            "{}",
            self.head
        );
        let members: Vec<_> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        let [(name, token)] = members.as_slice() else { panic!("{members:?}") };
        assert_eq!(name, "logout_token");
        token.clone()
    }
}

impl RelyingParty {
    pub(crate) fn start() -> Self {
        Self::behind(None)
    }

    /// By TLS, with a certificate that only the authority of the fixtures vouches for.
    pub(crate) fn start_private() -> Self {
        Self::behind(Some(Arc::new(private_tls())))
    }

    fn behind(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, answers) = (Arc::default(), Arc::new(Mutex::new(Answers::with(200))));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let party = Self { address, scheme, seen, answers };
        let (seen, answers) = (party.seen.clone(), party.answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = answers.lock().unwrap().clone();
                match &tls {
                    None => serve(stream, &seen, answer),
                    Some(tls) => {
                        let session = ServerConnection::new(tls.clone()).expect("a TLS session");
                        serve(StreamOwned::new(session, stream), &seen, answer);
                    }
                }
            }
        });
        party
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn private_tls() -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../fixtures/tls/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixtures/tls/server-key.pem"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("a certificate")], key.expect("a key"))
        .expect("a certificate for the key")
}

fn serve(mut stream: impl Read + Write, seen: &Mutex<Vec<Request>>, answer: Answers) {
    // A connection without a request is seen too.
    let request = read(&mut stream).unwrap_or_else(|| Request { head: String::new(), body: String::new() });
    seen.lock().unwrap().push(request);
    if let Answers::With(status, headers) = answer {
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{headers}\r\n");
        stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).ok();
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length =
        |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
    let mut body = vec![0; head.lines().find_map(length)?];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).ok()? })
}

/// What a relying party looks at before it believes a logout token (section 2.6); gives its claims.
#[track_caller]
pub(crate) fn verify(token: &str, jwks: &JwkSet, (issuer, client_id): (&str, &str), now: i64) -> Value {
    let (header, claims) = (part(token, 0), part(token, 1));
    // Section 2.4: an explicit type, so that no other token passes for it.
    assert_eq!(header["typ"], "logout+jwt");
    assert_ne!(header["alg"], "none");
    let key = jwks.find(header["kid"].as_str().expect("a kid")).expect("a published key");
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let algorithm = serde_json::from_value(header["alg"].clone()).expect("an algorithm");
    let key = DecodingKey::from_jwk(key).expect("a key");
    assert!(crypto::verify(signature, signed.as_bytes(), &key, algorithm).expect("a verdict"), "forged");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(client_id)));
    let (iat, exp) = (claims["iat"].as_i64().expect("iat"), claims["exp"].as_i64().expect("exp"));
    assert!(iat <= now && now < exp && exp - iat <= 120, "{claims}");
    assert!(claims["sub"].is_string() && claims["sid"].is_string(), "{claims}");
    assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
    assert!(claims.get("nonce").is_none(), "{claims}");
    assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() >= 16), "{claims}");
    claims
}
