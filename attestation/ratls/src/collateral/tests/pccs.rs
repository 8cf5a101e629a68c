//! A server that answers by a table, and by nothing but it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Good(Vec<(String, String)>, Vec<u8>),
    Status(u16),
    /// More than anybody asked for, until the client leaves.
    Endless,
    /// Half of what was announced.
    Cut,
    /// Not HTTP.
    Garbage,
    /// Nothing, for as long as the client waits.
    Silent,
}

pub(super) struct Pccs {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Pccs {
    pub(super) async fn start(replies: BTreeMap<String, Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let replies = Arc::new(replies);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (replies, log) = (Arc::clone(&replies), Arc::clone(&log));
                tokio::spawn(async move {
                    // The client may leave at any time.
                    serve(stream, &replies, &log).await.ok();
                });
            }
        });
        Self {
            address,
            asked,
            serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often a target was asked for that has this in it.
    pub(super) fn asked(&self, part: &str) -> usize {
        let asked = self.asked.lock().expect("nobody panicked with it");
        asked.iter().filter(|target| target.contains(part)).count()
    }
}

impl Drop for Pccs {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: &BTreeMap<String, Reply>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("it is text");
    let target = head.split(' ').nth(1).expect("a request has a target").to_owned();
    log.lock().expect("nobody panicked with it").push(target.clone());
    let reply = replies.get(&target).unwrap_or(&Reply::Status(404));
    match reply {
        Reply::Good(headers, body) => {
            let mut head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body).await?;
        }
        Reply::Status(status) => {
            let head = format!("HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
                .await?;
            loop {
                stream.write_all(&[b'0'; 8192]).await?;
            }
        }
        Reply::Cut => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"tcbInfo\"")
                .await?;
        }
        Reply::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await?,
        Reply::Silent => {
            // It ends when the client does.
            stream.read_u8().await?;
        }
    }
    stream.shutdown().await
}
