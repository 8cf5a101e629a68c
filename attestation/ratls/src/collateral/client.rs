//! One GET at a time, of a few kilobytes, from a server that nobody trusts.
//!
//! No redirect is followed, nothing is reused, and the body is bounded while it comes.
//! Without a TLS configuration https is refused: it is never spoken in the clear.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Of a header with a chain of certificates in it: hyper's default would do, and is not promised.
/// Of the answer of an OCSP responder; it has one kilobyte or two, with a certificate.
const MAX_OCSP: usize = 64 * 1024;
const MAX_HEAD: usize = 128 * 1024;

/// How long a whole exchange may take, from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Client {
    tls: Option<TlsConnector>,
    patience: Duration,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no TLS configuration for an https address")]
    NoTls,
    #[error("the host is not a valid TLS server name")]
    ServerName,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the server broke off, or does not speak HTTP/1.1")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the server took longer than {0:?}")]
    Late(Duration),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the answer has more than {max} bytes")]
    TooLarge { max: usize },
}

/// What came with status 200.
pub(super) struct Fetched {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// `tls` is for https; its ALPN protocols are set here.
    pub fn new(tls: Option<&rustls::ClientConfig>) -> Self {
        Self::with_patience(tls, PATIENCE)
    }

    pub(super) fn with_patience(tls: Option<&rustls::ClientConfig>, patience: Duration) -> Self {
        let tls = tls.map(|config| {
            let mut config = config.clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Self { tls, patience }
    }

    pub(super) async fn get(&self, url: &Uri, max: usize) -> Result<Fetched, FetchError> {
        let exchange = timeout(self.patience, self.exchange(url, Method::GET, None, max));
        exchange.await.map_err(|_| FetchError::Late(self.patience))?
    }

    /// Asks an OCSP responder: RFC 6960, appendix A. What comes back is not looked at.
    pub async fn ocsp(&self, url: &Uri, request: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        let body = Some(("application/ocsp-request", Bytes::from(request)));
        let exchange = timeout(self.patience, self.exchange(url, Method::POST, body, MAX_OCSP));
        let fetched = exchange.await.map_err(|_| FetchError::Late(self.patience))??;
        Ok(fetched.body)
    }

    async fn exchange(
        &self,
        url: &Uri,
        method: Method,
        body: Option<(&str, Bytes)>,
        max: usize,
    ) -> Result<Fetched, FetchError> {
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        // Brackets of an IPv6 literal belong to the URL, not to the address.
        let host = url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let tls = self.tls.as_ref().filter(|_| is_https);
        if is_https && tls.is_none() {
            return Err(FetchError::NoTls);
        }
        let tcp = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
        let request = request(url, method, body)?;
        match tls {
            None => speak(tcp, request, max).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::ServerName)?;
                let stream = tls.connect(name, tcp).await.map_err(FetchError::Tls)?;
                speak(stream, request, max).await
            }
        }
    }
}

fn request(url: &Uri, method: Method, body: Option<(&str, Bytes)>) -> Result<Request<Full<Bytes>>, FetchError> {
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, url.authority().map_or("", |authority| authority.as_str()))
        .header(header::USER_AGENT, concat!("mulberry/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    let mut bytes = Bytes::new();
    if let Some((kind, content)) = body {
        request = request.header(header::CONTENT_TYPE, kind);
        bytes = content;
    }
    request.body(Full::new(bytes)).map_err(broken)
}

async fn speak<S>(stream: S, request: Request<Full<Bytes>>, max: usize) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(FetchError::Status(head.status));
        }
        let collected = Limited::new(body, max).collect().await;
        let body = collected.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => FetchError::TooLarge { max },
            Err(error) => FetchError::Broken(error),
        })?;
        Ok(Fetched {
            headers: head.headers,
            body: body.to_bytes().to_vec(),
        })
    };
    // The connection is driven here and dropped with the answer, so that nothing outlives this call.
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => {
            if let Err(error) = ended {
                return Err(broken(error));
            }
            // It ended well: what is left of the answer is already here.
            exchange.await
        }
    }
}

fn broken(error: impl Error + Send + Sync + 'static) -> FetchError {
    FetchError::Broken(Box::new(error))
}
