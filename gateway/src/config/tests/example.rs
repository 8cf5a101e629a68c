//! The commented example that ships with the gateway.

use super::Fake;
use super::accepted::{B, config_in, full_environment};

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../mulberry.example.yaml"));

#[test]
fn the_example_is_good_as_it_is() {
    let env = Fake::default()
        .variable("ALICE_KEY", "sk-alice")
        .variable("OPENAI_API_KEY", "sk-openai");
    config_in(&env, EXAMPLE);
}

fn default_model() -> crate::config::Model {
    let model = "models: [{name: m, routes: [{backend: a}]}]";
    config_in(&Fake::default(), &format!("{B}{model}")).models.remove(0)
}

/// Prose is `# ` and a word; a setting is `#` and a key, or `#` and a deeper indentation.
#[test]
fn the_example_shows_the_true_defaults() {
    let lines = EXAMPLE.lines().map(|line| match line.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() => {
            let setting = !rest.starts_with(' ') || rest.starts_with("  ");
            format!("{indent}{}\n", if setting { rest } else { "" })
        }
        _ => format!("{line}\n"),
    });
    let yaml: String = lines.collect();
    let mut env = full_environment()
        .file("internal-ca.pem", "")
        .file("worker.policy.json", "{}");
    for name in [
        "ALICE_KEY",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "AZURE_API_KEY",
        "POOL_KEY",
        "POOL_B_KEY",
        "OPS_TOKEN",
        "OTLP_TOKEN",
        "DATABASE_PASSWORD",
    ] {
        env = env.variable(name, name);
    }
    // The extra root is refused without https, as it should be.
    let yaml = yaml.replace("http://127.0.0.1:8001", "https://127.0.0.1:8001");
    let example = config_in(&env, &yaml);
    let default = config_in(&Fake::default(), B);
    assert!(example.tls.is_some() && example.cors.is_some());
    assert_eq!(example.backends.len(), 7);
    // Every key is there; two cannot be, beside the `secret` and the `jwks_file` that replace them.
    for line in include_str!("full.normalised.yaml").lines() {
        let key = line.trim_start_matches([' ', '-']);
        let key = key.split(':').next().unwrap_or_default().trim_matches('"');
        let key = if matches!(key, "x-team" | "x-token" | "team") {
            "headers"
        } else {
            key
        };
        let found = yaml.contains(&format!("{key}:")) || matches!(key, "sha256" | "jwks_url");
        assert!(found, "no {key}");
    }
    assert_eq!(
        (example.listen, example.admin_listen, &example.data_dir),
        (default.listen, default.admin_listen, &default.data_dir)
    );
    assert_eq!(example.limits, default.limits);
    let (ledger, plain) = (&example.ledger, &default.ledger);
    assert_eq!(
        (
            ledger.currency,
            ledger.journal,
            ledger.lease,
            ledger.receipts,
            ledger.unpriced
        ),
        (
            plain.currency,
            plain.journal,
            plain.lease,
            plain.receipts,
            plain.unpriced
        )
    );
    let (priced, plain) = (&example.models[0], &default_model());
    assert_eq!((priced.context, priced.max_output), (plain.context, plain.max_output));
    assert_eq!(example.retry, default.retry);
    assert_eq!(example.drain, default.drain);
    assert_eq!(example.log, default.log);
    let (pool, plain) = (&example.backends[1], &default.backends[0]);
    assert_eq!(pool.strategy, plain.strategy);
    assert_eq!(pool.timeouts, plain.timeouts);
    assert_eq!(pool.keep_alive, plain.keep_alive);
    assert_eq!(pool.http, plain.http);
    assert_eq!(pool.breaker, plain.breaker);
    assert_eq!(pool.health.interval, plain.health.interval);
    assert_eq!(pool.health.timeout, plain.health.timeout);
    assert_eq!(pool.concurrency.queue, plain.concurrency.queue);
}
