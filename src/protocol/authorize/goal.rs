use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::request::{AuthorizationRequest, Refused};
use super::step::Asked;
use super::{ResponseMode, consent};
use crate::clients::Client;
use crate::oauth::Subject;
use crate::protocol::{ProtocolError, Services};
use crate::users::{Account, Authentication};

/// What somebody signs in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Goal {
    /// A client's authorization request.
    Request(Asked),
    /// A page of this service itself, by its path and query below the issuer.
    Page(String),
}

/// The client that somebody signs in for.
#[derive(Clone, Debug)]
pub struct Requester {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes in the end.
    pub redirect_uri: String,
    /// Whom it expects to sign in.
    pub(super) login_hint: Option<String>,
}

impl Requester {
    /// Who made `request`.
    pub(super) fn of(request: &AuthorizationRequest) -> Self {
        Self {
            client: request.client.clone(),
            redirect_uri: request.reply_to.redirect_uri.clone(),
            login_hint: request.login_hint.clone(),
        }
    }
}

impl Goal {
    /// Whose request it is, read anew; nobody's for a page.
    ///
    /// # Errors
    /// When the request would be refused by now.
    pub(super) fn requester(&self, services: &Services) -> Result<Option<Requester>, Refused> {
        match self {
            Self::Request(asked) => Ok(Some(Requester::of(&asked.read(services)?))),
            Self::Page(_) => Ok(None),
        }
    }

    /// The request of a client that may be answered as soon as the person of `account` has signed in like this, for there is nothing left
    /// to ask, to refuse or to show, and the date of what is granted by that: what answers a password must not be a page, which could be loaded anew with it.
    pub(super) async fn answerable(
        &self,
        services: &Services,
        (account, authentication): (&Account, &Authentication),
    ) -> Result<Option<(AuthorizationRequest, i64)>, ProtocolError> {
        let Self::Request(asked) = self else { return Ok(None) };
        let Ok(request) = asked.read(services) else { return Ok(None) };
        // Before it is looked what was allowed: whoever withdraws that meanwhile revokes what bears this date.
        let granted_at = consent::date_of_grant(services, &request, &account.id);
        let is_meant = request.subject.as_ref().is_none_or(|meant| *meant == Subject::from(&account.id));
        let is_answerable = is_meant
            && request.acr.admits(authentication)
            && request.reply_to.response_mode == ResponseMode::Query
            && request.is_welcome(services).await.is_ok()
            && consent::is_known(services, &request, &account.id).await?;
        if is_answerable { Ok(Some((request, granted_at?))) } else { Ok(None) }
    }

    /// Where it can be begun anew.
    pub(super) fn location(&self, services: &Services) -> String {
        match self {
            Self::Request(asked) => asked.location(services),
            Self::Page(path) => format!("{}{path}", services.issuer),
        }
    }

    /// Where it goes on when the person has signed in.
    pub(super) fn signed_in(&self, services: &Services) -> String {
        match self {
            Self::Request(asked) => asked.signed_in(services),
            Self::Page(_) => self.location(services),
        }
    }
}
