//! One POST of JSON after another to one server that nobody trusts.
//!
//! A connection is used again while the server keeps it open. No redirect is followed: a key for one server must not
//! reach another. Bodies are bounded while they come, and every exchange has an end.
//! Without a TLS configuration https is refused: it is never spoken in the clear.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Connections that wait for the next request.
const MAX_IDLE: usize = 4;
/// Headers of an answer.
const MAX_HEAD: usize = 64 * 1024;

pub(super) struct Client {
    url: Uri,
    api_key: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    patience: Duration,
    max_body: usize,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no TLS configuration for an https address")]
    NoTls,
    #[error("the host is not a valid TLS server name")]
    ServerName,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    #[error("the server broke off, or does not speak HTTP/1.1: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the server took longer than {0:?}")]
    Late(Duration),
    #[error("the server answered with a redirect ({0}), which is not followed")]
    Redirect(StatusCode),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

impl Client {
    /// `tls` is for https; its ALPN protocols are set here.
    pub(super) fn new(
        url: Uri,
        api_key: Option<HeaderValue>,
        tls: Option<&rustls::ClientConfig>,
        patience: Duration,
        max_body: usize,
    ) -> Self {
        let tls = tls.map(|config| {
            let mut config = config.clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Self {
            url,
            api_key,
            tls,
            patience,
            max_body,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) async fn post(&self, body: Bytes) -> Result<Answer, PostError> {
        let exchange = timeout(self.patience, self.exchange(body));
        exchange.await.map_err(|_| PostError::Late(self.patience))?
    }

    async fn exchange(&self, body: Bytes) -> Result<Answer, PostError> {
        // One that was open a while ago may be closed by now: then a new one is asked, and the question is one that may
        // be asked twice.
        if let Some(mut sender) = self.taken()
            && sender.ready().await.is_ok()
            && let Ok(response) = sender.send_request(self.request(&body)?).await
        {
            return self.read(response, sender).await;
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(self.request(&body)?).await.map_err(broken)?;
        self.read(response, sender).await
    }

    fn request(&self, body: &Bytes) -> Result<Request<Full<Bytes>>, PostError> {
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(target)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("mulberry/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(key) = &self.api_key {
            request = request.header("x-api-key", key);
        }
        request.body(Full::new(body.clone())).map_err(broken)
    }

    async fn read(
        &self,
        response: http::Response<Incoming>,
        sender: SendRequest<Full<Bytes>>,
    ) -> Result<Answer, PostError> {
        let (head, body) = response.into_parts();
        if head.status.is_redirection() {
            return Err(PostError::Redirect(head.status));
        }
        let collected = Limited::new(body, self.max_body).collect().await;
        let body = collected.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => PostError::TooLarge(self.max_body),
            Err(error) => PostError::Broken(error),
        })?;
        self.keep(sender);
        Ok(Answer {
            status: head.status,
            body: body.to_bytes(),
        })
    }

    fn taken(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        let is_https = self.url.scheme() == Some(&Scheme::HTTPS);
        // Brackets of an IPv6 literal belong to the URL, not to the address.
        let host = self.url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let tls = self.tls.as_ref().filter(|_| is_https);
        if is_https && tls.is_none() {
            return Err(PostError::NoTls);
        }
        let tcp = TcpStream::connect((host, port)).await.map_err(PostError::Connect)?;
        match tls {
            None => shake_hands(tcp).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| PostError::ServerName)?;
                shake_hands(tls.connect(name, tcp).await.map_err(PostError::Tls)?).await
            }
        }
    }
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // It ends when its sender is dropped; how, the sender has been told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn broken(error: impl Error + Send + Sync + 'static) -> PostError {
    PostError::Broken(Box::new(error))
}
