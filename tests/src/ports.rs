//! Ports that nobody is given by chance.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{iter, process};

/// A place on this machine for a server that comes back to it after it has ended.
///
/// Its port is below those that the system gives to whoever asks for any, so that nobody is given it in between.
///
/// # Panics
///
/// Where a thousand ports are taken.
#[must_use]
pub fn lasting() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut places = iter::repeat_with(|| {
        let number = process::id()
            .wrapping_mul(101)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        format!("127.0.0.1:{}", 12_000 + number % 8_000)
    });
    let is_free = |place: &String| TcpListener::bind(place).is_ok();
    places.by_ref().take(1000).find(is_free).expect("there are free ports")
}
