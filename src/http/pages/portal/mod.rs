//! The portal: what people see and change of their own accounts. One file a page.

pub(in crate::http) mod api_keys;
pub(in crate::http) mod applications;
pub(in crate::http) mod consents;
pub(in crate::http) mod password;
pub(in crate::http) mod profile;
mod qr;
pub(in crate::http) mod second_factor;
pub(in crate::http) mod sessions;

use super::words;
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// What is wrong with a form that can be mended, as a sentence; any other error stays one.
fn curable(error: ProtocolError) -> Result<String, ProtocolError> {
    match error.code {
        ErrorCode::InvalidRequest | ErrorCode::InvalidScope | ErrorCode::Conflict => {
            Ok(super::answers::sentence(&error.description))
        }
        _ => Err(error),
    }
}
