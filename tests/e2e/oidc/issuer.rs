//! An identity provider of our own: keys, a discovery document, and tokens that are right or wrong as a test likes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A key pair with its name.
pub(crate) struct Signer {
    pub(crate) kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(kid: &str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let der = pair.expect("the algorithm can make keys").serialize_der();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&der),
            // PKCS#8 of a 2048 bit key has 26 bytes before the PKCS#1 that is asked for here.
            _ => EncodingKey::from_rsa_der(&der[26..]),
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            key,
        }
    }

    /// The public half, as an issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("the key has a public half");
        let mut jwk = serde_json::to_value(jwk).expect("a JWK is JSON");
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.algorithm, Some(&self.kid), claims)
    }

    /// Signs with another algorithm of the key's family, or under another name.
    pub(crate) fn sign_as(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &self.key).expect("claims are JSON")
    }
}

/// Signs with a shared secret: what someone tries who has only the public key.
pub(crate) fn sign_with_secret(kid: &str, secret: &[u8], claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.to_owned());
    encode(&header, claims, &EncodingKey::from_secret(secret)).expect("claims are JSON")
}

/// A running issuer.
pub(crate) struct Issuer {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    keys: Mutex<Vec<Value>>,
    is_down: AtomicBool,
    fetches: AtomicUsize,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let serving = tokio::spawn(serve(listener, address, state.clone()));
        Self {
            address,
            state,
            serving,
        }
    }

    /// As `iss` spells it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let keys = signers.iter().map(|signer| signer.jwk()).collect();
        *self.state.keys.lock().expect("no panic holds it") = keys;
    }

    pub(crate) fn go_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// Claims that are good for the audience `mulberry` for an hour.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        let now = unix_seconds();
        json!({"iss": self.url(), "aud": "mulberry", "sub": subject, "iat": now, "exp": now + 3600})
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens expire at a time of day")]
pub(crate) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is right").as_secs()
}

async fn serve(listener: TcpListener, address: SocketAddr, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let state = state.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let response = state.answer(address, request.uri().path());
                async { Ok::<_, Infallible>(response) }
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // The gateway may leave; then nobody waits for the end.
            drop(serving.await);
        });
    }
}

impl State {
    fn answer(&self, address: SocketAddr, path: &str) -> Response<Full<Bytes>> {
        let json = |value: Value| Response::new(Full::from(value.to_string()));
        let status = |status| {
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            response
        };
        if self.is_down.load(Ordering::SeqCst) {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        match path {
            "/.well-known/openid-configuration" => {
                json(json!({"issuer": format!("http://{address}"), "jwks_uri": format!("http://{address}/keys")}))
            }
            "/keys" => {
                self.fetches.fetch_add(1, Ordering::SeqCst);
                let keys = self.keys.lock().expect("no panic holds it");
                json(json!({"keys": *keys}))
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}
