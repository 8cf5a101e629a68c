//! `/pay/`: a page to pay into a channel to this gateway and to close it, with a wallet that the browser knows; and what
//! it asks: `GET /pay/terms`, `GET /pay/channel?address=…`, `GET /tonconnect-manifest.json`.
//!
//! Only where the gateway is paid by channel. The page holds no key and signs nothing; it reckons the channel's address
//! itself and compares what is said here with it. What is asked here anybody may ask: it is on the chain.

use backends::{body::BoxBody, serve::BoxError};
use billing::{
    Nano,
    channel::{Account, x402::Offer},
};
use billing_ton::address;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts, uri::Authority};
use openapi::endpoint::percent_decode;
use serde::Serialize;
use serde_json::json;

use super::receipts;
use crate::{
    layers::route::RouteError,
    payments::{Look, Payments, Standing},
    rescue::full,
    site::{Asset, Site, assets, protect},
};

static ASSETS: &[Asset] = &assets![
    "" from "pay/index.html" as HTML,
    "acts.js" from "pay/acts.js" as JS,
    "address.js" from "pay/address.js" as JS,
    "amount.js" from "pay/amount.js" as JS,
    "base.css" from "console/base.css" as CSS,
    "cell.js" from "pay/cell.js" as JS,
    "code.js" from "pay/code.js" as JS,
    "contract.js" from "pay/contract.js" as JS,
    "copy.js" from "console/copy.js" as JS,
    "dom.js" from "console/dom.js" as JS,
    "gateway.js" from "pay/gateway.js" as JS,
    "hash.js" from "pay/hash.js" as JS,
    "icon.png" from "pay/icon.png" as PNG,
    "icon.svg" from "console/icon.svg" as SVG,
    "link.js" from "pay/link.js" as JS,
    "main.js" from "pay/main.js" as JS,
    "notice.js" from "console/notice.js" as JS,
    "page.css" from "pay/page.css" as CSS,
    "qr.js" from "pay/qr.js" as JS,
    "theme.js" from "console/theme.js" as JS,
    "wallet.js" from "pay/wallet.js" as JS,
    "words.js" from "pay/words.js" as JS,
];

static SITE: Site = Site::new(ASSETS);

/// What wallets show beside a question; they take no SVG.
const ICON: &str = "icon.png";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// The page without the slash that its files are relative to.
    Bare,
    File(&'a str),
    Terms,
    Channel,
    Manifest,
}

/// Why there is no answer about a channel, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("`address` is missing: that of a channel.")]
    NoAddress,
    #[error("`address` is no address: {0}.")]
    Address(#[from] address::AddressError),
}

impl<'a> Asked<'a> {
    /// `None` for the path of something else.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        match path {
            "/pay" => Some(Self::Bare),
            "/pay/terms" => Some(Self::Terms),
            "/pay/channel" => Some(Self::Channel),
            "/tonconnect-manifest.json" => Some(Self::Manifest),
            _ => path.strip_prefix("/pay/").map(Self::File),
        }
    }
}

/// Where channels are paid into.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) payments: Payments,
}

impl Counter {
    /// `None` where there is nothing of this path: that is for every gateway that is not paid by channel.
    pub(crate) async fn call(&self, asked: Asked<'_>, head: &Parts) -> Result<Option<Response<BoxBody>>, BoxError> {
        let Some(offer) = self.payments.offer() else {
            return Ok(None);
        };
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(RouteError::Method {
                method: head.method.clone(),
                path: head.uri.path().chars().take(200).collect(),
                allow: "GET",
            }
            .into());
        }
        Ok(match asked {
            Asked::Bare => Some(to_page()),
            Asked::File(path) => file(path, &head.headers),
            Asked::Terms => Some(terms(&offer)?),
            Asked::Channel => {
                let query = head.uri.query().unwrap_or_default();
                let text = find(query, "address").ok_or(PageError::NoAddress)?;
                let account = address::parse(&text, offer.network).map_err(PageError::from)?;
                Some(channel(self.payments.look(account).await?)?)
            }
            Asked::Manifest => Some(manifest(head)?),
        })
    }
}

fn to_page() -> Response<BoxBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    // Relative, so that a proxy may put the listener below a path of its own.
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("pay/"));
    protect(headers);
    response
}

fn file(path: &str, request: &HeaderMap) -> Option<Response<BoxBody>> {
    let mut response = SITE.answer(path, request)?.map(full);
    if path == ICON {
        for_everyone(response.headers_mut());
    }
    Some(response)
}

/// As `PAYMENT-REQUIRED` has it.
fn terms(offer: &Offer) -> Result<Response<BoxBody>, serde_json::Error> {
    Ok(receipts::json(serde_json::to_vec(offer)?, "no-store"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    channel: Account,
    state: &'static str,
    /// Nanotons as decimal text: JavaScript has no such whole numbers.
    balance: String,
    total_claimed: String,
    /// Unix seconds from which on the rest can be fetched.
    close_at: Option<u32>,
    /// Whose state this is, and that block's time.
    block: u32,
    time: u32,
}

fn channel(look: Look) -> Result<Response<BoxBody>, serde_json::Error> {
    let on_chain = match look.standing {
        Standing::Open(on_chain) => Some(on_chain),
        _ => None,
    };
    let amount = |amount: Option<Nano>| amount.unwrap_or_default().get().to_string();
    let told = Told {
        channel: look.channel,
        state: match look.standing {
            Standing::Absent => "absent",
            Standing::Ended => "ended",
            Standing::Other => "other",
            Standing::Open(on_chain) if on_chain.close_at.is_some() => "closing",
            Standing::Open(_) => "open",
        },
        balance: amount(on_chain.map(|on_chain| on_chain.deposited)),
        total_claimed: amount(on_chain.map(|on_chain| on_chain.claimed)),
        close_at: on_chain.and_then(|on_chain| on_chain.close_at),
        block: look.head.seqno,
        time: look.head.time,
    };
    Ok(receipts::json(serde_json::to_vec(&told)?, "no-store"))
}

/// Who we are, for a wallet that asks whom it is to talk to. It was asked for at the address that it names.
fn manifest(head: &Parts) -> Result<Response<BoxBody>, BoxError> {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(Authority::as_str));
    let host = host.filter(|host| is_host(host)).unwrap_or("localhost");
    let scheme = scheme(host, &head.headers);
    let manifest = json!({
        "url": format!("{scheme}://{host}"),
        "name": format!("Mulberry at {host}"),
        "iconUrl": format!("{scheme}://{host}/pay/{ICON}"),
    });
    let mut response = receipts::json(serde_json::to_vec(&manifest)?, "no-store");
    for_everyone(response.headers_mut());
    Ok(response)
}

/// A name or an IP address, perhaps with a port, and nothing else.
fn is_host(text: &str) -> bool {
    text.len() <= 255 && !text.contains('@') && text.parse::<Authority>().is_ok()
}

/// What the proxy in front of us says that it speaks, or what is usual for such a host.
fn scheme(host: &str, headers: &HeaderMap) -> &'static str {
    let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    match said {
        Some("https") => return "https",
        Some("http") => return "http",
        _ => {}
    }
    let name = host.parse::<Authority>();
    let name = name.as_ref().map_or(host, Authority::host).trim_matches(['[', ']']);
    let is_near = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok();
    if is_near { "http" } else { "https" }
}

/// Wallets read it from pages and apps of their own.
fn for_everyone(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
}

fn find(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == wanted)?;
    percent_decode(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use billing_ton::contract;

    use super::*;

    #[test]
    fn the_page_is_whole() {
        crate::site::tests::check(&SITE, "pay");
    }

    /// Whose code the page puts on the chain is decided here, not by a gateway that answers it.
    #[test]
    fn the_page_has_the_contract_that_we_check_for() {
        let code = ASSETS
            .iter()
            .find(|asset| asset.path == "code.js")
            .expect("it is listed");
        let text = std::str::from_utf8(code.bytes).expect("a text");
        assert!(text.contains(&BASE64_STANDARD.encode(contract::CODE)));
        let hash: String = contract::CODE_HASH.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(text.contains(&hash));
    }

    #[test]
    fn paths() {
        let check = |path: &str, expect: Option<Asked<'_>>| assert_eq!(Asked::of(path), expect, "for {path}");
        check("/pay", Some(Asked::Bare));
        check("/pay/", Some(Asked::File("")));
        check("/pay/main.js", Some(Asked::File("main.js")));
        check("/pay/terms", Some(Asked::Terms));
        check("/pay/channel", Some(Asked::Channel));
        check("/tonconnect-manifest.json", Some(Asked::Manifest));
        for other in ["/payments", "/v1/pay", "/", "/pa"] {
            check(other, None);
        }
    }

    #[test]
    fn a_manifest_names_the_scheme_that_a_browser_would_use() {
        let check = |host: &str, said: Option<&'static str>, expect: &str| {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert("x-forwarded-proto", HeaderValue::from_static(said));
            }
            assert_eq!(scheme(host, &headers), expect, "for {host} and {said:?}");
        };
        check("gateway.example", None, "https");
        check("gateway.example:8443", None, "https");
        check("localhost:8080", None, "http");
        check("127.0.0.1:8080", None, "http");
        check("[::1]:8080", None, "http");
        check("10.0.0.7", Some("https"), "https");
        check("gateway.example", Some("http"), "http");
        check("gateway.example", Some("gopher"), "https");
    }

    #[test]
    fn hosts() {
        for host in ["a.example", "a.example:1", "127.0.0.1:80", "[::1]:80"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "a b", "a/b", "me@a.example", "a\"b"] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn queries() {
        assert_eq!(find("address=0%3Aab", "address"), Some("0:ab".to_owned()));
        assert_eq!(find("other=1&address=x", "address"), Some("x".to_owned()));
        for none in ["", "address", "address=", "addresses=1", "address=%ff"] {
            assert_eq!(find(none, "address"), None, "{none}");
        }
    }
}
