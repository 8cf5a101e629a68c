//! Where a probe asks, also when the rest of the file is spoiled.

use std::path::Path;

use super::Fake;
use crate::config::Config;

/// `expect` is the address, or nothing where the listener is off.
#[track_caller]
fn check(env: Fake, yaml: &str, expect: &str) {
    let env = env.file("m.yaml", yaml);
    let address = Config::admin_address(Path::new("m.yaml"), &env);
    assert_eq!(address.map(|address| address.to_string()).unwrap_or_default(), expect);
}

#[test]
fn the_address_is_read() {
    let env = Fake::default;
    check(env(), "admin_listen: 0.0.0.0:9191", "0.0.0.0:9191");
    check(env(), "admin_listen: '[::]:9191'", "[::]:9191");
    check(env(), "{\"admin_listen\": \"127.0.0.1:9191\"}", "127.0.0.1:9191");
    check(env(), "admin_listen: 127.0.0.1:${PORT:-9292}", "127.0.0.1:9292");
    check(
        env().variable("PORT", "9393"),
        "admin_listen: 127.0.0.1:${PORT:-9292}",
        "127.0.0.1:9393",
    );
    check(
        env().variable("MULBERRY_ADMIN_LISTEN", "127.0.0.1:9494"),
        "admin_listen: 0.0.0.0:9191",
        "127.0.0.1:9494",
    );
    check(env(), "admin_listen: null", "");
}

#[test]
fn the_default_stands_in() {
    let env = Fake::default;
    check(env(), "", "127.0.0.1:9090");
    check(env(), "listen: 0.0.0.0:8080", "127.0.0.1:9090");
    check(env(), "admin_listen: [a, list]", "127.0.0.1:9090");
    check(env(), "admin_listen: ${NOT_SET}", "127.0.0.1:9090");
    check(env(), "admin_listen: 127.0.0.1", "127.0.0.1:9090");
    check(env(), "admin_listen: [no, end", "127.0.0.1:9090");
    assert_eq!(
        Config::admin_address(Path::new("absent.yaml"), &env()).map(|address| address.port()),
        Some(9090)
    );
}

#[test]
fn what_else_is_wrong_does_not_matter() {
    let env = Fake::default;
    check(env(), "lissten: 1\nkeys: 7\nadmin_listen: 0.0.0.0:9191", "0.0.0.0:9191");
}
