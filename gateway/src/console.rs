//! The operator's page: `/console/` and what it loads, from the binary itself.
//!
//! What the page shows it asks from the admin API, with the token that the operator gives it; [`site`](crate::site) binds
//! the browser to this listener.
//! An attacker who puts markup into a model's or a key's name finds it shown as text.

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use crate::site::{Asset, Site, assets, protect};

static ASSETS: &[Asset] = &assets![
    "" from "console/index.html" as HTML,
    "account-form.js" from "console/account-form.js" as JS,
    "api.js" from "console/api.js" as JS,
    "base.css" from "console/base.css" as CSS,
    "chart.js" from "console/chart.js" as JS,
    "copy.js" from "console/copy.js" as JS,
    "csv.js" from "console/csv.js" as JS,
    "dialog.js" from "console/dialog.js" as JS,
    "dom.js" from "console/dom.js" as JS,
    "field.js" from "console/field.js" as JS,
    "format.js" from "console/format.js" as JS,
    "icon.svg" from "console/icon.svg" as SVG,
    "key-form.js" from "console/key-form.js" as JS,
    "key-secret.js" from "console/key-secret.js" as JS,
    "layout.css" from "console/layout.css" as CSS,
    "live.js" from "console/live.js" as JS,
    "main.js" from "console/main.js" as JS,
    "money.js" from "console/money.js" as JS,
    "notice.js" from "console/notice.js" as JS,
    "parts.css" from "console/parts.css" as CSS,
    "playground.js" from "console/playground.js" as JS,
    "pulse.js" from "console/pulse.js" as JS,
    "section.js" from "console/section.js" as JS,
    "sections/accounts.js" from "console/sections/accounts.js" as JS,
    "sections/audit.js" from "console/sections/audit.js" as JS,
    "sections/config.js" from "console/sections/config.js" as JS,
    "sections/keys.js" from "console/sections/keys.js" as JS,
    "sections/ledger.js" from "console/sections/ledger.js" as JS,
    "sections/models.js" from "console/sections/models.js" as JS,
    "sections/overview.js" from "console/sections/overview.js" as JS,
    "sections/playground.js" from "console/sections/playground.js" as JS,
    "sections/requests.js" from "console/sections/requests.js" as JS,
    "sections/spend.js" from "console/sections/spend.js" as JS,
    "sections/upstreams.js" from "console/sections/upstreams.js" as JS,
    "sections/usage.js" from "console/sections/usage.js" as JS,
    "session.js" from "console/session.js" as JS,
    "sign-in.js" from "console/sign-in.js" as JS,
    "sse.js" from "console/sse.js" as JS,
    "table.js" from "console/table.js" as JS,
    "tags.js" from "console/tags.js" as JS,
    "theme.js" from "console/theme.js" as JS,
];

static SITE: Site = Site::new(ASSETS);

/// The console, to be merged into whatever serves operators.
pub(crate) fn router() -> Router {
    // Relative, so that a proxy may put the listener below a path of its own.
    let to_page = || async { Redirect::temporary("console/") };
    Router::new()
        .route("/", get(to_page))
        .route("/console", get(to_page))
        .route(
            "/console/",
            get(|headers: HeaderMap| async move { answer("", &headers) }),
        )
        .route(
            "/console/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move { answer(&path, &headers) }),
        )
}

fn answer(path: &str, request: &HeaderMap) -> Response {
    if let Some(response) = SITE.answer(path, request) {
        return response.map(Body::from);
    }
    let text = "The console has no such file; it is at /console/.\n";
    let mut response = (StatusCode::NOT_FOUND, text).into_response();
    protect(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, header};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).expect("a request of constants");
        let response = router().oneshot(request).await.expect("a router answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("bytes in memory").to_bytes();
        (head.status, head.headers, body.to_vec())
    }

    #[test]
    fn the_page_is_whole() {
        crate::site::tests::check(&SITE, "console");
    }

    #[tokio::test]
    async fn what_the_browser_holds_is_not_sent_again() {
        let (_, headers, _) = get("/console/main.js", None).await;
        let tag = headers[header::ETAG].to_str().expect("a tag of letters").to_owned();
        for held in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            "*".to_owned(),
        ] {
            let (status, headers, body) = get("/console/main.js", Some(&held)).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{held}");
            assert_eq!(headers[header::ETAG], *tag);
        }
        let (status, ..) = get("/console/main.js", Some("\"other\"")).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_root_leads_to_the_page() {
        for path in ["/", "/console"] {
            let (status, headers, _) = get(path, None).await;
            assert_eq!(status, StatusCode::TEMPORARY_REDIRECT, "{path}");
            assert_eq!(headers[header::LOCATION], "console/", "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_file_of_the_page_is_not_there() {
        for path in [
            "/console/gone.js",
            "/console/sections",
            "/console/../admin.rs",
            "/console/index.html",
        ] {
            let (status, headers, _) = get(path, None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(!headers.contains_key(header::ETAG), "{path}");
            assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY), "{path}");
        }
    }
}
