//! The API itself. Handlers see verified tokens and nothing else of them.

use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::{Error, HttpResponse, Responder, get, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use signet::verify::{AnyScope, Bearer, ErrorBody, RequiredScope};

/// Registers the routes. They need a [`signet::verify::Verifier`] as application data.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    // This API's errors are `{error, message}`; the headers stay those of RFC 6750.
    let errors =
        ErrorBody(|challenge| json!({ "error": challenge.error_code(), "message": challenge.description() }));
    let unread = web::QueryConfig::default()
        .error_handler(|error, _| refused(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string()));
    config
        .app_data(errors)
        .app_data(unread)
        .default_service(web::to(nothing_here))
        .service(products)
        .service(users)
        .service(data)
        .service(whoami);
}

async fn nothing_here() -> Result<HttpResponse, Error> {
    Err(refused(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))
}

/// What no token has to do with is refused in the same shape.
fn refused(status: StatusCode, error: &'static str, message: &str) -> Error {
    let answer = HttpResponse::build(status).json(json!({ "error": error, "message": message }));
    InternalError::from_response(error, answer).into()
}

/// What most of this API demands.
struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = "read";
}

#[derive(Serialize)]
struct Product {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    price: f64,
    category: &'static str,
}

const PRODUCTS: [Product; 2] = [
    Product {
        id: "prod_xyz789",
        name: "Gadget Pro",
        description: "The latest and greatest gadget.",
        price: 99.99,
        category: "Electronics",
    },
    Product {
        id: "prod_abc111",
        name: "Stylish T-Shirt",
        description: "Comfortable cotton t-shirt.",
        price: 19.99,
        category: "Apparel",
    },
];

#[derive(Deserialize)]
struct ProductFilter {
    category: Option<String>,
    search: Option<String>,
}

impl ProductFilter {
    fn admits(&self, product: &Product) -> bool {
        let contains = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let category =
            self.category.as_deref().is_none_or(|name| product.category.eq_ignore_ascii_case(name));
        let search = self
            .search
            .as_deref()
            .is_none_or(|term| contains(product.name, term) || contains(product.description, term));
        category && search
    }
}

#[get("/products")]
async fn products(_: Bearer<Read>, filter: web::Query<ProductFilter>) -> impl Responder {
    HttpResponse::Ok().json(PRODUCTS.iter().filter(|product| filter.admits(product)).collect::<Vec<_>>())
}

#[get("/v1/users")]
async fn users(_: Bearer<Read>) -> impl Responder {
    HttpResponse::Ok().json(json!([
        {
            "id": "user_abc123", "name": "Alice Wonderland", "email": "alice@example.com",
            "created_at": "2023-10-27T10:00:00Z"
        },
        {
            "id": "user_def456", "name": "Bob The Builder", "email": "bob@example.com",
            "created_at": "2023-10-27T10:05:00Z"
        }
    ]))
}

#[get("/v1/data")]
async fn data(token: Bearer<Read>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "data": [1, 2, 3], "read_by": token.client_id }))
}

#[get("/whoami")]
async fn whoami(token: Bearer<AnyScope>) -> impl Responder {
    HttpResponse::Ok().json(token.into_claims())
}
