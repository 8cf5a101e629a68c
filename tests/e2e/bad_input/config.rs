//! Configurations that must not start, and what they are told.

use std::net::TcpListener;

use e2e::World;

#[track_caller]
fn assert_refused(yaml: &str, says: &[&str]) {
    let world = World::new();
    let said = world.gateway_error(yaml);
    for word in says {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn a_typo_is_told_with_file_line_key_and_the_right_word() {
    assert_refused(
        "backends:\n  - name: a\n    url: http://127.0.0.1:1\n    timeuots: {idle: 1s}\n",
        &[
            "gateway-0.yaml:4:5",
            "backends[0].timeuots",
            "unknown key",
            "did you mean `timeouts`?",
        ],
    );
    assert_refused(
        "backends: [{name: a, url: 'http://127.0.0.1:1'}]\nlimtis: {body: 1MiB}\n",
        &["gateway-0.yaml:2:1", "limtis", "did you mean `limits`?"],
    );
}

#[test]
fn a_wrong_value_is_told_with_its_place() {
    assert_refused(
        "backends: [{name: a, url: 'http://127.0.0.1:1', timeouts: {idle: soon}}]\n",
        &["gateway-0.yaml:1:", "backends[0].timeouts.idle", "fix:"],
    );
    assert_refused(
        "backends: [{name: a, url: 'http://127.0.0.1:1'}]\nmodels: [{name: m, routes: [{backend: b}]}]\n",
        &["gateway-0.yaml:2:", "`b`"],
    );
    assert_refused(
        "backends: [{name: a, url: 'http://127.0.0.1:1'}\n",
        &["gateway-0.yaml:", "not valid YAML"],
    );
    assert_refused("", &["backends", "fix:"]);
}

#[test]
fn a_missing_variable_is_named_and_a_secret_is_not_shown() {
    assert_refused(
        "backends: [{name: a, url: 'http://127.0.0.1:1', api_key: \"${MULBERRY_E2E_NOT_SET}\"}]\n",
        &["gateway-0.yaml:1:", "MULBERRY_E2E_NOT_SET"],
    );
    let world = World::new();
    let said = world.gateway_error(
        "backends: [{name: a, url: 'http://127.0.0.1:1'}]\nkeys: [{name: k, secret: sk-very-secret-value, modles: []}]\n",
    );
    assert!(said.contains("did you mean `models`?"), "{said}");
    assert!(!said.contains("sk-very-secret-value"), "{said}");
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("a bound listener has an address");
    let backends = "backends: [{name: a, url: 'http://127.0.0.1:1'}]\n";
    assert_refused(
        &format!("{backends}listen: {address}\n"),
        &[&address.to_string(), "the port is in use", "--listen"],
    );
    assert_refused(
        &format!("{backends}admin_listen: {address}\n"),
        &[&address.to_string(), "the port is in use"],
    );
}

#[test]
fn a_certificate_that_is_none_is_told_by_its_name() {
    let world = World::new();
    let file = world.file("cert.pem", "nothing");
    let said = world.gateway_error(&format!(
        "backends: [{{name: a, url: 'http://127.0.0.1:1'}}]\ntls: {{certificate: {0}, key: {0}}}\n",
        file.display()
    ));
    assert!(said.contains("cert.pem"), "{said}");
}
