//! The `claims` parameter (OpenID Connect Core 1.0, section 5.5), as far as it decides what a request is answered with.

use serde_json::Value;

use super::Prompt;
use crate::clients::Client;
use crate::oauth::{Acr, ErrorCode, Subject};
use crate::protocol::{Params, ProtocolError, Services};
use crate::users::Authentication;

/// The longest `claims` parameter that is taken, in bytes.
const LONGEST: usize = 4096;

/// The parameter, as it was sent.
pub(super) fn read(params: &Params<'_>) -> Result<Option<Value>, ProtocolError> {
    let Some(text) = params.one("claims") else { return Ok(None) };
    let malformed = || ProtocolError::invalid_request("claims must be a JSON object, and not a long one");
    let claims: Value =
        if text.len() > LONGEST { None } else { serde_json::from_str(text).ok() }.ok_or_else(malformed)?;
    let members_of = |name: &str| claims.get(name).is_none_or(Value::is_object);
    if claims.is_object() && members_of("userinfo") && members_of("id_token") {
        Ok(Some(claims))
    } else {
        Err(malformed())
    }
}

/// The person whom the answer has to be about: whom a hint names, an ID token of ours for this client which may have ended, and
/// whom the claim `sub` asks for. Nobody else's ID token answers the request (section 3.1.2.2).
///
/// A hint that can't be read may be an honest one whose key is no longer remembered. Whom it means isn't known: nobody is the
/// answer to that without being asked, and whoever is asked is asked as if there were no hint.
pub(super) fn subject(
    services: &Services,
    client: &Client,
    params: &Params<'_>,
    (prompt, claims): (Prompt, Option<&Value>),
) -> Result<Option<Subject>, ProtocolError> {
    let given = params.one("id_token_hint");
    let hinted = match given.and_then(|hint| services.id_token_hint(hint)) {
        Some(hint) if hint.is_for(&client.client_id) => Some(hint.sub),
        Some(_) => return Err(ProtocolError::invalid_request("id_token_hint is no ID token of this client")),
        None if given.is_some() && prompt == Prompt::None => {
            let reason = "whom id_token_hint means is not known any more";
            return Err(ProtocolError::new(ErrorCode::LoginRequired, reason));
        }
        None => None,
    };
    let asked = match values(claims, "sub")?.as_deref() {
        None => None,
        Some([sub]) => Some(Subject::parse(sub).map_err(|_| malformed("sub"))?),
        Some(_) => return Err(malformed("sub")),
    };
    match (hinted, asked) {
        (Some(hinted), Some(asked)) if hinted != asked => {
            Err(ProtocolError::invalid_request("id_token_hint and the claim sub name different people"))
        }
        (hinted, asked) => Ok(hinted.or(asked)),
    }
}

/// How well the person shall have proved who they are: by `acr_values`, which is a wish, or by the claim `acr`, which
/// may be more (sections 3.1.2.1 and 5.5.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedAcr {
    /// Those of the classes asked for that there are, the most welcome first; none where every one will do.
    classes: Vec<Acr>,
    is_essential: bool,
}

impl AskedAcr {
    /// What a request asks for.
    ///
    /// # Errors
    /// When the claim is malformed, or essential and of no class that there is.
    pub(super) fn read(params: &Params<'_>, claims: Option<&Value>) -> Result<Self, ProtocolError> {
        let known = |names: &[&str]| names.iter().filter_map(|name| Acr::parse(name)).collect();
        let Some(names) = values(claims, "acr")? else {
            let wished: Vec<&str> = params.one("acr_values").unwrap_or_default().split(' ').collect();
            return Ok(Self { classes: known(&wished), is_essential: false });
        };
        let is_essential = of_id_token(claims, "acr").is_some_and(|asked| asked["essential"] == true);
        let asked = Self { classes: known(&names), is_essential };
        if is_essential && asked.classes.is_empty() { Err(Self::unmet()) } else { Ok(asked) }
    }

    /// Whether a person who has proved who they are like this may be the answer.
    pub(super) fn admits(&self, authentication: &Authentication) -> bool {
        !self.is_essential || self.is_met_by(authentication)
    }

    /// Whether a class that was asked for, if any was, is met.
    pub(super) fn is_met_by(&self, authentication: &Authentication) -> bool {
        self.classes.is_empty() || self.met(authentication).is_some()
    }

    /// What the client is told: the most welcome class that is met, or what it came to.
    pub(super) fn granted(&self, authentication: &Authentication) -> Option<Acr> {
        self.met(authentication).or_else(|| authentication.acr())
    }

    fn met(&self, authentication: &Authentication) -> Option<Acr> {
        let proved = authentication.acr()?;
        self.classes.iter().copied().find(|class| *class <= proved)
    }

    /// What the client hears when a class that is essential can't be met.
    pub(super) fn unmet() -> ProtocolError {
        let reason = "the person can't prove who they are in the way that is asked for";
        ProtocolError::new(ErrorCode::UnmetAuthenticationRequirements, reason)
    }
}

/// How a claim is asked for in the ID token.
fn of_id_token<'a>(claims: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    claims?.get("id_token")?.get(name)
}

/// The values, at least one, that a claim of the ID token is asked for with; `None` where any will do (section 5.5.1).
fn values<'a>(claims: Option<&'a Value>, name: &'static str) -> Result<Option<Vec<&'a str>>, ProtocolError> {
    let Some(asked) = of_id_token(claims, name).filter(|asked| !asked.is_null()) else { return Ok(None) };
    let values = match (asked.is_object(), asked.get("value"), asked.get("values")) {
        (true, None, None) => return Ok(None),
        (true, Some(value), None) => value.as_str().map(|value| vec![value]),
        (true, None, Some(Value::Array(values))) => values.iter().map(Value::as_str).collect(),
        _ => None,
    };
    values.filter(|values| !values.is_empty()).map(Some).ok_or_else(|| malformed(name))
}

fn malformed(name: &'static str) -> ProtocolError {
    ProtocolError::invalid_request(format!("the claim {name} is asked for in a way that means nothing"))
}
