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

use super::answers::curable;
use super::words;
