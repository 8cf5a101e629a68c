//! What is accepted, and what it becomes.

use super::Fake;
use crate::config::{Config, Kind, Strategy};
use std::path::Path;
use std::time::Duration;

#[track_caller]
pub(super) fn config_in(env: &Fake, yaml: &str) -> Config {
    match Config::parse(yaml, "m.yaml", env) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

pub(super) const B: &str = "backends: [{name: a, url: 'http://a'}]\n";

/// `yaml` stands below one backend; `expect` are lines of the printed configuration.
#[track_caller]
fn check(env: &Fake, yaml: &str, expect: &[&str]) {
    let printed = config_in(env, &format!("{B}{yaml}")).normalised();
    for line in expect {
        let found = printed.lines().any(|printed| printed.trim_start() == *line);
        assert!(found, "no line `{line}` in\n{printed}");
    }
}

/// The upstream URL that `url` becomes for a backend of `kind`.
#[track_caller]
fn check_url(kind: &str, url: &str, expect: &str) {
    let version = if kind == "azure" { "api_version: '1'" } else { "" };
    let yaml = format!("backends:\n  - name: a\n    kind: {kind}\n    url: {url}\n    {version}");
    let config = config_in(&Fake::default(), &yaml);
    assert_eq!(config.backends[0].upstreams[0].url.to_string(), expect);
}

#[test]
fn every_default_is_printed() {
    assert_eq!(
        config_in(&Fake::default(), B).normalised(),
        include_str!("defaults.yaml")
    );
}

#[test]
fn units() {
    let env = Fake::default();
    check(&env, "limits: {body: 64KiB}", &["body: 64KiB"]);
    check(&env, "limits: {body: 1 GiB}", &["body: 1GiB"]);
    check(&env, "limits: {body: 1000}", &["body: 1000"]);
    check(&env, "limits: {body: 2048}", &["body: 2KiB"]);
    check(&env, "drain: {delay: 1500ms}", &["delay: 1500ms"]);
    check(&env, "drain: {delay: 120s}", &["delay: 2m"]);
    check(&env, "drain: {delay: 1h, timeout: 0s}", &["delay: 1h", "timeout: 0s"]);
}

#[test]
fn null_turns_off_what_can_be_off_and_is_the_default_elsewhere() {
    let yaml = "admin_listen: null\ndata_dir: ~\nkeys:\nlimits:\nlisten: null";
    let expect = ["admin_listen: null", "data_dir: null", "listen: \"127.0.0.1:8080\""];
    check(&Fake::default(), yaml, &expect);
    check(&Fake::default(), "data_dir: 'null'", &["data_dir: \"null\""]);
}

#[test]
fn base_paths() {
    check_url("vllm", "http://a:8000/v1/", "http://a:8000");
    check_url("openai-compatible", "https://a/openai/v1", "https://a/openai");
    check_url("openai-compatible", "https://a/v10", "https://a/v10");
    check_url("openai", "https://a/v1", "https://a");
    check_url("openai", "https://a/openai/v1", "https://a/openai/v1");
    check_url("anthropic", "https://a/anthropic/v1", "https://a/anthropic");
    check_url("gemini", "https://a/v1beta/", "https://a");
    check_url("gemini", "https://a/v1", "https://a/v1");
    check_url("azure", "https://a/openai/v1/", "https://a/openai/v1");
    check_url("tgi", "http://[::1]:80", "http://[::1]:80");
}

#[test]
fn references_are_resolved_after_parsing() {
    let env = Fake::default()
        .variable("DIR", "x\nlisten: 0.0.0.0:1 # ${DIR} }")
        .variable("EMPTY", "")
        .variable("ORIGINS", "https://a, https://b")
        .file("/run/dir", "from file\r\n");
    let injected = r#"data_dir: "x\u000alisten: 0.0.0.0:1 # $${DIR} }""#;
    check(&env, "data_dir: ${DIR}", &[injected, "listen: \"127.0.0.1:8080\""]);
    check(&env, "data_dir: a/${EMPTY}b-${NONE:-c}", &["data_dir: a/b-c"]);
    check(&env, "data_dir: ${EMPTY:-default}", &["data_dir: default"]);
    check(&env, "data_dir: \"${file:/run/dir}\"", &["data_dir: \"from file\""]);
    check(&env, "data_dir: $${DIR}$1", &["data_dir: \"$${DIR}$1\""]);
    check(&env, "admin_listen: ${NONE:-null}", &["admin_listen: null"]);
    check(&env, "limits: {body: \"${NONE:-1KiB}\"}", &["body: 1KiB"]);
    check(
        &env,
        "cors: {origins: \"${ORIGINS}\"}",
        &["origins: [\"https://a\", \"https://b\"]"],
    );
}

#[test]
fn variables_override() {
    let env = Fake::default()
        .variable("MULBERRY_LISTEN", "127.0.0.1:1")
        .variable("MULBERRY_ADMIN_LISTEN", "null")
        .variable("MULBERRY_DATA_DIR", "${LITERAL}")
        .variable("MULBERRY_LIMITS__BODY", "8MiB")
        .variable("MULBERRY_CORS__ORIGINS", "https://a,https://b")
        .variable("MULBERRY_BACKENDS__0__URL", "http://b")
        .variable("MULBERRY_BACKENDS__1__NAME", "c")
        .variable("MULBERRY_BACKENDS__1__URL", "http://c")
        // Not ours: Kubernetes sets these for a service named mulberry.
        .variable("MULBERRY_PORT", "tcp://10.0.0.1:80")
        .variable("MULBERRY_SERVICE_HOST", "10.0.0.1");
    let expect = [
        "listen: \"127.0.0.1:1\"",
        "admin_listen: null",
        "data_dir: \"$${LITERAL}\"",
        "body: 8MiB",
        "origins: [\"https://a\", \"https://b\"]",
        "- url: \"http://b\"",
        "- name: c",
        "- url: \"http://c\"",
    ];
    // The overridden reference is never looked up.
    check(&env, "data_dir: ${MISSING}\nlimits:", &expect);
}

#[test]
fn a_near_miss_among_variables_is_a_warning() {
    let env = Fake::default()
        .variable("MULBERRY_LITSEN", "sk-hidden")
        .variable("MULBERRY_LISTEN", "127.0.0.1:1")
        .variable("MULBERRY_ADMIN_TOKEN", "sk-hidden")
        .variable("MULBERRY_PORT", "1")
        .variable("LISTENS", "1");
    config_in(&env, B);
    let expect = "the environment variable MULBERRY_LITSEN sets nothing; was MULBERRY_LISTEN meant?";
    assert_eq!(Config::warnings(&env), [expect]);
}

/// One file with every key, and a secret wherever one can be.
pub(super) const FULL: &str = include_str!("full.yaml");

pub(super) fn full_environment() -> Fake {
    Fake::default()
        .variable("SECRET", "sk-hidden-1")
        .file("/run/secret", "sk-hidden-2\n")
        .file("cert.pem", "")
        .file("key.pem", "")
        .file("ca.pem", "")
        .file("jwks.json", "")
        .file("policy.json", "{}")
        .file("root.der", "")
        .file("receipt.pem", "")
        .file("tokenizer.json", "")
}

#[test]
fn secrets_are_kept_and_never_printed() {
    let config = config_in(&full_environment(), FULL);
    let upstreams = &config.backends[0].upstreams;
    let keys: Vec<_> = upstreams
        .iter()
        .map(|upstream| upstream.api_key.as_ref().map(|key| key.expose()))
        .collect();
    // An upstream's own key, else its backend's.
    assert_eq!(keys, [Some("sk-hidden-2"), Some("sk-hidden-1")]);
    assert_eq!(config.backends[0].headers.0[0].1.expose(), "sk-hidden-3");
    assert_eq!(config.keys[0].sha256, crate::config::KeyHash::of("sk-hidden-1"));
    // `printf %s sk-hidden-4 | sha256sum` is written in the file.
    assert_eq!(config.keys[1].sha256, crate::config::KeyHash::of("sk-hidden-4"));

    let hash = config.keys[1].sha256.as_bytes();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    for printed in [config.normalised(), format!("{config:?}"), format!("{config:#?}")] {
        assert!(!printed.contains("sk-hidden"), "{printed}");
        assert!(!printed.contains(&hash), "{printed}");
        assert!(printed.contains("***"), "{printed}");
    }
}

#[test]
fn every_key_is_read() {
    let config = config_in(&full_environment(), FULL);
    assert_eq!(config.normalised(), include_str!("full.normalised.yaml"));
    let backend = &config.backends[0];
    assert_eq!(backend.kind, Kind::Azure);
    assert_eq!(backend.strategy, Strategy::PrefixAffinity);
    assert_eq!(backend.capabilities.developer_role, Some(false));
    assert_eq!(backend.timeouts.connect, Duration::from_millis(250));
    assert_eq!(config.limits.body.as_usize(), 1 << 20);
}

#[test]
fn what_is_printed_reads_back() {
    let printed = config_in(&full_environment(), FULL).normalised();
    let hash = "0".repeat(63);
    // Only the hashes of keys, and the address of the database, were hidden beyond reading; any will do.
    let again = (1..=3).fold(printed.clone(), |text, digit| {
        text.replacen("sha256: \"***\"", &format!("sha256: {hash}{digit}"), 1)
    });
    let again = again.replace("database: \"***\"", "database: postgres://other.example/mulberry");
    assert_eq!(config_in(&full_environment(), &again).normalised(), printed);
}

#[test]
fn json_is_read_too() {
    let json = "{\n\t\"listen\": \"127.0.0.1:1\",\n\t\"backends\": [\n\t\t{\"name\": \"a\", \"url\": \"http:\\/\\/a\"}\n\t],\n\t\"keys\": []\n}\n";
    let env = Fake::default().file("m.json", json);
    let config = match Config::load(Path::new("m.json"), &env) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.backends[0].upstreams[0].url.to_string(), "http://a");
}

#[test]
fn load_tells_what_it_cannot_read() {
    let check = |path: &str, expect: &str| {
        let error = Config::load(Path::new(path), &Fake::default()).expect_err("no such file");
        assert_eq!(error.to_string(), expect);
    };
    check(
        "none.yaml",
        "none.yaml: 1 problem\n  none.yaml: cannot be read: entity not found\n    fix: check the path and its permissions, or start with `--backend URL` and no file",
    );
}

#[test]
fn a_single_backend_needs_no_file() {
    let env = Fake::default()
        .variable("MULBERRY_LISTEN", "127.0.0.1:1")
        .variable("MULBERRY_BACKENDS__0__KIND", "vllm")
        .variable("MULBERRY_BACKENDS__0__API_KEY", "sk-hidden");
    let config = Config::single("http://127.0.0.1:8000/v1", &env).expect("a good URL");
    assert_eq!(config.listen.port(), 1);
    assert!(config.models.is_empty());
    let backend = &config.backends[0];
    assert_eq!((backend.name.as_str(), backend.kind), ("default", Kind::Vllm));
    assert_eq!(backend.upstreams[0].url.to_string(), "http://127.0.0.1:8000");
    assert!(backend.upstreams[0].api_key.is_some());

    let error = Config::single("127.0.0.1:8000", &Fake::default()).expect_err("no scheme");
    let expect = "--backend: 1 problem\n  --backend: `backends[0].url`: `127.0.0.1:8000`: the scheme is missing\n    fix: write it like `http://127.0.0.1:8000` or `https://api.example.com/v1`";
    assert_eq!(error.to_string(), expect);
}

#[test]
fn aliases_of_yaml_are_copied_with_a_bound() {
    let yaml = "x: &t {idle: 1s}\nbackends: [{name: a, url: 'http://a', timeouts: *t}]";
    let error = Config::parse(yaml, "m.yaml", &Fake::default()).expect_err("x is unknown");
    assert!(
        error
            .to_string()
            .starts_with("m.yaml: 1 problem\n  m.yaml:1:1: `x`: unknown key")
    );

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let alias = format!("*a{}", i - 1);
        bomb += &format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    let error = Config::parse(&bomb, "m.yaml", &Fake::default()).expect_err("a billion values");
    assert!(error.to_string().contains("too many values"), "{error}");
    // Beyond our limit, and beyond the parser's.
    for (depth, expect) in [(64, "nested too deeply"), (100_000, "recursion limit")] {
        let deep = "[".repeat(depth);
        let error = Config::parse(&deep, "m.yaml", &Fake::default()).expect_err("too deep");
        assert!(error.to_string().contains(expect), "{error}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let env = full_environment();
    let mut refused = 0;
    for (at, c) in FULL.char_indices() {
        let cut = &FULL[..at];
        let gone = format!("{cut}{}", &FULL[at + c.len_utf8()..]);
        for text in [cut, &gone] {
            if let Err(error) = Config::parse(text, "m.yaml", &env) {
                refused += 1;
                assert!(!error.to_string().contains(" 0 problems"), "{text}");
                assert!(!error.to_string().contains("sk-hidden-1"), "{error}");
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}
