//! API keys at a resource server that knows none: each is exchanged at the issuer for an access token (RFC 8693), which is
//! kept until shortly before it ends. The issuer is asked once in a quarter of an hour and key; a key that was revoked is
//! refused as soon as the status list says so. So the issuer's limit is one of exchanges: the requests of a key are counted here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use signet::clock::SharedClock;

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(30);

/// What every API key looks like, so that the issuer is not asked about what can be none.
const PREFIX: &str = "sk_";
const LENGTH: usize = 46;

/// For how many keys tokens are kept; further ones are exchanged every time, and the issuer counts them.
const MOST: usize = 10_000;

/// How many requests of a key are let through in any span of [`MINUTE`].
const PER_MINUTE: usize = 100;
const MINUTE: Duration = Duration::from_mins(1);

/// Exchanges API keys, and keeps what it gets.
pub(crate) struct KeyExchange {
    endpoint: String,
    audience: String,
    agent: ureq::Agent,
    /// `Authorization` of this API's own client at the issuer.
    credentials: Option<String>,
    clock: SharedClock,
    in_query: bool,
    /// By the digest of the key, so that no key is kept.
    tokens: Mutex<HashMap<Vec<u8>, Kept>>,
}

#[derive(Default)]
struct Kept {
    token: String,
    until: Duration,
    used: Used,
}

/// When a key was used in the last minute, oldest first. A request that is refused is not counted.
#[derive(Default)]
struct Used(VecDeque<Duration>);

/// How a key stands after a request.
struct Standing {
    admitted: bool,
    remaining: usize,
    /// In how many seconds one more is let through than now.
    reset: u64,
}

impl Used {
    fn spend(&mut self, now: Duration) -> Standing {
        while self.0.front().is_some_and(|oldest| *oldest + MINUTE <= now) {
            self.0.pop_front();
        }
        let admitted = self.0.len() < PER_MINUTE;
        if admitted {
            self.0.push_back(now);
        }
        let leaves = self.0.front().map_or(now, |oldest| *oldest + MINUTE);
        let reset = leaves.saturating_sub(now).as_millis().div_ceil(1000);
        let remaining = PER_MINUTE.saturating_sub(self.0.len());
        Standing { admitted, remaining, reset: u64::try_from(reset).unwrap_or(u64::MAX) }
    }

    fn is_recent(&self, now: Duration) -> bool {
        self.0.back().is_some_and(|newest| now < *newest + MINUTE)
    }
}

/// What came of a key.
pub(crate) struct Exchanged {
    /// The access token.
    pub(crate) token: Result<String, NoToken>,
    /// How the key's limit stands, in the fields that say so: here, or at the issuer where that refused it.
    pub(crate) limit: Vec<(&'static str, String)>,
}

/// Those fields.
const LIMIT: [&str; 5] =
    ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// The issuer does not know the key, or it permits nothing here.
    Refused,
    /// The key has been used too often; try again after so many seconds.
    TooOften(String),
    /// The issuer can't be asked.
    Unavailable,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

impl KeyExchange {
    /// Exchanges keys at `issuer` for tokens that are meant for `audience`.
    pub(crate) fn new(issuer: &str, audience: &str, clock: SharedClock) -> Self {
        let timeout = Some(Duration::from_secs(5));
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(timeout).build();
        Self {
            endpoint: format!("{issuer}/oauth2/token"),
            audience: audience.to_owned(),
            agent: config.into(),
            credentials: None,
            clock,
            in_query: false,
            tokens: Mutex::default(),
        }
    }

    /// Takes keys in the query parameter `api_key` too, as some older clients send them. They end up in logs there.
    pub(crate) fn with_keys_in_query(self) -> Self {
        Self { in_query: true, ..self }
    }

    /// The same as a client of the issuer, so that the issuer knows who asks. Its identifier and its secret are as the issuer
    /// gave them: nothing in them needs to be encoded (RFC 6749, section 2.3.1).
    pub(crate) fn authenticated(self, client_id: &str, client_secret: &str) -> Self {
        let credentials = STANDARD.encode(format!("{client_id}:{client_secret}"));
        Self { credentials: Some(format!("Basic {credentials}")), ..self }
    }

    /// An access token for the key; from memory, or from the issuer. Blocks.
    pub(crate) fn token(&self, key: &str) -> Exchanged {
        let mut limit = Vec::new();
        Exchanged { token: self.look(key, &mut limit), limit }
    }

    fn look(&self, key: &str, limit: &mut Vec<(&'static str, String)>) -> Result<String, NoToken> {
        if !key.starts_with(PREFIX) || key.len() != LENGTH {
            return Err(NoToken::Refused);
        }
        let now = self.clock.monotonic();
        let digest = digest(&SHA256, key.as_bytes()).as_ref().to_vec();
        let mut is_counted = false;
        if let Some(kept) = self.tokens().get_mut(&digest) {
            self.count(&mut kept.used, now, limit)?;
            if now < kept.until {
                return Ok(kept.token.clone());
            }
            is_counted = true;
        }
        let Answer { access_token, expires_in } = self.exchange(key, limit)?;
        let until = now + Duration::from_secs(expires_in).saturating_sub(MARGIN);
        let mut tokens = self.tokens();
        if tokens.len() >= MOST {
            tokens.retain(|_, kept| now < kept.until || kept.used.is_recent(now));
        }
        if tokens.len() < MOST || tokens.contains_key(&digest) {
            let kept = tokens.entry(digest).or_default();
            (kept.token, kept.until) = (access_token.clone(), until);
            if !is_counted {
                self.count(&mut kept.used, now, limit)?;
            }
        }
        Ok(access_token)
    }

    /// Counts a request of a key that the issuer knows: what is no key can't fill the memory here.
    fn count(
        &self,
        used: &mut Used,
        now: Duration,
        limit: &mut Vec<(&'static str, String)>,
    ) -> Result<(), NoToken> {
        let Standing { admitted, remaining, reset } = used.spend(now);
        let resets_at = self.clock.numeric_date().saturating_add_unsigned(reset);
        let fields = [
            format!("\"apikey\";q={PER_MINUTE};w={}", MINUTE.as_secs()),
            format!("\"apikey\";r={remaining};t={reset}"),
            PER_MINUTE.to_string(),
            remaining.to_string(),
            resets_at.to_string(),
        ];
        *limit = LIMIT.into_iter().zip(fields).collect();
        if admitted { Ok(()) } else { Err(NoToken::TooOften(reset.to_string())) }
    }

    fn exchange(&self, key: &str, limit: &mut Vec<(&'static str, String)>) -> Result<Answer, NoToken> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", key),
            ("subject_token_type", "urn:signet:params:oauth:token-type:api_key"),
            ("resource", &self.audience),
        ];
        let mut request = self.agent.post(&self.endpoint);
        if let Some(credentials) = &self.credentials {
            request = request.header("authorization", credentials);
        }
        let mut answer = request.send_form(form).map_err(|_| NoToken::Unavailable)?;
        let field = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        if answer.status() == 429 {
            *limit = LIMIT.into_iter().filter_map(|name| Some((name, field(name)?))).collect();
        }
        let text = answer.body_mut().read_to_string().map_err(|_| NoToken::Unavailable)?;
        match answer.status().as_u16() {
            200 => serde_json::from_str(&text).map_err(|_| NoToken::Unavailable),
            429 => {
                let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                Err(NoToken::TooOften(after.unwrap_or("60").to_owned()))
            }
            // It is us whom the issuer does not know.
            401 => Err(NoToken::Unavailable),
            400..=499 => Err(NoToken::Refused),
            _ => Err(NoToken::Unavailable),
        }
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Kept>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the access token in the place of the API key that a request came with; the handlers see nothing but tokens.
pub(crate) async fn exchange_api_key<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let exchange = request.app_data::<web::Data<KeyExchange>>().cloned();
    let key = exchange.as_ref().and_then(|exchange| api_key(exchange, &request));
    if let (Some(exchange), Some(key)) = (exchange, key) {
        let nothing = |_| Exchanged { token: Err(NoToken::Unavailable), limit: Vec::new() };
        let Exchanged { token, limit } = web::block({
            let exchange = exchange.clone();
            move || exchange.token(&key)
        })
        .await
        .unwrap_or_else(nothing);
        let bearer =
            |token| HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| NoToken::Unavailable);
        match token.and_then(bearer) {
            Ok(value) => request.headers_mut().insert(AUTHORIZATION, value),
            Err(reason) => return Err(refusal(&reason, &exchange.audience, &limit)),
        };
        let mut answered = next.call(request).await?;
        for (name, value) in limit {
            if let Ok(value) = HeaderValue::try_from(value) {
                answered.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        return Ok(answered);
    }
    next.call(request).await
}

/// `X-API-Key`, or `Authorization: ApiKey …`, or `Bearer sk_…`; or in the query, where that is wanted.
fn api_key(exchange: &KeyExchange, request: &ServiceRequest) -> Option<String> {
    if let Some(key) = request.headers().get("x-api-key") {
        return key.to_str().ok().map(str::to_owned);
    }
    let Some(authorization) = request.headers().get(AUTHORIZATION) else {
        let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
        let key = pairs.find(|(name, _)| exchange.in_query && name == "api_key");
        return key.map(|(_, key)| key.into_owned());
    };
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    let bearer = scheme.eq_ignore_ascii_case("Bearer") && key.starts_with(PREFIX);
    (bearer || scheme.eq_ignore_ascii_case("ApiKey")).then(|| key.to_owned())
}

fn refusal(reason: &NoToken, audience: &str, limit: &[(&'static str, String)]) -> Error {
    let (status, error, message) = match reason {
        NoToken::Refused => (StatusCode::UNAUTHORIZED, "invalid_token", "the API key is not valid here"),
        NoToken::TooOften(_) => {
            (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "there are too many requests")
        }
        NoToken::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "the issuer can not be asked")
        }
    };
    let mut answer = HttpResponse::build(status);
    match reason {
        // RFC 6750, section 3; the key came in the place of a token. A resource identifier is a URI, which has no quotes.
        NoToken::Refused => {
            let challenge = format!("Bearer realm=\"{audience}\", error=\"{error}\"");
            answer.insert_header((WWW_AUTHENTICATE, challenge));
        }
        NoToken::TooOften(seconds) => {
            answer.insert_header((RETRY_AFTER, seconds.as_str()));
        }
        NoToken::Unavailable => {}
    }
    for (name, value) in limit {
        answer.insert_header((*name, value.as_str()));
    }
    let answer = answer.json(json!({ "error": error, "message": message }));
    InternalError::from_response(error, answer).into()
}
