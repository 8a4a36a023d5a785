//! The files that pages load, all of them in the binary.
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use super::App;

/// Path, type, content.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/assets/console.css",
        "text/css; charset=utf-8",
        include_str!("assets/console.css"),
    ),
    // 2.0.11, from the npm package htmx.org, as it is there.
    (
        "/assets/htmx.min.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/htmx.min.js"),
    ),
    (
        "/assets/htmx.LICENSE.txt",
        "text/plain; charset=utf-8",
        include_str!("assets/htmx.LICENSE.txt"),
    ),
    (
        "/assets/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];

pub fn routes() -> Router<App> {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            let answer = move || async move {
                let headers = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "max-age=300")];
                (headers, *content).into_response()
            };
            router.route(path, get(answer))
        })
}
