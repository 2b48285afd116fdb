//! The portal: what people see and change of their own accounts. One file a page.

pub(in crate::http) mod api_keys;
pub(in crate::http) mod applications;
pub(in crate::http) mod consents;
pub(in crate::http) mod email;
pub(in crate::http) mod password;
pub(in crate::http) mod profile;
mod qr;
mod scope_choice;
pub(in crate::http) mod second_factor;
pub(in crate::http) mod sessions;

use actix_web::{HttpResponse, web};

use super::answers::{curable, see_other};
use super::words;
use crate::http::State;

/// `/`: whoever types the service's address into a browser comes to their own account.
pub(in crate::http) async fn front(state: web::Data<State>) -> HttpResponse {
    see_other(&format!("{}{}", state.services.issuer, profile::PLACE))
}
