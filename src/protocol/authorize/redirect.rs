use url::form_urlencoded;

use crate::oauth::Secret;
use crate::protocol::ProtocolError;

/// How an answer comes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// As a query of the redirect URI (OAuth 2.0 Multiple Response Type Encoding Practices, section 2.1).
    Query,
    /// As a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
    /// Shown to the person.
    OutOfBand,
}

/// Where the answer to a request goes. Holds only a redirect URI that its client has registered.
#[derive(Clone, Debug)]
pub struct ReplyTo {
    /// What people call the client.
    pub client_name: String,
    /// Its redirect URI, as it was sent.
    pub redirect_uri: String,
    /// How the answer gets there.
    pub response_mode: ResponseMode,
    /// Whether an administrator vouches for the client: otherwise nobody is sent there without having been asked (RFC 9700,
    /// section 4.11.2).
    pub(super) is_vouched_for: bool,
    /// The `state` of the request, given back as it came.
    pub(super) state: Option<String>,
    /// This server, so that the client knows who answers (RFC 9207).
    pub(super) issuer: String,
}

/// An answer to the client, on its way through the browser.
pub struct Reply {
    /// Where it goes.
    pub to: ReplyTo,
    /// What it says.
    pub members: Vec<(&'static str, String)>,
}

impl ReplyTo {
    /// The answer that carries a code (RFC 6749, section 4.1.2).
    pub(super) fn code(&self, code: &Secret) -> Reply {
        self.with(vec![("code", code.expose().to_owned())])
    }

    /// The answer that refuses (RFC 6749, section 4.1.2.1).
    pub(super) fn refuse(&self, error: &ProtocolError) -> Reply {
        self.with(vec![
            ("error", error.code.as_str().to_owned()),
            ("error_description", error.description.clone().into_owned()),
        ])
    }

    fn with(&self, mut members: Vec<(&'static str, String)>) -> Reply {
        members.extend(self.state.clone().map(|state| ("state", state)));
        members.push(("iss", self.issuer.clone()));
        Reply { to: self.clone(), members }
    }
}

impl Reply {
    /// The redirect URI with the answer as its query, behind what it may have there already.
    #[must_use]
    pub fn location(&self) -> String {
        with_query(&self.to.redirect_uri, &self.members)
    }

    /// A member of the answer.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(each, _)| *each == name).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.members.iter().map(|(name, _)| name);
        f.debug_struct("Reply").field("to", &self.to).field("members", &names.collect::<Vec<_>>()).finish()
    }
}

/// `uri`, text for text, with more members in its query. It must have no fragment.
pub(in crate::protocol) fn with_query(uri: &str, members: &[(&'static str, String)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(members).finish();
    let join = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{join}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_added_to_the_query_and_encoded() {
        let members = [("state", "a&b=\r\n ö".to_owned())];
        let encoded = "state=a%26b%3D%0D%0A+%C3%B6";
        assert_eq!(with_query("https://a.example/cb", &members), format!("https://a.example/cb?{encoded}"));
        assert_eq!(
            with_query("https://a.example/cb?x=1", &members),
            format!("https://a.example/cb?x=1&{encoded}")
        );
        assert_eq!(with_query("com.example:/cb?", &members), format!("com.example:/cb?{encoded}"));
    }
}
