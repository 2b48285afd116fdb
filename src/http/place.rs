//! Where a request stands among those of its connection: the first of what has come together is answered at once, and the others in turn
//! (decision 0030).

use std::rc::Rc;

use actix_web::Error;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::connection::Connection;
use super::pieces::Body;

/// Where a request stands among those of its connection.
pub(super) struct Place {
    connection: Option<Rc<Connection>>,
    /// Behind another.
    behind: bool,
    body: Body,
}

/// Where the request stands that begins now.
pub(super) fn place(request: &ServiceRequest) -> Place {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let behind = connection.as_ref().is_some_and(|connection| !connection.begins());
    Place { connection, behind, body: body(request) }
}

/// Gives `answer` to the first request of what has come together at once, and to the others in turn. Meanwhile no more is read than
/// belongs to the request.
///
/// # Errors
/// Those of the answer, and when it was not its turn for too long.
pub(super) async fn in_turn<T>(
    place: Place,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Place { connection, behind, body } = place;
    let _until_answered = match connection {
        Some(connection) => {
            if behind {
                connection.stand_in_line().await?;
            }
            Some(connection.answers(body))
        }
        None => None,
    };
    answer.await
}

/// What may come of the body of a request, whatever its method.
fn body(request: &ServiceRequest) -> Body {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        return Body::Unknown { wanted: false };
    }
    // What is no number is refused before it comes here.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    Body::Left(length.and_then(|length| length.trim().parse().ok()).unwrap_or(0))
}
