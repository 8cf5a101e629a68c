//! `mulberry config` as a person runs it, and the JSON Schema before a validator that is not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::World;
use e2e::client::{Answer, chat, post};
use e2e::process::{mulberry, python};
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the repository")
}

fn run(world: &World, arguments: &[&str]) -> Output {
    let run = Command::new(mulberry())
        .args(arguments)
        .current_dir(world.dir())
        .output();
    run.expect("the binary starts")
}

#[track_caller]
fn succeed(world: &World, arguments: &[&str]) -> (String, String) {
    let output = run(world, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), stderr)
}

#[track_caller]
fn fail(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the validator says of each file, which has a name and a text.
fn validated(world: &World, files: &[(&str, &str)]) -> Vec<String> {
    let paths: Vec<PathBuf> = files.iter().map(|(name, text)| world.file(name, text)).collect();
    let output = Command::new(python())
        .arg(repository().join("tests/e2e/config_cli/validate.py"))
        .arg(repository().join("mulberry.schema.json"))
        .args(paths)
        .output()
        .expect("Python starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    told.lines().map(str::to_owned).collect()
}

#[test]
fn the_schema_is_printed_and_takes_what_is_good() {
    let world = World::new();
    let (schema, _) = succeed(&world, &["config", "schema"]);
    let kept = fs::read_to_string(repository().join("mulberry.schema.json")).expect("the schema is kept");
    assert_eq!(schema, kept);

    let text = |path: &str| fs::read_to_string(repository().join(path)).expect(path);
    let example = text("mulberry.example.yaml");
    let full = text("gateway/src/config/tests/full.yaml");
    let toml = text("gateway/src/config/tests/full.toml");
    let defaults = text("gateway/src/config/tests/defaults.yaml");
    let normalised = text("gateway/src/config/tests/full.normalised.yaml")
        .replace("database: \"***\"", "database: postgres://h/d")
        .replace("\"***\"", &"a".repeat(64));
    world.file("full.yaml", &full);
    succeed(&world, &["config", "convert", "full.yaml", "converted.json"]);
    succeed(&world, &["config", "convert", "full.yaml", "converted.toml"]);
    let converted = |name: &str| fs::read_to_string(world.dir().join(name)).expect(name);
    let told = validated(
        &world,
        &[
            ("example.yaml", &example),
            ("full.yaml", &full),
            ("full.toml", &toml),
            ("defaults.yaml", &defaults),
            ("normalised.yaml", &normalised),
            ("full.json", &converted("converted.json")),
            ("converted.toml", &converted("converted.toml")),
            ("empty.yaml", "{}"),
            ("nothing.yaml", "keys:\nlimits:\nmodels: ~\n"),
            (
                "references.yaml",
                "listen: ${A}\ncors: {origins: \"${B}\"}\nlimits: {concurrency: \"${C:-5}\", body: \"${D}\"}\nlog: {level: \"${E}\"}\ndrain: {delay: \"${F}s\"}\nbackends: [{name: a, url: \"${G}/v1\", health: {enabled: \"${H}\"}}]",
            ),
        ],
    );
    let expect = [
        "example.yaml",
        "full.yaml",
        "full.toml",
        "defaults.yaml",
        "normalised.yaml",
        "full.json",
        "converted.toml",
        "empty.yaml",
        "nothing.yaml",
        "references.yaml",
    ];
    assert_eq!(told, expect.map(|name| format!("{name}: ok")));
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    const BACKEND: &str = "backends: [{name: a, url: 'http://a'}]\n";
    let world = World::new();
    // Each with a word of the refusal, which tells that it is refused for that.
    let wrong = [
        ("lisen: 127.0.0.1:1", "'lisen' was unexpected"),
        ("listen: 8080", "listen: "),
        ("listen: localhost", "listen: "),
        ("drain: {delay: 5}", "drain: "),
        ("drain: {delay: 5 seconds}", "drain: "),
        ("limits: {body: 32MB}", "limits: "),
        ("limits: {concurrency: -1}", "limits: "),
        ("limits: [1]", "limits: "),
        ("log: {level: debgu}", "log: "),
        ("retry: {attempts: true}", "retry: "),
        ("keys: [{name: a}]", "keys/0: "),
        ("keys: [{name: a, sha256: abc}]", "keys/0/sha256: "),
        ("keys: [{secret: abc}]", "\"name\" is a required property"),
        ("keys: [{name: a, secret: s, min_tier: high}]", "keys/0/min_tier: "),
        ("keys: [{name: a, secret: s, expires: tomorrow}]", "keys/0/expires: "),
        ("keys: [{name: a, secret: s, tags: [a]}]", "keys/0/tags: "),
        ("keys: {a: b}", "keys: "),
        ("oidc: [{issuer: a}]", "\"audience\" is a required property"),
        ("admin: {tokens: [{name: a}]}", "admin: "),
        ("models: [{name: a, price: {prompt: -1}}]", "models/0/price: "),
        (
            "models: [{name: a, routes: [{model: b}]}]",
            "\"backend\" is a required property",
        ),
        ("telemetry: {otlp: {}}", "telemetry: "),
        ("idempotency: {ttl: soon}", "idempotency: "),
        ("reload: {watch: 5}", "reload: "),
        ("cors: {}", "cors: "),
        ("backends: [{name: a}]", "backends/0: "),
        ("backends: [{name: a, url: 'http://a', upstreams: []}]", "backends/0: "),
        ("backends: [{name: a, url: 'ftp://a'}]", "backends/0/url: "),
        ("backends: [{name: a, url: 'http://a', kind: vlm}]", "backends/0/kind: "),
        (
            "backends: [{name: a, url: 'http://a', endpoints: [chat]}]",
            "backends/0/endpoints: ",
        ),
    ];
    let files: Vec<(String, String)> = (0..)
        .zip(&wrong)
        .map(|(i, (yaml, _)): (u32, _)| {
            let before = if yaml.starts_with("backends") { "" } else { BACKEND };
            (format!("{i:02}.yaml"), format!("{before}{yaml}"))
        })
        .collect();
    let named: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let told = validated(&world, &named);
    assert_eq!(told.len(), wrong.len());
    for (told, (yaml, expect)) in told.iter().zip(wrong) {
        assert!(told.contains(expect), "{yaml}\n{told}");
        assert!(!told.ends_with(": ok"), "{yaml}\n{told}");
    }
    // And the gateway agrees that each is wrong.
    for (name, yaml) in files {
        fail(&world, &["check", "--config", &name]);
        assert!(!yaml.is_empty());
    }
}

#[test]
fn a_configuration_is_printed_in_every_format() {
    let world = World::new();
    world.file(
        "m.toml",
        "listen = '127.0.0.1:1'\n[[backends]]\nname = 'a'\nurl = 'http://a'\napi_key = 'sk-hidden'\n",
    );
    let (json, _) = succeed(&world, &["config", "print", "--config", "m.toml", "--output", "json"]);
    let printed: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(printed["backends"][0]["upstreams"][0]["api_key"], "***");
    assert_eq!(printed["limits"]["concurrency"], 10_000);
    let (yaml, _) = succeed(&world, &["config", "print", "--config", "m.toml"]);
    let (checked, _) = succeed(&world, &["check", "--config", "m.toml"]);
    assert_eq!(yaml, checked);
    let (toml, _) = succeed(&world, &["config", "print", "--config", "m.toml", "--output", "toml"]);
    world.file("again.toml", &toml);
    let (again, _) = succeed(&world, &["config", "print", "--config", "again.toml"]);
    assert_eq!(again, yaml);
    assert!(![json, yaml, toml].concat().contains("sk-hidden"));
    let error = fail(&world, &["config", "print", "--config", "none.toml"]);
    assert!(error.contains("none.toml: cannot be read"), "{error}");
}

#[tokio::test]
async fn a_converted_file_serves_as_the_one_it_came_from() {
    let world = World::new();
    let mock = world.mock(&[]);
    let yaml = format!(
        "# a comment\nlisten: 127.0.0.1:0\nadmin_listen: ~\ndata_dir: null\nbackends:\n  - {{name: only, url: '{}', api_key: \"${{KEY:-sk-default}}\"}}\n",
        mock.url()
    );
    let from = world.file("m.yaml", &yaml);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).expect("it is ours");
    }
    let (_, told) = succeed(&world, &["config", "convert", "m.yaml", "m.toml"]);
    assert!(told.contains("comments are not carried over"), "{told}");
    let toml = fs::read_to_string(world.dir().join("m.toml")).expect("it was written");
    assert!(toml.contains("api_key = \"${KEY:-sk-default}\""), "{toml}");
    assert!(toml.contains("admin_listen = \"null\""), "{toml}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(world.dir().join("m.toml"))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    let refused = fail(&world, &["config", "convert", "m.yaml", "m.toml"]);
    assert!(
        refused.contains("is there already") && refused.contains("--force"),
        "{refused}"
    );
    succeed(&world, &["config", "convert", "--force", "m.yaml", "m.toml"]);
    let refused = fail(&world, &["config", "convert", "m.yaml", "m.conf"]);
    assert!(refused.contains("must end in .yaml, .toml or .json"), "{refused}");
    let refused = fail(&world, &["config", "convert", "none.yaml", "x.json"]);
    assert!(refused.contains("cannot read none.yaml"), "{refused}");
    let same = |file: &str| succeed(&world, &["check", "--config", file]).0;
    assert_eq!(same("m.toml"), same("m.yaml"));

    let gateway = world.gateway_of("m.toml", &[]);
    let url = format!("{}/v1/chat/completions", gateway.url());
    let answer = Answer::of(post(&url, chat("mock")).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(mock.only()["headers"]["authorization"], "Bearer sk-default");
}
