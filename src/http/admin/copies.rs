use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, web};

use super::Admitted;
use crate::http::{State, reply};
use crate::protocol::admin::copies;

pub(in crate::http) async fn begin(state: web::Data<State>, Admitted(admin): Admitted) -> HttpResponse {
    match copies::begin(&state.services, &admin).await {
        Ok(copy) => HttpResponse::Ok()
            .content_type(ContentType::octet_stream())
            .insert_header((CACHE_CONTROL, "no-store"))
            .streaming(copy),
        Err(error) => reply::refusal(&error),
    }
}
