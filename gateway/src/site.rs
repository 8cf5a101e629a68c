//! A page that is in the binary: its files, one tag for all of them, and the headers that bind the browser to it.
//!
//! These files hold nothing secret and are served to whoever reaches the listener.
//! The policy on every answer lets the page load from its own listener and from nowhere else: no inline script or
//! style, no frame around it, no form that leaves it, and no text that becomes markup (`require-trusted-types-for`).

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};

pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const JS: &str = "text/javascript; charset=utf-8";
pub(crate) const SVG: &str = "image/svg+xml";
pub(crate) const PNG: &str = "image/png";

/// One file of a page.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Below the page; the page itself has no name there.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

/// `"path" from "file below gateway/" as KIND,`
macro_rules! assets {
    ($($path:literal from $file:literal as $kind:ident,)+) => {
        [$($crate::site::Asset {
            path: $path,
            content_type: $crate::site::$kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file)),
        }),+]
    };
}
pub(crate) use assets;

#[derive(Debug)]
pub(crate) struct Site {
    assets: &'static [Asset],
    /// One for all files, so that a browser never has modules of two versions side by side for longer than one load.
    tag: OnceLock<String>,
}

impl Site {
    pub(crate) const fn new(assets: &'static [Asset]) -> Self {
        Self {
            assets,
            tag: OnceLock::new(),
        }
    }

    /// The file of this path below the page, unless the browser has it; `None` where there is none.
    pub(crate) fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response<Bytes>> {
        let asset = self.assets.iter().find(|asset| asset.path == path)?;
        let mut response = Response::new(Bytes::new());
        if self.is_held(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Bytes::from_static(asset.bytes);
            let kind = HeaderValue::from_static(asset.content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        let headers = response.headers_mut();
        protect(headers);
        if let Ok(tag) = HeaderValue::from_str(self.tag()) {
            headers.insert(header::ETAG, tag);
        }
        Some(response)
    }

    fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let mut hash = Sha256::new();
            for asset in self.assets {
                hash.update(asset.bytes);
            }
            let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{hex}\"")
        })
    }

    /// Whether the browser has these very files already (RFC 9110, section 13.1.2; a proxy may have weakened the tag).
    fn is_held(&self, request: &HeaderMap) -> bool {
        let values = request.get_all(header::IF_NONE_MATCH).iter();
        let tags = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        tags.map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag())
    }
}

/// What every answer of a page says, found or not.
pub(crate) fn protect(headers: &mut HeaderMap) {
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Kept by the browser, and asked about at each load.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

const PROTECTION: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What holds for every page whose own files are in this folder of the package.
    pub(crate) fn check(site: &Site, folder: &str) {
        every_file_is_served_under_the_policy(site);
        every_file_of_the_folder_is_listed(site, folder);
        no_file_asks_for_what_the_policy_refuses(site);
    }

    fn every_file_is_served_under_the_policy(site: &Site) {
        for asset in site.assets {
            let response = site.answer(asset.path, &HeaderMap::new()).expect("it is listed");
            assert_eq!(response.status(), StatusCode::OK, "{}", asset.path);
            assert_eq!(response.body(), asset.bytes, "{}", asset.path);
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], asset.content_type);
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], CONTENT_SECURITY_POLICY);
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        }
        assert!(site.answer("gone.js", &HeaderMap::new()).is_none());
    }

    /// A file that is added and not listed would be missed only in a browser.
    fn every_file_of_the_folder_is_listed(site: &Site, folder: &str) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut folders = vec![root.clone()];
        let mut on_disk = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)
                .expect("the folder is in the package")
                .flatten()
            {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).expect("below the root").to_string_lossy();
                    on_disk.insert(if name == "index.html" {
                        String::new()
                    } else {
                        name.into_owned()
                    });
                }
            }
        }
        let listed: BTreeSet<String> = site.assets.iter().map(|asset| asset.path.to_owned()).collect();
        let missing: Vec<_> = on_disk.difference(&listed).collect();
        assert!(missing.is_empty(), "not listed: {missing:?}");
    }

    /// What the policy would block, and what would make markup of text.
    fn no_file_asks_for_what_the_policy_refuses(site: &Site) {
        for asset in site.assets.iter().filter(|asset| asset.content_type != PNG) {
            let text = String::from_utf8_lossy(asset.bytes);
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
            if asset.path.is_empty() {
                assert!(
                    !text.contains(" style=") && !text.contains("<style") && !text.contains(" on"),
                    "inline in the page"
                );
            }
        }
    }
}
