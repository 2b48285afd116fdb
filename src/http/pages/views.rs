//! The pages as the templates take them: every value that comes from outside is text, and is escaped there.

use askama::Template;

use super::frame::Frame;
use crate::clients::Client;
use crate::http::State;
use crate::oauth::{ErrorCode, WebUri};
use crate::protocol::ProtocolError;

/// How a client is shown.
#[derive(Clone, Debug)]
pub(super) struct ClientView<'a> {
    pub(super) name: &'a str,
    pub(super) logo: Option<&'a str>,
    pub(super) website: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
    pub(super) terms: Option<&'a str>,
    /// Whether an administrator looked at it.
    pub(super) is_vouched_for: bool,
}

impl<'a> ClientView<'a> {
    /// Of a registered client, on a page in this frame. What nobody vouches for leads nowhere by links of its own choice.
    pub(super) fn of(frame: &Frame, client: &'a Client) -> Self {
        let is_vouched_for = client.is_vouched_for();
        let text = |uri: &'a Option<WebUri>| uri.as_ref().filter(|_| is_vouched_for).map(WebUri::as_str);
        Self {
            name: &client.client_name,
            logo: client.logo_uri.as_ref().filter(|logo| frame.may_show(logo)).map(WebUri::as_str),
            website: text(&client.client_uri),
            policy: text(&client.policy_uri),
            terms: text(&client.tos_uri),
            is_vouched_for,
        }
    }

    fn initial(&self) -> String {
        self.name
            .chars()
            .find(|c| c.is_alphanumeric())
            .map(|c| c.to_uppercase().collect())
            .unwrap_or_default()
    }

    fn has_links(&self) -> bool {
        self.website.is_some() || self.policy.is_some() || self.terms.is_some()
    }
}

/// One scope token and what it means.
#[derive(Clone, Debug)]
pub(super) struct ScopeView<'a> {
    pub(super) token: &'a str,
    pub(super) words: &'a str,
}

impl ScopeView<'_> {
    pub(super) fn is_explained(&self) -> bool {
        self.token != self.words
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignIn<'a> {
    pub(super) frame: &'a Frame,
    /// None where it is for a page of this service itself.
    pub(super) client: Option<ClientView<'a>>,
    pub(super) state: &'a str,
    pub(super) username: &'a str,
    /// Who is signed in already, where one may go on as that.
    pub(super) current: Option<&'a str>,
    pub(super) problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
pub(super) struct SecondFactor<'a> {
    pub(super) frame: &'a Frame,
    pub(super) client: Option<ClientView<'a>>,
    pub(super) state: &'a str,
    pub(super) problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "consent.html")]
pub(super) struct Consent<'a> {
    pub(super) frame: &'a Frame,
    pub(super) client: ClientView<'a>,
    pub(super) state: &'a str,
    pub(super) account: &'a str,
    /// Where it counts.
    pub(super) resources: Vec<&'a str>,
    pub(super) asked: Vec<ScopeView<'a>>,
    pub(super) granted: Vec<ScopeView<'a>>,
    /// Where the answer goes, in words.
    pub(super) destination: &'a str,
}

#[derive(Template)]
#[template(path = "error.html")]
pub(super) struct Failure<'a> {
    pub(super) frame: &'a Frame,
    pub(super) heading: &'a str,
    pub(super) text: &'a str,
    /// Where to begin anew, if that may help.
    pub(super) again: Option<&'a str>,
    /// Whether the portal is a way back.
    pub(super) home: bool,
    /// For the developer of the application that asked.
    pub(super) code: Option<&'a str>,
}

impl<'a> Failure<'a> {
    /// What is wrong, why, and where to begin anew.
    pub(super) fn of(
        state: &'a State,
        error: &ProtocolError,
        (text, again): (&'a str, Option<&'a str>),
    ) -> Self {
        let heading = match error.code {
            ErrorCode::TemporarilyUnavailable | ErrorCode::TooManyRequests => "Please try again in a moment",
            ErrorCode::ServerError => "Something went wrong here",
            _ if again.is_some() => "This page has expired",
            ErrorCode::NotFound => "There is nothing here",
            _ => "This request can’t be completed",
        };
        Self { frame: &state.frame, heading, text, again, home: false, code: Some(error.code.as_str()) }
    }
}

#[derive(Template)]
#[template(path = "dead_end.html")]
pub(super) struct DeadEnd<'a> {
    pub(super) frame: &'a Frame,
    pub(super) client_name: &'a str,
    pub(super) text: &'a str,
    pub(super) code: &'a str,
    /// Where the link leads, for people; nowhere but to an application on this device if there is none.
    pub(super) host: Option<String>,
    pub(super) location: &'a str,
}

#[derive(Template)]
#[template(path = "code.html")]
pub(super) struct ShownCode<'a> {
    pub(super) frame: &'a Frame,
    pub(super) client_name: &'a str,
    pub(super) code: &'a str,
}

#[derive(Template)]
#[template(path = "form_post.html")]
pub(super) struct FormPost<'a> {
    pub(super) frame: &'a Frame,
    pub(super) client_name: &'a str,
    pub(super) action: &'a str,
    pub(super) members: &'a [(&'static str, String)],
}

#[derive(Template)]
#[template(path = "sign_out.html")]
pub(super) struct SignOut<'a> {
    pub(super) frame: &'a Frame,
    pub(super) account: &'a str,
    pub(super) state: &'a str,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message<'a> {
    pub(super) frame: &'a Frame,
    pub(super) heading: &'a str,
    pub(super) text: &'a str,
}
