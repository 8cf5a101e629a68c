//! Which headers cross the gateway, each way.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

/// The client's headers as any upstream may see them.
///
/// Gone are: credentials and cookies (ours stand in), what belongs to the client's connection or its address,
/// `accept-encoding` (we must be able to read the answer), the client's organisation and project (they belong to
/// another account than our key), what it pays with (whoever has that spends its channel, and knows who asks), and our
/// own `x-mulberry-…` and `x-attest-policy`.
pub fn to_upstream(client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    let named = connection_options(client);
    for (name, value) in client {
        if !is_withheld(name) && !named.iter().any(|option| option.as_bytes() == name.as_str().as_bytes()) {
            headers.append(name, value.clone());
        }
    }
    headers
}

fn is_withheld(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            *name,
            header::AUTHORIZATION
                | header::COOKIE
                | header::HOST
                | header::CONTENT_LENGTH
                | header::ACCEPT_ENCODING
                | header::CONTENT_ENCODING
                | header::EXPECT
                | header::IF_MATCH
                | header::IF_MODIFIED_SINCE
                | header::IF_NONE_MATCH
                | header::IF_RANGE
                | header::IF_UNMODIFIED_SINCE
                | header::FORWARDED
                | header::ORIGIN
                | header::REFERER
                | header::VIA
        )
        || matches!(
            name.as_str(),
            "api-key"
                | "x-api-key"
                | "x-goog-api-key"
                | "openai-organization"
                | "openai-project"
                | "x-real-ip"
                | "cf-connecting-ip"
                | "true-client-ip"
                | "x-attest-policy"
        )
        || is_of_payment(name)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("x-mulberry-")
        || name.as_str().starts_with("sec-")
}

/// Of those, the headers that a worker may see: what the answer depends on, and nothing that tells who asks.
///
/// A list of what is let through, for the machine is a stranger's: not even a trace's or a request's id, which the
/// client may have chosen.
pub fn to_worker(outbound: &HeaderMap) -> HeaderMap {
    only(outbound, |name| {
        matches!(*name, header::ACCEPT | header::CONTENT_TYPE | header::CONTENT_LENGTH)
            || matches!(name.as_str(), "anthropic-version" | "anthropic-beta" | "openai-beta")
    })
}

/// A worker's headers as the client may see them: what is needed to read the answer.
pub fn from_worker(worker: &HeaderMap) -> HeaderMap {
    only(worker, |name| {
        matches!(
            *name,
            header::CONTENT_TYPE | header::CONTENT_ENCODING | header::CONTENT_DISPOSITION | header::RETRY_AFTER
        )
    })
}

fn only(headers: &HeaderMap, is_let_through: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        if is_let_through(name) {
            passed.append(name, value.clone());
        }
    }
    passed
}

/// An upstream's headers as the client may see them: without what belongs to the upstream's connection, its
/// cookies, its own CORS and its identity.
pub fn to_client(mut upstream: HeaderMap) -> HeaderMap {
    let named = connection_options(&upstream);
    let withheld: Vec<HeaderName> = upstream
        .keys()
        .filter(|name| {
            is_withheld_from_client(name) || named.iter().any(|option| option.as_bytes() == name.as_str().as_bytes())
        })
        .cloned()
        .collect();
    for name in withheld {
        if let Entry::Occupied(entry) = upstream.entry(name) {
            entry.remove_entry_mult();
        }
    }
    upstream
}

fn is_withheld_from_client(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            *name,
            header::CONTENT_LENGTH
                | header::DATE
                | header::SERVER
                | header::SET_COOKIE
                | header::ALT_SVC
                | header::STRICT_TRANSPORT_SECURITY
                | header::VIA
                | header::WWW_AUTHENTICATE
        )
        || matches!(
            name.as_str(),
            "x-request-id"
                | "request-id"
                | "x-powered-by"
                | "openai-organization"
                | "openai-project"
                | "anthropic-organization-id"
                | "x-content-type-options"
                | "x-receipt"
                | "x-receipt-salt"
        )
        || is_of_payment(name)
        || name.as_str().starts_with("access-control-")
        || name.as_str().starts_with("x-mulberry-")
        || name.as_str().starts_with("cf-")
}

/// Of x402, versions 2 and 1: between a client and the gateway that it pays, and nobody else.
fn is_of_payment(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "payment-signature" | "payment-required" | "payment-response" | "x-payment" | "x-payment-response"
    )
}

/// RFC 9110 section 7.6.1, and the two that never were standard.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// The headers that a `connection` header names are hop-by-hop too.
fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let options = values.flat_map(|value| value.split(','));
    options
        .map(|option| option.trim().to_ascii_lowercase())
        .filter(|option| option != "keep-alive" && option != "close")
        .collect()
}

/// What tells a client when to come back.
pub fn retry_hints(upstream: &HeaderMap) -> HeaderMap {
    let mut hints = HeaderMap::new();
    for (name, value) in upstream {
        let is_hint = *name == header::RETRY_AFTER
            || matches!(name.as_str(), "retry-after-ms" | "x-should-retry")
            || name.as_str().starts_with("x-ratelimit-");
        if is_hint {
            hints.append(name, value.clone());
        }
    }
    hints
}

/// Whether a content type is `kind`, whatever its parameters.
pub fn is_content_type(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    value
        .get(..kind.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
        && value.get(kind.len()).is_none_or(|next| matches!(next, b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn credentials_and_addresses_stay() {
        let sent = headers(&[
            ("authorization", "Bearer sk-client"),
            ("x-api-key", "sk-client"),
            ("x-goog-api-key", "sk-client"),
            ("cookie", "a=b"),
            ("payment-signature", "a bearer token for five minutes"),
            ("x-payment", "the same of version 1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("x-attest-policy", "{}"),
            ("x-mulberry-min-tier", "tee"),
            ("x-custom", "kept"),
            ("openai-beta", "kept"),
            ("traceparent", "00-1-2-01"),
        ]);
        let seen = to_upstream(&sent);
        let names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-custom", "openai-beta", "traceparent"]);
    }

    #[test]
    fn an_upstream_cannot_forge_what_we_say() {
        let sent = headers(&[
            ("x-mulberry-upstream", "other"),
            ("x-receipt", "theirs"),
            ("x-receipt-salt", "theirs"),
            ("payment-required", "pay them"),
            ("payment-response", "forged"),
            ("x-payment-response", "forged"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("x-request-id", "theirs"),
            ("request-id", "theirs"),
            ("anthropic-organization-id", "theirs"),
            ("content-type", "application/json"),
            ("openai-processing-ms", "3"),
        ]);
        let seen = to_client(sent);
        let names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(seen.contains_key("content-type") && seen.contains_key("openai-processing-ms"));
    }

    #[test]
    fn a_worker_sees_nothing_of_who_asks() {
        let sent = headers(&[
            ("accept", "text/event-stream"),
            ("content-type", "application/json"),
            ("user-agent", "theirs"),
            ("x-request-id", "theirs"),
            ("traceparent", "00-1-2-01"),
            ("x-stainless-os", "theirs"),
            ("x-custom", "theirs"),
            ("x-attest-policy", "{}"),
            ("x-mulberry-min-tier", "tee"),
            ("x-mulberry-statement", "theirs"),
            ("openai-beta", "kept"),
        ]);
        let seen = to_worker(&to_upstream(&sent));
        let names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "content-type", "openai-beta"]);
    }

    #[test]
    fn a_worker_says_no_more_than_what_its_answer_is() {
        let sent = headers(&[
            ("content-type", "application/json"),
            ("set-cookie", "a=b"),
            ("x-mulberry-tier", "tee+gpu"),
            ("payment-response", "forged"),
            ("x-ratelimit-remaining-requests", "1"),
            ("retry-after", "3"),
        ]);
        let seen = from_worker(&sent);
        let names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "retry-after"]);
    }

    #[test]
    fn content_types_with_parameters() {
        let check = |value: &'static str, expect: bool| {
            assert_eq!(
                is_content_type(&headers(&[("content-type", value)]), "text/event-stream"),
                expect,
                "for {value}"
            );
        };
        check("text/event-stream", true);
        check("Text/Event-Stream; charset=utf-8", true);
        check("text/event-streaming", false);
    }
}
