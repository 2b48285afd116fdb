//! The style sheets, the icon and the one script, embedded. Their paths bear a digest of what they hold, so that a
//! browser may keep them for good.

use std::sync::LazyLock;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::reply;
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// A file that pages refer to.
pub(super) struct Asset {
    /// Its name behind `/assets/`.
    pub(super) name: String,
    media_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new((stem, extension): (&str, &str), media_type: &'static str, text: &'static str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let fingerprint = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]);
        Self { name: format!("{stem}.{fingerprint}.{extension}"), media_type, text }
    }
}

/// What every page looks like.
pub(super) static STYLE_SHEET: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(("style", "css"), "text/css; charset=utf-8", include_str!("assets/style.css"))
});

/// What the pages for people who are signed in look like besides.
pub(super) static SHELL_SHEET: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(("shell", "css"), "text/css; charset=utf-8", include_str!("assets/shell.css"))
});

/// What a browser shows beside the title. Without it every browser would ask for `/favicon.ico`.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(("icon", "svg"), "image/svg+xml", include_str!("assets/icon.svg")));

/// Submits the page of `response_mode=form_post`.
pub(super) static FORM_POST: LazyLock<Asset> = LazyLock::new(|| {
    let media_type = "text/javascript; charset=utf-8";
    Asset::new(("form_post", "js"), media_type, include_str!("assets/form_post.js"))
});

/// An asset by its fingerprinted name; nothing else is there.
pub(in crate::http) async fn asset(name: web::Path<String>) -> HttpResponse {
    let known = [&*STYLE_SHEET, &*SHELL_SHEET, &*ICON, &*FORM_POST];
    let Some(asset) = known.into_iter().find(|asset| asset.name == *name) else {
        return reply::refusal(&ProtocolError::new(ErrorCode::NotFound, "there is nothing here"));
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.media_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .body(asset.text)
}
