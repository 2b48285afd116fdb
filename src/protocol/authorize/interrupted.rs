use super::redirect::{Reply, ReplyTo};
use super::request::Refused;
use crate::protocol::ProtocolError;
use crate::telemetry::request_failed;

/// A form that leads nowhere.
#[derive(Debug)]
pub enum Interrupted {
    /// It has to be begun anew.
    Form {
        /// Why.
        error: ProtocolError,
        /// Where, if that is known.
        again: Option<String>,
    },
    /// The client is told.
    ToClient(Box<Reply>),
    /// The person is told, who may go on to the client with it.
    ByLink(Box<Reply>),
}

impl Interrupted {
    /// The form is too old, or another browser's or session's.
    pub(super) fn stale(again: String) -> Self {
        let reason = "the form was open for too long, or belongs to another browser or session";
        let error = ProtocolError::invalid_request(reason);
        Self::Form { error, again: Some(again) }
    }

    /// The form was answered already. Begun again, the request is answered at once where that answer was yes and still stands.
    pub(super) fn answered(again: String) -> Self {
        let error = ProtocolError::invalid_request("this form was answered already");
        Self::Form { error, again: Some(again) }
    }

    /// What the person decided, after they saw where it leads, comes to nothing.
    pub(super) fn decided(reply_to: &ReplyTo, error: &ProtocolError) -> Self {
        Self::ToClient(Box::new(refusal(reply_to, error)))
    }

    /// The form was not made here.
    pub(in crate::protocol) fn forged() -> Self {
        ProtocolError::invalid_request("the form was not made here, or is damaged").into()
    }
}

impl From<ProtocolError> for Interrupted {
    fn from(error: ProtocolError) -> Self {
        Self::Form { error, again: None }
    }
}

impl Refused {
    /// The refusal of a request whose redirect URI is known to be the client's, before the person was asked. What lies behind
    /// it is logged: the client is not told.
    pub(super) fn unasked(reply_to: &ReplyTo, error: &ProtocolError) -> Self {
        let reply = Box::new(refusal(reply_to, error));
        if reply_to.is_vouched_for { Self::ToClient(reply) } else { Self::ByLink(reply) }
    }
}

/// What the client is told; what lies behind it is logged.
fn refusal(reply_to: &ReplyTo, error: &ProtocolError) -> Reply {
    if let Some(cause) = &error.cause {
        request_failed(error.code, cause);
    }
    reply_to.refuse(error)
}

impl From<Refused> for Interrupted {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Here(error) => Self::Form { error, again: None },
            Refused::ToClient(reply) => Self::ToClient(reply),
            Refused::ByLink(reply) => Self::ByLink(reply),
        }
    }
}
