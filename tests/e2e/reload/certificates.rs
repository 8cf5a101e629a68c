//! A new certificate is presented to new connections; streams on old ones go on.

use bytes::Bytes;
use e2e::World;
use e2e::client::chat_stream;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::LONG;
use crate::passthrough::tls::{certificate, connect};

#[tokio::test]
async fn sixty_four_streams_outlive_their_certificate() {
    let world = World::new();
    let mock = world.mock(&[]);
    let old = certificate(&world, "own");
    let dir = world.dir().display();
    let gateway = world.gateway(&format!(
        "backends: [{{name: a, url: '{}'}}]\ntls: {{certificate: {dir}/own.pem, key: {dir}/own.key}}\n",
        mock.url()
    ));
    let tls = connect(&gateway, &old, &["h2"])
        .await
        .expect("the certificate is trusted");
    let (mut sender, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .expect("HTTP/2 is spoken");
    let driven = tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..64 {
        let request = Request::post("https://localhost/v1/chat/completions")
            .header("content-type", "application/json")
            .body(Full::from(chat_stream(LONG)))
            .expect("the parts are valid");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        streams.push(response.into_body());
    }

    let new = certificate(&world, "own");
    let answer = gateway.reload().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        connect(&gateway, &old, &["h2"]).await.is_err(),
        "the old one is presented still"
    );
    assert!(connect(&gateway, &new, &["h2"]).await.is_ok());

    for stream in streams {
        let body = stream.collect().await.expect("it was not cut").to_bytes();
        assert!(
            body.ends_with(b"data: [DONE]\n\n"),
            "{}",
            String::from_utf8_lossy(&body)
        );
    }
    driven.abort();

    // A pair that does not fit changes nothing.
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    world.file("own.key", key.serialize_pem());
    let answer = gateway.reload().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(connect(&gateway, &new, &["h2"]).await.is_ok());
}
