//! `multipart/form-data` (RFC 7578): as some clients of one older document send what others send as a form.

use actix_web::HttpRequest;
use actix_web::http::header;
use futures_util::stream;
use multer::{Field, Multipart};

use super::body::Body;
use crate::protocol::{Params, ProtocolError};

/// What stands between the parts, if the body has such parts.
pub(super) fn boundary(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    multer::parse_boundary(value).ok()
}

/// The parts as parameters: each a name and a text. The body was read whole and is no longer than any other.
///
/// # Errors
/// `invalid_request` when it is damaged, or has a part without a name, that is a file, or that is not UTF-8.
pub(super) async fn params(body: &Body, boundary: String) -> Result<Params<'static>, ProtocolError> {
    let bytes = body.bytes()?.clone();
    let mut parts = Multipart::new(stream::iter([Ok::<_, std::convert::Infallible>(bytes)]), boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(damaged)? {
        let name = name(&part)?;
        let text = String::from_utf8(part.bytes().await.map_err(damaged)?.to_vec());
        pairs.push((name.into(), text.map_err(|_| invalid("a part is not UTF-8"))?.into()));
    }
    Params::new(pairs)
}

fn name(part: &Field<'_>) -> Result<String, ProtocolError> {
    if part.file_name().is_some() {
        return Err(invalid("a file is no parameter"));
    }
    part.name().map(str::to_owned).ok_or_else(|| invalid("a part has no name"))
}

fn damaged(_: multer::Error) -> ProtocolError {
    invalid("the parts of the body can not be read")
}

fn invalid(reason: &'static str) -> ProtocolError {
    ProtocolError::invalid_request(reason)
}
