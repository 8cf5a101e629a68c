//! From a URL to a byte stream: name, TCP, TLS, within one clock.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::Stream;

/// Which HTTP to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/1.1: one HTTP/2 connection carries only as many requests at a time as its server allows, commonly 100.
    #[default]
    Auto,
    Http1,
    /// In the clear: with prior knowledge.
    Http2,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Before every path, without a trailing slash; a final `/v1` is gone.
    base_path: String,
    /// A Unix socket, instead of host and port.
    socket: Option<PathBuf>,
}

/// A URL that no upstream can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("'{0}' is not a URL; write http://host:port or https://host")]
    NotUrl(String),
    #[error("the scheme must be http or https")]
    Scheme,
    #[error("the URL must not hold a user or password; use api_key")]
    Credentials,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url.parse().map_err(|_| TargetError::NotUrl(url.to_owned()))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(TargetError::NotUrl(url.to_owned()));
        };
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(TargetError::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(TargetError::Credentials);
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            scheme: scheme.clone(),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            base_path: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
            socket: None,
        })
    }

    /// What stands in requests to a worker, whose connection was not opened by a URL.
    pub fn worker() -> Self {
        Self::named("worker", None)
    }

    /// A server on this machine, behind a Unix socket.
    pub fn unix(socket: PathBuf) -> Self {
        Self::named("localhost", Some(socket))
    }

    fn named(host: &str, socket: Option<PathBuf>) -> Self {
        Self {
            scheme: Scheme::HTTP,
            host: host.to_owned(),
            port: 80,
            base_path: String::new(),
            socket,
        }
    }

    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// `host:port`, the port only where it is not the scheme's.
    pub fn authority(&self) -> String {
        match (self.is_https(), self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "unix:{}", socket.display());
        }
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.base_path)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("the host is not a valid TLS server name")]
    ServerName,
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
    #[error("the worker is not connected")]
    NoWorker,
    /// An https target must never be spoken to in the clear.
    #[error("no TLS configuration for an https target")]
    NoTls,
}

/// Opens connections to one target.
#[derive(Clone)]
pub struct Connector {
    target: Target,
    version: HttpVersion,
    timeout: Duration,
    tls: Option<TlsConnector>,
}

impl Connector {
    /// `tls` is needed for https; its ALPN protocols are set here, by `version`.
    pub fn new(target: Target, version: HttpVersion, timeout: Duration, tls: Option<&rustls::ClientConfig>) -> Self {
        let tls = tls.filter(|_| target.is_https()).map(|config| {
            let mut config = config.clone();
            config.alpn_protocols = match version {
                HttpVersion::Auto | HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
                HttpVersion::Http2 => vec![b"h2".to_vec()],
            };
            TlsConnector::from(Arc::new(config))
        });
        Self {
            target,
            version,
            timeout,
            tls,
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(super) async fn connect(&self) -> Result<(Stream, HttpVersion), ConnectError> {
        let connecting = tokio::time::timeout(self.timeout, self.connect_untimed());
        connecting.await.map_err(|_| ConnectError::Timeout(self.timeout))?
    }

    async fn connect_untimed(&self) -> Result<(Stream, HttpVersion), ConnectError> {
        if let Some(socket) = &self.target.socket {
            return Ok((Stream::unix(socket).await.map_err(ConnectError::Tcp)?, self.version));
        }
        // Brackets of an IPv6 literal belong to the URL, not to the address.
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((host, self.target.port))
            .await
            .map_err(ConnectError::Tcp)?;
        // A token must not wait for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        if !self.target.is_https() {
            return Ok((Stream::Plain(tcp), self.version));
        }
        let tls = self.tls.as_ref().ok_or(ConnectError::NoTls)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::ServerName)?;
        let stream = tls.connect(name, tcp).await.map_err(ConnectError::Tls)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let version = match (self.version, is_http2) {
            (HttpVersion::Http2, false) => return Err(ConnectError::NoHttp2),
            (_, true) => HttpVersion::Http2,
            (_, false) => HttpVersion::Http1,
        };
        Ok((Stream::Tls(Box::new(stream)), version))
    }

    /// HTTP/2 wants scheme and authority in the URI.
    pub(super) fn make_absolute(&self, uri: &mut Uri) {
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(self.target.scheme.clone());
        parts.authority = self.target.authority().parse().ok();
        // A path that came with a URI goes with an authority too; should it not, HTTP/2 refuses the bare path.
        if let Ok(absolute) = Uri::from_parts(parts) {
            *uri = absolute;
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let check = |url: &str, expect: &str| {
            let shown =
                Target::parse(url).map_or_else(|error| format!("refused: {error}"), |target| target.to_string());
            assert_eq!(shown, expect, "for {url}");
        };
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000");
        check("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000");
        check("https://openrouter.ai/api/v1", "https://openrouter.ai/api");
        check("http://[::1]:80/", "http://[::1]");
        check(
            "localhost:8000",
            "refused: 'localhost:8000' is not a URL; write http://host:port or https://host",
        );
        check("ftp://host", "refused: the scheme must be http or https");
        check(
            "http://me:secret@host",
            "refused: the URL must not hold a user or password; use api_key",
        );
    }
}
