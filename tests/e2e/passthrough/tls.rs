//! TLS, in and out, with certificates made here.

use std::sync::Arc;

use e2e::client::chat;
use e2e::{Answer, Gateway, World};
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A self-signed certificate for this machine, in the world's directory as `NAME.pem` and `NAME.key`.
pub(crate) fn certificate(world: &World, name: &str) -> CertificateDer<'static> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names);
    let CertifiedKey { cert, signing_key } = made.expect("the names are names");
    world.file(&format!("{name}.pem"), cert.pem());
    world.file(&format!("{name}.key"), signing_key.serialize_pem());
    CertificateDer::from_pem_slice(cert.pem().as_bytes()).expect("it was just written")
}

/// A gateway that serves HTTPS with that certificate, in front of a mock.
fn secured(world: &World, name: &str, upstream: &str) -> Gateway {
    let dir = world.dir().display();
    world.gateway(&format!(
        "backends: [{{name: a, url: '{upstream}'}}]\ntls: {{certificate: {dir}/{name}.pem, key: {dir}/{name}.key}}\n"
    ))
}

pub(crate) async fn connect(
    gateway: &Gateway,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .expect("the provider knows TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(gateway.address()).await?;
    let name = ServerName::try_from("localhost").expect("it is a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

fn request(uri: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::post(uri)
        .header("host", "localhost")
        .header("content-type", "application/json");
    request.body(Full::from(chat("mock"))).expect("the parts are valid")
}

#[tokio::test]
async fn https_is_served_as_http2_and_as_http1() {
    let world = World::new();
    let mock = world.mock(&[]);
    let certificate = certificate(&world, "own");
    let gateway = secured(&world, "own", &mock.url());
    assert!(gateway.url().starts_with("https://"));

    let tls = connect(&gateway, &certificate, &["h2", "http/1.1"])
        .await
        .expect("the certificate is trusted");
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is preferred");
    assert_eq!(
        tls.get_ref().1.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .expect("HTTP/2 is spoken");
    let driven = tokio::spawn(connection);
    let response = sender
        .send_request(request("https://localhost/v1/chat/completions"))
        .await
        .expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    let body = response.into_body().collect().await.expect("all of it").to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
    driven.abort();

    for alpn in [&["http/1.1"][..], &[]] {
        let tls = connect(&gateway, &certificate, alpn)
            .await
            .expect("the certificate is trusted");
        assert_eq!(
            tls.get_ref().1.alpn_protocol(),
            alpn.first().map(|name| name.as_bytes())
        );
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.expect("HTTP/1.1 is spoken");
        let driven = tokio::spawn(connection);
        let response = sender
            .send_request(request("/v1/chat/completions"))
            .await
            .expect("an answer");
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (200, Version::HTTP_11)
        );
        driven.abort();
    }
}

#[tokio::test]
async fn a_plain_request_to_https_does_no_harm() {
    let world = World::new();
    let mock = world.mock(&[]);
    let trusted = certificate(&world, "own");
    let mut gateway = secured(&world, "own", &mock.url());
    drop(e2e::raw::exchange(
        gateway.address(),
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ));
    assert!(gateway.is_running());
    assert!(connect(&gateway, &trusted, &["h2"]).await.is_ok());
    // A certificate that the client does not know is refused by the client.
    let other = certificate(&world, "other");
    assert!(connect(&gateway, &other, &["h2"]).await.is_err());
    assert!(connect(&gateway, &trusted, &["http/1.1"]).await.is_ok());
}

#[tokio::test]
async fn https_upstreams_are_trusted_by_ca_file_only() {
    let world = World::new();
    let mock = world.mock(&[]);
    drop(certificate(&world, "own"));
    drop(certificate(&world, "other"));
    let upstream = secured(&world, "own", &mock.url());
    let dir = world.dir().display();
    let ask = async |backend: &str| {
        let gateway = world.gateway(&format!(
            "backends: [{{name: a, url: '{}', {backend}}}]",
            upstream.url()
        ));
        let response = e2e::client::post(&format!("{}/v1/chat/completions", gateway.url()), chat("mock")).await;
        Answer::of(response).await
    };
    for http in ["auto", "http1", "http2"] {
        let answer = ask(&format!("ca_file: {dir}/own.pem, http: {http}")).await;
        assert_eq!(answer.status, 200, "{http}: {}", answer.text());
    }
    let mut reached = mock.log().len();
    assert_eq!(reached, 3);
    for backend in [String::new(), format!("ca_file: {dir}/other.pem")] {
        let envelope = ask(&backend).await.envelope();
        assert!(
            envelope.is(502, "server_error", "upstream_connect_error"),
            "{backend}: {envelope:?}"
        );
    }
    reached = mock.log().len() - reached;
    assert_eq!(reached, 0, "nothing was said to an upstream that is not trusted");
}
