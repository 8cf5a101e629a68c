//! `mulberry healthcheck`: what a container without a shell or curl asks itself.
//!
//! A configuration that was spoiled after the start is no reason to call a serving gateway ill, so only `admin_listen` is read from it.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, Target},
    serve::BoxError,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::serve::file;
use crate::{
    cli::HealthcheckArgs,
    config::{Config, Process},
};

/// Bytes of an answer that are shown.
const SHOWN: usize = 1024;

#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("the configuration turns the admin listener off (admin_listen is null), so there is nothing to ask")]
    NoListener,
    #[error("the gateway at {address} says {status}: {said}")]
    Status {
        address: SocketAddr,
        status: StatusCode,
        said: String,
    },
    #[error("nothing came from {address} within {within:?}")]
    Silent { address: SocketAddr, within: Duration },
}

pub(super) async fn run(args: HealthcheckArgs) -> Result<(), BoxError> {
    let address = match args.admin_listen {
        Some(address) => address,
        None => configured(args.config.config.clone())?,
    };
    let address = reachable(address);
    let path = if args.live { "/livez" } else { "/readyz" };
    let within = Duration::from_millis(args.timeout);
    let (status, said) = tokio::time::timeout(within, ask(address, path, within))
        .await
        .map_err(|_| Unhealthy::Silent { address, within })??;
    if status != StatusCode::OK {
        return Err(Unhealthy::Status { address, status, said }.into());
    }
    Ok(writeln!(std::io::stdout(), "{said}")?)
}

/// Where the gateway of this configuration listens for operators.
fn configured(named: Option<std::path::PathBuf>) -> Result<SocketAddr, BoxError> {
    let file = file(named).ok();
    Ok(Config::admin_address(file.as_deref().unwrap_or(Path::new("")), &Process).ok_or(Unhealthy::NoListener)?)
}

/// Whoever listens everywhere is asked at home.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn ask(address: SocketAddr, path: &str, within: Duration) -> Result<(StatusCode, String), BoxError> {
    let target = Target::parse(&format!("http://{address}"))?;
    let client = Client::new(Connector::new(target, HttpVersion::Auto, within, None), within);
    let request = Request::get(path)
        .header("host", address.to_string())
        .body(Outgoing::Empty)?;
    let response = client.send(request, true).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), SHOWN).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everyone_is_asked_at_home() {
        for (listens, asked) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9091", "[::1]:9091"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.7:9090", "192.0.2.7:9090"),
        ] {
            let listens: SocketAddr = listens.parse().expect("an address");
            assert_eq!(reachable(listens).to_string(), asked);
        }
    }
}
