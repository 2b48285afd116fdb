//! The HTTP surface, by actix-web: the URL table, parameters in, answers out. What is decided is decided
//! in `protocol`.

mod admin;
mod api_key;
mod apps;
mod bearer;
mod body;
mod connection;
mod cors;
mod dialects;
mod exchange;
mod heads;
mod identify;
mod limits;
mod listener;
mod looks;
mod management;
mod multipart;
mod nowhere;
mod observe;
mod paced;
mod pages;
mod pieces;
mod place;
mod publish;
mod reply;
mod request_id;
mod routes;
mod server;
mod socket;
mod state;
mod tls;
mod token;
mod turns;
mod unread;
mod userinfo;
mod users;

pub use management::{configure as configure_management, managed};
pub(crate) use pages::unexplained_scopes;
pub(crate) use routes::PATHS;
pub use routes::{Served, configure, served};
pub use server::{Listeners, run};
pub use state::State;
pub use tls::{Reloaded, Tls, TlsError, certificate_end};

use crate::audit::Origin;
use crate::protocol::{Patience, ProtocolError};

/// Lets `act` end even if the client hangs up: what is committed must reach memory too.
async fn to_the_end<T: 'static>(
    act: impl Future<Output = Result<T, ProtocolError>> + 'static,
) -> Result<T, ProtocolError> {
    actix_web::rt::spawn(Origin::carried(Patience::carried(act)))
        .await
        .unwrap_or_else(|cut_off| Err(ProtocolError::server_error(cut_off)))
}
