use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::asked_claims::AskedAcr;
use super::goal::{Goal, Requester};
use super::request::{AuthorizationRequest, Refused};
use super::{ConsentForm, Door, Prompt, Reply, SignInForm, consent, sign_in};
use crate::clock::FURTHEST_AHEAD;
use crate::limits::ClientAddress;
use crate::oauth::{ErrorCode, Secret, Subject};
use crate::protocol::{Params, ProtocolError, Services};
use crate::users::{Account, Attempt, DeviceId, Session, Tried};

/// The longest query of a request that is taken: sealed, it has to fit into a form.
const LONGEST_QUERY: usize = 8 * 1024;

/// What is known of the browser that asks.
#[derive(Clone, Debug)]
pub struct Browser {
    /// Its session cookie.
    pub session: Option<Secret>,
    /// The cookie that ties forms to it before anybody has signed in; a new one if it had none.
    pub holder: Secret,
    /// The cookie of a device that somebody signed in from before.
    pub device: Option<Secret>,
    /// Where it asks from.
    pub address: ClientAddress,
    /// What it says of itself.
    pub user_agent: Option<String>,
}

/// What comes next for a request.
#[derive(Debug)]
pub enum Step {
    /// The person has to sign in.
    SignIn(Box<SignInForm>),
    /// The person has to say yes or no.
    Consent(Box<ConsentForm>),
    /// Nothing: the client is answered.
    Reply(Box<Reply>),
}

/// An authorization request as it came, to be read again when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    door: Door,
    query: String,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Present {
    /// Who.
    pub account: Account,
    /// In which session.
    pub session: Session,
    /// What opens it.
    pub cookie: Secret,
}

/// Answers an authorization request as far as that goes without asking the person.
///
/// # Errors
/// When it is refused, to the person or to the client.
pub async fn authorize(
    services: &Services,
    door: Door,
    query: &str,
    browser: &Browser,
) -> Result<Step, Refused> {
    let asked = Asked::new(door, query)?;
    let request = asked.read(services)?;
    request.is_welcome(services).await?;
    let reply_to = request.reply_to.clone();
    next(services, asked, request, browser).await.map_err(|error| Refused::unasked(&reply_to, &error))
}

async fn next(
    services: &Services,
    asked: Asked,
    request: AuthorizationRequest,
    browser: &Browser,
) -> Result<Step, ProtocolError> {
    let present = Present::find(services, browser.session.as_ref()).await?;
    let prompt = request.prompt;
    if let Some(present) = &present
        && !prompt.wants_login()
        && !prompt.wants_account()
        && present.suits(services, &request)
        && present.has_proved_enough(services, &request).await?
    {
        return consent::next(services, asked, request, present).await;
    }
    if prompt == Prompt::None {
        return Err(ProtocolError::new(ErrorCode::LoginRequired, "the person has to sign in"));
    }
    // Going on as somebody is an offer only where signing in anew was not asked for.
    let current = present.filter(|present| {
        prompt.wants_account() && !prompt.wants_login() && present.suits(services, &request)
    });
    let goal = (Goal::Request(asked), Some(Requester::of(&request)));
    let form = sign_in::form(services, goal, &browser.holder, current.map(|present| present.account))?;
    Ok(Step::SignIn(Box::new(form)))
}

impl Browser {
    /// A try to sign in from this browser.
    pub(in crate::protocol) fn attempt(&self, tried: Tried) -> Attempt {
        let device = self.device.as_ref().and_then(|cookie| DeviceId::parse(cookie.expose()));
        Attempt { tried, address: self.address, device, patience: Duration::ZERO }
    }
}

impl Asked {
    /// A request by `door`.
    ///
    /// # Errors
    /// When it is too long to be kept.
    pub fn new(door: Door, query: &str) -> Result<Self, ProtocolError> {
        if query.len() > LONGEST_QUERY {
            return Err(ProtocolError::invalid_request("the request is too long"));
        }
        Ok(Self { door, query: query.to_owned() })
    }

    pub(super) fn read(&self, services: &Services) -> Result<AuthorizationRequest, Refused> {
        let params = Params::new(form_urlencoded::parse(self.query.as_bytes()))?;
        AuthorizationRequest::read(services, self.door, &params)
    }

    /// Where the request can be made again.
    #[must_use]
    pub fn location(&self, services: &Services) -> String {
        format!("{}{}?{}", services.issuer, self.door.path(), self.query)
    }

    /// Where it goes on when the person has signed in: the same request, without asking for that once more. What the
    /// client wants to know of it, `auth_time` in the ID token says.
    pub(super) fn signed_in(&self, services: &Services) -> String {
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            match &*name {
                "prompt" if value.split(' ').any(|each| each == "consent") => {
                    rest.append_pair("prompt", "consent");
                }
                "max_age" | "force_login" | "prompt" => {}
                _ => _ = rest.append_pair(&name, &value),
            }
        }
        format!("{}{}?{}", services.issuer, self.door.path(), rest.finish())
    }
}

impl Present {
    /// Who is signed in by the session that `cookie` opens; nobody whose account is disabled or gone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(services: &Services, cookie: Option<&Secret>) -> Result<Option<Self>, ProtocolError> {
        let Some(cookie) = cookie else { return Ok(None) };
        let Some(session) = services.sessions.find(cookie).await? else { return Ok(None) };
        let account = services.accounts.find(&session.user).await?.filter(|account| !account.disabled);
        Ok(account.map(|account| Self { account, session, cookie: cookie.clone() }))
    }

    /// Whether the request is content with how and when they signed in.
    fn suits(&self, services: &Services, request: &AuthorizationRequest) -> bool {
        let age = services.clock.numeric_date() - self.session.authentication.auth_time;
        let within = |most| (-FURTHEST_AHEAD.num_seconds()..=most).contains(&age);
        // 0 asks for a sign-in anew, as `prompt=login` does (OpenID Connect Core 1.0, section 3.1.2.1).
        let is_recent = request.max_age.is_none_or(|most| 0 < most && within(most));
        let is_meant = request.subject.as_ref().is_none_or(|meant| *meant == Subject::from(&self.account.id));
        is_recent && is_meant
    }

    /// Whether they proved who they are as well as the request asks for, or as they can where that is only wished for;
    /// if not, they are to sign in anew, by the second factor that they have got since.
    ///
    /// # Errors
    /// When it is essential and they have none, or the store fails.
    async fn has_proved_enough(
        &self,
        services: &Services,
        request: &AuthorizationRequest,
    ) -> Result<bool, ProtocolError> {
        let authentication = &self.session.authentication;
        if request.acr.is_met_by(authentication) {
            return Ok(true);
        }
        let is_admitted = request.acr.admits(authentication);
        match services.second_factors.find(&self.account.id).await? {
            None if is_admitted => Ok(true),
            None => Err(AskedAcr::unmet()),
            Some(_) => Ok(is_admitted && request.prompt == Prompt::None),
        }
    }
}
