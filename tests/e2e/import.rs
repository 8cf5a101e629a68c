//! `mulberry import litellm`: a LiteLLM configuration becomes ours, and its clients notice nothing.
//!
//! `import/litellm.yaml` is the configuration, `import/mulberry.yaml` what becomes of it, and `import/report.txt` what is said about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use e2e::client::{chat, client, request, send};
use e2e::process::mulberry;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World};
use serde_json::{Value, json};

const LITELLM: &str = include_str!("import/litellm.yaml");
const EXPECTED: &str = include_str!("import/mulberry.yaml");
const REPORT: &str = include_str!("import/report.txt");

fn run(world: &World, arguments: &[&str]) -> Output {
    let run = Command::new(mulberry())
        .args(arguments)
        .current_dir(world.dir())
        .output();
    run.expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Imports `yaml` to standard output.
#[track_caller]
fn imported(yaml: &str, flags: &[&str]) -> (String, String) {
    let world = World::new();
    world.file("config.yaml", yaml);
    let arguments = [&["import", "litellm", "config.yaml"], flags].concat();
    let output = run(&world, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    (stdout(&output), stderr(&output))
}

/// One deployment of a model `m`, and its parameters.
fn deployment(params: &str) -> String {
    format!("model_list: [{{model_name: m, litellm_params: {{{params}}}}}]\n")
}

/// What is made of one deployment has these lines, and the report these words.
#[track_caller]
fn check(params: &str, lines: &[&str], words: &[&str]) {
    check_file(&deployment(params), lines, words);
}

#[track_caller]
fn check_file(yaml: &str, lines: &[&str], words: &[&str]) {
    let (made, told) = imported(yaml, &[]);
    for line in lines {
        let found = made.lines().any(|made| made.trim_start() == *line);
        assert!(found, "no line `{line}` in\n{made}");
    }
    for word in words {
        assert!(told.contains(word), "no `{word}` in\n{told}");
    }
}

#[test]
fn a_configuration_of_twenty_models_is_imported() {
    let world = World::new();
    world.file("litellm.yaml", LITELLM);
    let output = run(&world, &["import", "litellm", "litellm.yaml", "-o", "mulberry.yaml"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        stderr(&output)
    );
    let made = fs::read_to_string(world.dir().join("mulberry.yaml")).expect("it was written");
    if made != EXPECTED || stderr(&output) != REPORT {
        world.file("report.txt", stderr(&output));
        panic!("not what import/ has; compare {}", world.dir().display());
    }
    // A secret of the file is in neither.
    for secret in ["sk-coder-literal", "pk-literal"] {
        assert!(LITELLM.contains(secret) && !made.contains(secret) && !stderr(&output).contains(secret));
    }
    let check = Command::new(mulberry())
        .args(["check", "--config", "mulberry.yaml"])
        .envs(variables("http://127.0.0.1:1", "http://127.0.0.1:1"))
        .current_dir(world.dir())
        .output()
        .expect("the binary starts");
    assert!(check.status.success(), "{}", stderr(&check));

    let again = run(&world, &["import", "litellm", "litellm.yaml", "-o", "mulberry.yaml"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    let strict = run(
        &world,
        &[
            "import",
            "litellm",
            "litellm.yaml",
            "-o",
            "mulberry.yaml",
            "--force",
            "--strict",
        ],
    );
    assert_eq!(strict.status.code(), Some(2));
}

/// The variables that the imported file asks for, with all engines at `mock` and Azure's regions at `gone`.
fn variables(mock: &str, gone: &str) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (at, name) in EXPECTED.match_indices("${") {
        let end = EXPECTED[at..].find('}').expect("a reference ends");
        let variable = &EXPECTED[at + name.len()..at + end];
        let value = match variable {
            "AZURE_EU_API_BASE" | "AZURE_US_API_BASE" => gone.to_owned(),
            "LITELLM_MASTER_KEY" => MASTER.to_owned(),
            base if base.ends_with("_API_BASE") => mock.to_owned(),
            _ => UPSTREAM_KEY.to_owned(),
        };
        variables.push((variable.to_owned(), value));
    }
    variables
}

const MASTER: &str = "sk-master-of-the-test";
const UPSTREAM_KEY: &str = "sk-upstream-of-the-test";
const ALICE: &str = "sk-litellm-alice";

/// A name for clients, and the one that its upstream is asked for.
const CHATS: [(&str, &str); 15] = [
    // Both regions of Azure are gone.
    ("gpt-4o", "gpt-4o"),
    ("gpt-4", "gpt-4o"),
    ("gpt-4o-mini", "gpt-4o-mini"),
    ("fast", "gpt-4o-mini"),
    ("o3-mini", "o3-mini"),
    ("claude-sonnet", "claude-sonnet-4-5"),
    ("claude-haiku", "claude-haiku-4-5"),
    ("qwen3-32b", "Qwen/Qwen3-32B"),
    ("llama3", "llama3.3"),
    ("internal-coder", "coder-v2"),
    ("groq-llama", "llama-3.3-70b-versatile"),
    ("deepseek-chat", "deepseek-chat"),
    ("openrouter-any", "meta-llama/llama-3.3-70b-instruct"),
    ("gpt-5", "gpt-5"),
    ("openai/gpt-5", "gpt-5"),
];

#[tokio::test]
async fn the_same_client_with_the_same_key_gets_the_same_models() {
    let world = World::new();
    let names: BTreeSet<&str> = CHATS
        .iter()
        .map(|(_, there)| *there)
        .chain(["gemini-2.5-flash"])
        .collect();
    let mut flags = Vec::new();
    for name in names {
        flags.extend(["--model", name]);
    }
    let mock = world.mock(&flags);
    world.file("litellm.yaml", LITELLM);
    let keys = json!([
        {"token": sha256(ALICE), "key_alias": "alice", "models": ["gpt-4o", "claude-sonnet", "gpt-*"], "user_id": "u1", "rpm_limit": 600, "spend": 3.5},
        {"token": sha256("sk-litellm-bob"), "key_alias": "bob", "models": [], "blocked": true},
    ]);
    world.file("keys.json", keys.to_string());
    let arguments = [
        "import",
        "litellm",
        "litellm.yaml",
        "--keys",
        "keys.json",
        "-o",
        "mulberry.toml",
    ];
    let output = run(&world, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(
        told.contains("keys.json: `spend`: not carried over: 1 keys have it"),
        "{told}"
    );
    assert!(told.contains("keys: 3;"), "{told}");

    let gateway = serve(&world, &mock);
    let listed = models(&gateway, MASTER).await;
    let patterns = ["gpt-*", "openai/*"];
    let declared = EXPECTED
        .split_once("\nmodels:\n")
        .expect("there are models")
        .1
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !patterns.contains(name));
    for name in declared.chain(CHATS.iter().map(|(name, _)| *name)) {
        assert!(listed.contains(name), "{name} is not in {listed:?}");
    }
    // What the upstream lists is there behind the prefix, and not without it.
    assert!(
        listed.contains("openai/coder-v2") && !listed.contains("coder-v2"),
        "{listed:?}"
    );

    for (name, there) in CHATS {
        mock.reset();
        let answer = ask(&gateway, MASTER, name).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert!(
            !answer.json()["choices"][0]["message"]["content"].is_null(),
            "{}",
            answer.text()
        );
        let seen = mock.only();
        assert_eq!(seen["model"], there, "{name}");
        let headers = &seen["headers"];
        let key = match name {
            "qwen3-32b" | "llama3" => Value::Null,
            _ => UPSTREAM_KEY.into(),
        };
        let shown = headers["authorization"]
            .as_str()
            .map(|shown| shown.trim_start_matches("Bearer "));
        let shown = shown.or(headers["x-api-key"].as_str());
        assert_eq!(Value::from(shown), key, "{name}");
    }
    // Gemini has the model in its path.
    mock.reset();
    let answer = ask(&gateway, MASTER, "gemini-flash").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = mock.only()["path"].to_string();
    assert!(path.contains("gemini-2.5-flash"), "{path}");

    // Alice keeps her key and her models.
    assert_eq!(ask(&gateway, ALICE, "gpt-4o").await.status, 200);
    assert_eq!(ask(&gateway, ALICE, "qwen3-32b").await.status, 403);
    assert_eq!(ask(&gateway, "sk-litellm-bob", "gpt-4o").await.status, 401);
    assert_eq!(ask(&gateway, "sk-nobody", "gpt-4o").await.status, 401);
    let hers = models(&gateway, ALICE).await;
    let expect = ["claude-sonnet", "gpt-4", "gpt-4o", "gpt-4o-mini", "gpt-5"];
    assert!(hers.is_subset(&expect.map(str::to_owned).into()), "{hers:?}");
    assert!(hers.contains("gpt-4o") && hers.contains("claude-sonnet"), "{hers:?}");

    // The master key is a token of the admin API too.
    let status = send(
        client()
            .get(format!("{}/admin/v1/status", gateway.admin_url()))
            .bearer_auth(MASTER),
    )
    .await;
    assert_eq!(status.status(), 200);
}

/// The imported file with its variables, and every provider's address overridden.
fn serve(world: &World, mock: &Mock) -> Gateway {
    // Nobody listens there.
    let mut variables = variables(&mock.url(), "http://127.0.0.1:1");
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let below = EXPECTED.split_once("\nbackends:\n").expect("there are backends").1;
    let below = below.split_once("\nmodels:\n").expect("there are models").0;
    let addresses = below.lines().filter_map(|line| line.strip_prefix("    url: "));
    for (i, url) in addresses.enumerate() {
        if url.starts_with('"') {
            variables.push(set(&format!("MULBERRY_BACKENDS__{i}__URL"), &mock.url()));
        }
    }
    variables.extend([
        set("MULBERRY_LISTEN", "127.0.0.1:0"),
        set("MULBERRY_ADMIN_LISTEN", "127.0.0.1:0"),
        set("MULBERRY_DATA_DIR", "null"),
        // The log is read by the test.
        set("MULBERRY_LOG__FORMAT", "text"),
    ]);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    world.gateway_of("mulberry.toml", &variables)
}

async fn ask(gateway: &Gateway, key: &str, model: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat(model)).bearer_auth(key)).await).await
}

async fn models(gateway: &Gateway, key: &str) -> BTreeSet<String> {
    let url = format!("{}/v1/models", gateway.url());
    let begun = Instant::now();
    loop {
        let answer = Answer::of(send(client().get(&url).bearer_auth(key)).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let list = answer.json();
        let ids = list["data"].as_array().expect("a list").iter().map(|card| &card["id"]);
        let listed: BTreeSet<String> = ids.filter_map(Value::as_str).map(str::to_owned).collect();
        // The lists of upstreams come some moments after the start.
        if listed.contains("gpt-5") {
            return listed;
        }
        assert!(begun.elapsed() < SOON, "{listed:?}");
    }
}

fn sha256(key: &str) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(key.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn providers_become_backends() {
    check(
        "model: openai/gpt-4o",
        &[
            "kind: openai",
            "url: \"https://api.openai.com/v1\"",
            "api_key: ${OPENAI_API_KEY}",
            "model: gpt-4o",
        ],
        &["no price is said for m"],
    );
    check(
        "model: gpt-4o, api_base: 'https://api.openai.com/v1'",
        &["kind: openai"],
        &[],
    );
    check(
        "model: openai/x, api_base: 'http://10.0.0.1:8000'",
        &[
            "- name: openai-10.0.0.1-8000",
            "kind: openai-compatible",
            "url: \"http://10.0.0.1:8000\"",
        ],
        &[
            "requests go to /v1/… below it",
            "a provider's own key does not go to other addresses",
        ],
    );
    check(
        "model: azure/d, api_base: 'https://acme.openai.azure.com/', api_key: os.environ/K",
        &[
            "- name: azure-acme",
            "kind: azure",
            "api_version: \"2024-10-21\"",
            "api_key: ${K}",
        ],
        &["it has no api_version"],
    );
    check(
        "model: azure/d",
        &["url: ${AZURE_API_BASE}", "api_key: ${AZURE_API_KEY}"],
        &[],
    );
    check(
        "model: anthropic/claude-x",
        &["kind: anthropic", "url: \"https://api.anthropic.com\""],
        &[],
    );
    check("model: gemini/g", &["kind: gemini", "api_key: ${GEMINI_API_KEY}"], &[]);
    check(
        "model: ollama/l",
        &["kind: ollama", "url: \"http://localhost:11434\""],
        &[],
    );
    check(
        "model: hosted_vllm/q",
        &["kind: vllm", "url: ${HOSTED_VLLM_API_BASE}"],
        &[],
    );
    check(
        "model: q/r, custom_llm_provider: hosted_vllm",
        &["kind: vllm", "model: q/r"],
        &[],
    );
    check("model: huggingface/x, api_base: 'http://tgi'", &["kind: tgi"], &[]);
    check(
        "model: groq/l, timeout: 12.5, stream_timeout: 3, max_parallel_requests: 7, organization: acme, extra_headers: {x-auth-token: s3cret-value, x-a: b}",
        &[
            "total: 12500ms",
            "first_frame: 3s",
            "limit: 7",
            "openai-organization: acme",
            "x-auth-token: ${X_AUTH_TOKEN}",
            "x-a: b",
        ],
        &["set X_AUTH_TOKEN to it"],
    );
}

#[test]
fn secrets_become_references() {
    let two = "model_list:\n- {model_name: a b, litellm_params: {model: groq/x, api_key: sk-one}}\n- {model_name: c, litellm_params: {model: groq/y, api_key: sk-one}}\n- {model_name: A-B, litellm_params: {model: groq/z, api_key: sk-two}}\n- {model_name: d, litellm_params: {model: groq/z, api_key: os.environ/GROQ_API_KEY}}\n- {model_name: 4o, litellm_params: {model: groq/z, api_key: sk-three}}\n- {model_name: e, litellm_params: {model: openai/z, api_base: 'http://e', api_key: fake-key}}\n";
    let (made, told) = imported(two, &[]);
    for reference in [
        "${A_B_API_KEY}",
        "${A_B_API_KEY_2}",
        "${GROQ_API_KEY}",
        "${MODEL_4O_API_KEY}",
    ] {
        assert!(made.contains(reference), "no {reference} in\n{made}");
    }
    for secret in ["sk-one", "sk-two", "sk-three", "fake-key"] {
        assert!(!made.contains(secret) && !told.contains(secret), "{made}\n{told}");
    }
    assert!(told.contains("it looks like a word for no key"), "{told}");
    let (made, told) = imported(two, &["--keep-secrets"]);
    assert!(
        made.contains("sk-one") && made.contains("sk-two") && !told.contains("sk-one"),
        "{made}\n{told}"
    );

    let master = format!(
        "{}general_settings: {{master_key: sk-1234}}\n",
        deployment("model: groq/x")
    );
    check_file(
        &master,
        &["secret: ${LITELLM_MASTER_KEY}"],
        &["set LITELLM_MASTER_KEY to it"],
    );
    let open = deployment("model: groq/x");
    check_file(&open, &[], &["there is no master_key"]);
}

#[test]
fn one_name_twice_is_one_model() {
    let of = |more: &str, strategy: &str| {
        let one = |host: &str, more: &str| {
            format!(
                "- {{model_name: m, litellm_params: {{model: hosted_vllm/q, api_base: 'http://{host}', {more}}}}}\n"
            )
        };
        let (a, b) = more.split_once('|').expect("two of them");
        format!("model_list:\n{}{}{strategy}", one("a", a), one("b", b))
    };
    check_file(&of("weight: 0.9|weight: 0.1", ""), &["weight: 9"], &[]);
    check_file(
        &of("rpm: 300|rpm: 100", ""),
        &["weight: 3"],
        &["it is the share that each gets"],
    );
    check_file(
        &of("rpm: 300|x: 1", ""),
        &[],
        &["see concurrency.limit", "nothing here has this meaning"],
    );
    check_file(&of("order: 2|order: 1", ""), &["priority: 2", "priority: 1"], &[]);
    check_file(&of("weight: x|weight: 1", ""), &[], &["the weights are not numbers"]);
    // What observes needs upstreams of one backend.
    let observed = "router_settings: {routing_strategy: least-busy}\n";
    let lines = [
        "strategy: least_outstanding",
        "- url: \"http://a\"",
        "- url: \"http://b\"",
    ];
    check_file(&of("weight: 2|weight: 4", observed), &lines, &[]);
    let (made, _) = imported(&of("rpm: 1|rpm: 1", observed), &[]);
    assert_eq!(made.matches("kind: vllm").count(), 1, "{made}");
    let latency = "router_settings: {routing_strategy: latency-based-routing}\n";
    check_file(&of("x: ~|x: ~", latency), &["strategy: latency"], &[]);
    let cost = "router_settings: {routing_strategy: cost-based-routing}\n";
    check_file(&of("x: ~|x: ~", cost), &[], &["prices do not decide here"]);
}

#[test]
fn fallbacks_and_aliases_lead_somewhere() {
    let models = "model_list:\n- {model_name: a, litellm_params: {model: groq/a}}\n- {model_name: b, litellm_params: {model: groq/b}}\n- {model_name: c*, litellm_params: {model: groq/c*}}\n";
    let with = |settings: &str| format!("{models}{settings}");
    check_file(
        &with("router_settings: {fallbacks: [{a: [b, c1]}]}"),
        &["fallbacks: [b, c1]"],
        &[],
    );
    check_file(
        &with("litellm_settings: {fallbacks: [{a: [b]}, {b: [a]}, {c9: [nobody]}, {nobody: [a]}]}"),
        &["fallbacks: [b]"],
        &["it would close a circle", "no model of this name was carried over"],
    );
    check_file(
        &with("litellm_settings: {fallbacks: [{'*': [b]}]}"),
        &["fallbacks: [b]"],
        &[],
    );
    check_file(
        &with("litellm_settings: {default_fallbacks: [b], fallbacks: [{a: [c1]}]}"),
        &["fallbacks: [c1]", "fallbacks: [b]"],
        &[],
    );
    check_file(
        &with("router_settings: {model_group_alias: {z: a, b: a, y: c*, x: nobody, 'w*': a}}"),
        &["aliases: [z]"],
        &[
            "the alias is the name of another model",
            "it stands for no model that was carried over",
            "an alias has no `*`",
        ],
    );
}

#[test]
fn patterns_keep_their_meaning() {
    let named = |name: &str, model: &str| {
        format!("model_list: [{{model_name: '{name}', litellm_params: {{model: '{model}'}}}}]\n")
    };
    let (made, _) = imported(&named("*", "openai/*"), &[]);
    assert!(made.contains("name: \"*\"") && !made.contains("model: "), "{made}");
    let (made, _) = imported(&named("gpt-*", "openai/gpt-*"), &[]);
    assert!(made.contains("name: \"gpt-*\"") && !made.contains("model: "), "{made}");
    check_file(
        &named("openai/*", "openai/*"),
        &["- name: \"openai/*\"", "model: \"*\""],
        &[],
    );
    check_file(&named("azure-*", "azure/prod-*"), &["model: \"prod-*\""], &[]);
    check_file(&named("any-*", "openai/gpt-4o"), &["model: gpt-4o"], &[]);
}

#[test]
fn what_leaves_nothing_is_refused() {
    let refuse = |yaml: &str, expect: &str| {
        let world = World::new();
        world.file("config.yaml", yaml);
        let output = run(&world, &["import", "litellm", "config.yaml", "-o", "m.yaml"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(expect), "{}", stderr(&output));
        assert!(!world.dir().join("m.yaml").exists());
    };
    refuse("model_list: []", "there is no model that could be carried over");
    refuse("a: [", "config.yaml:2:1: not valid YAML");
    refuse("hello", "a mapping was expected");
    for (name, model, why) in [
        ("*", "*", "every provider at once"),
        ("m", "openai/*", "one name cannot stand for a pattern"),
        ("a*b", "openai/a", "may stand only at the end"),
        ("m", "bedrock/x", "as AWS does"),
        ("m", "os.environ/MODEL", "the provider os.environ is not known"),
        ("m", "huggingface/x", "it has no api_base"),
    ] {
        let yaml = format!("model_list: [{{model_name: '{name}', litellm_params: {{model: '{model}'}}}}]\n");
        refuse(&yaml, why);
    }
    refuse(
        &deployment("model: openai/x, api_base: 'ftp://a'"),
        "the scheme must be http or https",
    );
    refuse(
        &deployment("model: openai/x, api_base: 'http://u:p4ss@a'"),
        "has credentials before the host",
    );
    let world = World::new();
    let output = run(&world, &["import", "litellm", "none.yaml"]);
    assert!(stderr(&output).contains("cannot read none.yaml"), "{}", stderr(&output));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/import/litellm.yaml");
    let unknown: PathBuf = world.file("m.conf", "");
    let arguments = [
        "import",
        "litellm",
        &fixture.display().to_string(),
        "--keys",
        &unknown.display().to_string(),
    ];
    let output = run(&world, &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("neither JSON"), "{}", stderr(&output));
}
