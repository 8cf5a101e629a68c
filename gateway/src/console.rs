//! The operator's page: `/console/` and what it loads, from the binary itself.
//!
//! These files hold nothing secret and are served to whoever reaches the listener; what the page shows it asks from
//! the admin API, with the token that the operator gives it.
//! The policy on every answer lets the page load from its own listener and from nowhere else: no inline script or
//! style, no frame around it, no form that leaves it, and no text that becomes markup (`require-trusted-types-for`).
//! An attacker who puts markup into a model's or a key's name finds it shown as text.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// One file of the page.
#[derive(Debug)]
struct Asset {
    /// Below `/console/`; the page itself has no name there.
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal from $file:literal as $kind:ident,)+) => {
        [$(Asset {
            path: $path,
            content_type: $kind,
            bytes: include_bytes!(concat!("../console/", $file)),
        }),+]
    };
}

static ASSETS: [Asset; 41] = assets![
    "" from "index.html" as HTML,
    "account-form.js" from "account-form.js" as JS,
    "api.js" from "api.js" as JS,
    "base.css" from "base.css" as CSS,
    "chart.js" from "chart.js" as JS,
    "copy.js" from "copy.js" as JS,
    "csv.js" from "csv.js" as JS,
    "dialog.js" from "dialog.js" as JS,
    "dom.js" from "dom.js" as JS,
    "field.js" from "field.js" as JS,
    "format.js" from "format.js" as JS,
    "icon.svg" from "icon.svg" as SVG,
    "key-form.js" from "key-form.js" as JS,
    "key-secret.js" from "key-secret.js" as JS,
    "layout.css" from "layout.css" as CSS,
    "live.js" from "live.js" as JS,
    "main.js" from "main.js" as JS,
    "money.js" from "money.js" as JS,
    "notice.js" from "notice.js" as JS,
    "parts.css" from "parts.css" as CSS,
    "playground.js" from "playground.js" as JS,
    "pulse.js" from "pulse.js" as JS,
    "section.js" from "section.js" as JS,
    "sections/accounts.js" from "sections/accounts.js" as JS,
    "sections/audit.js" from "sections/audit.js" as JS,
    "sections/config.js" from "sections/config.js" as JS,
    "sections/keys.js" from "sections/keys.js" as JS,
    "sections/ledger.js" from "sections/ledger.js" as JS,
    "sections/models.js" from "sections/models.js" as JS,
    "sections/overview.js" from "sections/overview.js" as JS,
    "sections/playground.js" from "sections/playground.js" as JS,
    "sections/requests.js" from "sections/requests.js" as JS,
    "sections/spend.js" from "sections/spend.js" as JS,
    "sections/upstreams.js" from "sections/upstreams.js" as JS,
    "sections/usage.js" from "sections/usage.js" as JS,
    "session.js" from "session.js" as JS,
    "sign-in.js" from "sign-in.js" as JS,
    "sse.js" from "sse.js" as JS,
    "table.js" from "table.js" as JS,
    "tags.js" from "tags.js" as JS,
    "theme.js" from "theme.js" as JS,
];

/// One tag for all files, so that a browser never has modules of two versions side by side for longer than one load.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.bytes);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
});

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
    let found = ASSETS.iter().find(|asset| asset.path == path);
    let mut response = match found {
        None => (
            StatusCode::NOT_FOUND,
            "The console has no such file; it is at /console/.\n",
        )
            .into_response(),
        Some(_) if is_held(request) => StatusCode::NOT_MODIFIED.into_response(),
        Some(asset) => ([(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Kept by the browser, and asked about at each load.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if found.is_some()
        && let Ok(tag) = HeaderValue::from_str(&TAG)
    {
        headers.insert(header::ETAG, tag);
    }
    response
}

const PROTECTION: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether the browser has these very files already (RFC 9110, section 13.1.2; a proxy may have weakened the tag).
fn is_held(request: &HeaderMap) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter();
    let tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == *TAG)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::{body::Body, http::Request};
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

    #[tokio::test]
    async fn every_file_is_served_under_the_policy() {
        for asset in &ASSETS {
            let (status, headers, body) = get(&format!("/console/{}", asset.path), None).await;
            assert_eq!(status, StatusCode::OK, "{}", asset.path);
            assert_eq!(body, asset.bytes, "{}", asset.path);
            assert_eq!(headers[header::CONTENT_TYPE], asset.content_type);
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], CONTENT_SECURITY_POLICY);
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        }
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

    /// A file that is added and not listed would be missed only in a browser.
    #[test]
    fn every_file_of_the_folder_is_listed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut on_disk = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)
                .expect("the folder is in the package")
                .flatten()
            {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path
                        .strip_prefix(&root)
                        .expect("below the root")
                        .to_string_lossy()
                        .into_owned();
                    on_disk.insert(if name == "index.html" { String::new() } else { name });
                }
            }
        }
        let listed: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(listed, on_disk);
    }

    /// What the policy would block, and what would make markup of text.
    #[test]
    fn no_file_asks_for_what_the_policy_refuses() {
        let text = |asset: &Asset| String::from_utf8_lossy(asset.bytes).into_owned();
        for asset in &ASSETS {
            let text = text(asset);
            for refused in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(refused), "{} has {refused}", asset.path);
            }
            // A namespace is a name, not an address.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "{} names an address",
                asset.path
            );
        }
        let page = text(&ASSETS[0]);
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains(" on"),
            "inline in the page"
        );
    }
}
