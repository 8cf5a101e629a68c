//! The page to try the API: a viewer that works offline.
//!
//! The viewer is swagger-ui-dist, vendored and compressed in `openapi/assets`, whose README says whence it came.
//! What leaves it to the server: the paths, and the header of [`CONTENT_SECURITY_POLICY`].
//! The page takes the document from `openapi.json` beside `/docs`, and refers to nothing on another host.

/// One file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Absolute, and exact: `/docs` has no trailing slash, for its references are relative to it.
    pub path: &'static str,
    pub content_type: &'static str,
    /// The body for a client that accepts gzip, as every browser does.
    pub bytes_gzip: &'static [u8],
}

/// What the page may do: run its own scripts, ask this origin, and show what the answer holds.
///
/// `data:` is for the pictures within the viewer's style sheet, `blob:` for pictures in an answer.
/// Nothing is written inline, neither script nor style. Sound stays forbidden: the viewer would not play the answer but
/// send a second request, a `GET` without the key.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page.
pub fn page() -> &'static [Asset] {
    &PAGE
}

static PAGE: [Asset; 4] = [
    Asset {
        path: "/docs",
        content_type: "text/html; charset=utf-8",
        bytes_gzip: include_bytes!("../../assets/index.html.gz"),
    },
    Asset {
        path: "/docs/start.js",
        content_type: "text/javascript; charset=utf-8",
        bytes_gzip: include_bytes!("../../assets/start.js.gz"),
    },
    Asset {
        path: "/docs/swagger-ui-bundle.js",
        content_type: "text/javascript; charset=utf-8",
        bytes_gzip: include_bytes!("../../assets/swagger-ui-bundle.js.gz"),
    },
    Asset {
        path: "/docs/swagger-ui.css",
        content_type: "text/css; charset=utf-8",
        bytes_gzip: include_bytes!("../../assets/swagger-ui.css.gz"),
    },
];
