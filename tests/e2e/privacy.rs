//! Prompts, completions and API keys are nowhere but in the answers: random words go through every way a request can
//! take, and are then looked for in the log, the metrics, the records, the files on disk and our own errors.
//!
//! The one way that is missing is a panic: no request is known that provokes one. Its hook, which logs the place and
//! not the text, is searched for a canary by the test in `gateway/src/logging.rs`.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use e2e::client::{client, get, send};
use e2e::sse::pieces;
use e2e::wait::SOON;
use e2e::{Answer, Collector, Gateway, Mock, World, eventually, raw};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::flow::Flow;

/// Words that nobody else says.
struct Canaries {
    prompt: String,
    client_key: String,
    wrong_key: String,
    upstream_key: String,
    cookie: String,
}

impl Canaries {
    fn new() -> Self {
        let word = |kind: &str| format!("{kind}{:016x}", RandomState::new().build_hasher().finish());
        Self {
            prompt: word("prompt"),
            client_key: word("sk-client"),
            wrong_key: word("sk-wrong"),
            upstream_key: word("sk-upstream"),
            cookie: word("cookie"),
        }
    }

    /// Asserts that none of them stands in `bytes`.
    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for word in [
            &self.prompt,
            &self.client_key,
            &self.wrong_key,
            &self.upstream_key,
            &self.cookie,
        ] {
            assert!(
                !contains(bytes, word),
                "{word} is in {place}:\n{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

struct Observed {
    words: Canaries,
    mock: Mock,
    /// Refuses the gateway's own credentials.
    _strict: Mock,
    gateway: Gateway,
    collector: Collector,
    _world: World,
}

impl Observed {
    fn start(level: &str) -> Self {
        let words = Canaries::new();
        let world = World::new();
        let mock = world.mock(&["--require-key", &words.upstream_key]);
        let strict = world.mock(&["--require-key", "another"]);
        let collector = Collector::new();
        let gateway = world.gateway(&format!(
            "telemetry: {{otlp: {{endpoint: '{collector}', headers: {{authorization: 'Bearer {upstream}'}}}}}}\n\
             keys: [{{name: alice, secret: '{client}', models: ['mock', 'fault/*', 'locked', 'nowhere', 'denied-no', 'claude*', 'gemini*']}}]\n\
             backends:\n  - {{name: main, url: '{main}', api_key: '{upstream}'}}\n\
             \x20 - {{name: short, url: '{main}', api_key: '{upstream}', breaker: {{failures: 1000}}, timeouts: {{first_frame: 300ms, idle: 300ms, total: 2s}}}}\n\
             \x20 - {{name: locked, url: '{strict}', api_key: '{upstream}'}}\n\
             \x20 - {{name: nowhere, url: 'http://127.0.0.1:9', api_key: '{upstream}', headers: {{x-team: '{cookie}'}}}}\n\
             \x20 - {{name: claude, kind: anthropic, url: '{main}', api_key: '{upstream}'}}\n\
             \x20 - {{name: gemini, kind: gemini, url: '{main}', api_key: '{upstream}'}}\n\
             models:\n  - {{name: mock, routes: [{{backend: main}}]}}\n\
             \x20 - {{name: claude, routes: [{{backend: claude, model: mock}}]}}\n\
             \x20 - {{name: gemini, routes: [{{backend: gemini, model: mock}}]}}\n\
             \x20 - {{name: claude-cut, routes: [{{backend: claude, model: fault/clean-cut}}]}}\n\
             \x20 - {{name: gemini-cut, routes: [{{backend: gemini, model: fault/clean-cut}}]}}\n\
             {silent}  - {{name: 'fault/*', routes: [{{backend: main}}]}}\n\
             \x20 - {{name: locked, routes: [{{backend: locked, model: mock}}]}}\n\
             \x20 - {{name: nowhere, routes: [{{backend: nowhere, model: mock}}]}}\n\
             \x20 - {{name: denied, routes: [{{backend: main, model: mock}}]}}\n\
             limits: {{body: 64KiB, header_read: 1s, body_read: 500ms}}\ndrain: {{timeout: 300ms}}\n\
             log: {{level: {level}, requests: {requests}}}",
            // At the other levels the line is another.
            requests = level == "info",
            client = words.client_key,
            upstream = words.upstream_key,
            cookie = words.cookie,
            main = mock.url(),
            strict = strict.url(),
            collector = collector.url(),
            // Those that are waited for in vain are not waited for long.
            silent = ["hang", "hang-after-headers", "stall", "endless-line"]
                .map(|mode| format!("  - {{name: fault/{mode}, routes: [{{backend: short}}]}}\n"))
                .concat(),
        ));
        Self {
            words,
            mock,
            _strict: strict,
            gateway,
            collector,
            _world: world,
        }
    }

    fn post(&self, path: &str, key: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        client()
            .post(format!("{}{path}", self.gateway.url()))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .header("cookie", &self.words.cookie)
            .body(body)
    }

    fn chat(&self, model: &str, stream: bool) -> RequestBuilder {
        let body = json!({
            "model": model, "stream": stream, "user": self.words.prompt,
            "messages": [{"role": "user", "content": format!("Say {} to me", self.words.prompt)}],
        });
        self.post("/v1/chat/completions", &self.words.client_key, body.to_string())
    }

    /// Answers that the gateway gives itself, which must not repeat what was said.
    async fn refusals(&self) {
        let (prompt, key) = (&self.words.prompt, &self.words.client_key);
        let good = json!({"model": "mock", "messages": [{"role": "user", "content": prompt}]}).to_string();
        let bad = [
            format!("{{\"model\":\"mock\",\"messages\":[{{\"content\":\"{prompt}\"}}"),
            prompt.clone(),
            format!("{{\"model\":\"mock\",\"messages\":\"{prompt}\",\"stream\":\"{prompt}\"}}"),
            format!("{{\"model\":\"mock\",\"messages\":[],\"n\":\"{prompt}\"}}"),
            format!("{{\"model\":\"mock\",\"messages\":[],\"max_tokens\":\"{prompt}\"}}"),
            format!("{{\"model\":[\"{prompt}\"],\"messages\":[]}}"),
            format!("{{\"model\":\"mock\",\"messages\":[\"{prompt}\"],\"stream_options\":\"{prompt}\"}}"),
            format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"),
            format!(
                "{{\"model\":\"mock\",\"x\":{}\"{prompt}\"{}}}",
                "[".repeat(100),
                "]".repeat(100)
            ),
            format!(
                "{{\"model\":\"mock\",\"messages\":[{{\"content\":\"{prompt} {}\"}}]}}",
                "x".repeat(70_000)
            ),
        ];
        let mut refused: Vec<(RequestBuilder, u16)> = bad
            .into_iter()
            .map(|body| {
                let status = if body.len() > 65_536 { 413 } else { 400 };
                (self.post("/v1/chat/completions", key, body), status)
            })
            .collect();
        let mut not_text = good.clone().into_bytes();
        not_text.extend_from_slice(b"\xff\xfe");
        refused.push((self.post("/v1/chat/completions", key, not_text), 400));
        refused.push((
            self.post("/v1/chat/completions", &self.words.wrong_key, good.clone()),
            401,
        ));
        refused.push((self.post("/v1/no-such-path", key, good.clone()), 404));
        refused.push((self.chat("denied", false), 403));
        refused.push((self.chat("no-such-model", true), 404));
        refused.push((
            self.post("/v1/chat/completions", key, good.clone())
                .header("content-encoding", "gzip"),
            400,
        ));
        refused.push((
            self.post("/v1/chat/completions", key, good)
                .header("content-encoding", "other"),
            415,
        ));
        for (nth, (request, status)) in refused.into_iter().enumerate() {
            let answer = Answer::of(send(request).await).await;
            assert_eq!(answer.status, status, "refusal {nth}: {}", answer.text());
            self.words.assert_absent("a refusal", answer.text().as_bytes());
        }
        // Heads and bodies that break off.
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n");
        for rest in [
            format!("content-length: 1000\r\n\r\n{{\"messages\":\"{prompt}"),
            format!("transfer-encoding: chunked\r\n\r\nZZ\r\n{prompt}\r\n"),
            format!("bad header {prompt}\r\n\r\n"),
            format!("cookie: {}", self.words.cookie),
        ] {
            let answer = raw::exchange_and_close(self.gateway.address(), format!("{head}{rest}").as_bytes());
            self.words.assert_absent("an answer to a broken request", &answer);
        }
    }

    /// Upstreams that fail; none of these failures tells of the prompt by itself.
    async fn failures(&self) {
        let modes = [
            "503",
            "429",
            "400",
            "cut-before",
            "reset",
            "hang",
            "hang-after-headers",
            "err-200",
            "html-502",
            "html-200",
            "text-500",
            "string-error",
            "context-overflow",
            "redirect",
            "bad-chunked",
            "truncated-length",
            "double-length",
            "bad-status-line",
            "cut",
            "stall",
            "endless-line",
        ];
        for mode in modes {
            let answer = Answer::of(send(self.chat(&format!("fault/{mode}"), false)).await).await;
            if answer.status != 200 {
                self.words.assert_absent(mode, answer.text().as_bytes());
            }
        }
        for mode in modes
            .into_iter()
            .chain(["clean-cut", "cut-fin", "no-done", "err-first", "err-data", "bare"])
        {
            let (body, end) = pieces(send(self.chat(&format!("fault/{mode}"), true)).await).await;
            assert!(end.is_ok(), "{mode} was cut");
            let text = String::from_utf8_lossy(&body.concat()).into_owned();
            let error = text
                .split("\n\n")
                .find(|event| event.contains("\"error\""))
                .unwrap_or_default();
            self.words.assert_absent(mode, error.as_bytes());
        }
        for model in ["locked", "nowhere"] {
            for stream in [false, true] {
                let answer = Answer::of(send(self.chat(model, stream)).await).await;
                assert_eq!(answer.status, 502, "{model}: {}", answer.text());
                self.words.assert_absent(model, answer.text().as_bytes());
            }
        }
    }

    /// Answers, which hold the prompt because the mock repeats it.
    async fn successes(&self) {
        let (prompt, key) = (&self.words.prompt, &self.words.client_key);
        for stream in [false, true] {
            let answer = Answer::of(send(self.chat("mock", stream)).await).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.text().contains(prompt), "the mock repeats it: {}", answer.text());
            for path in ["/v1/completions", "/v1/responses"] {
                let body = json!({"model": "mock", "prompt": prompt, "input": prompt, "stream": stream});
                let answer = Answer::of(send(self.post(path, key, body.to_string())).await).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
        self.dialects().await;
        for path in ["/v1/embeddings", "/v1/moderations"] {
            let body = json!({"model": "mock", "input": prompt});
            let answer = Answer::of(send(self.post(path, key, body.to_string())).await).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        let form = format!(
            "--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nmock\r\n--B\r\n\
             content-disposition: form-data; name=\"prompt\"\r\n\r\n{prompt}\r\n--B\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"{prompt}.wav\"\r\n\r\n{}\r\n--B--\r\n",
            prompt.repeat(10_000)
        );
        let upload = |form: String| {
            let request = client()
                .post(format!("{}/v1/audio/transcriptions", self.gateway.url()))
                .bearer_auth(key);
            request
                .header("content-type", "multipart/form-data; boundary=B")
                .body(form)
        };
        let answer = Answer::of(send(upload(form.clone())).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = Answer::of(send(upload(form.replacen("mock", "fault/503", 1))).await).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        self.words.assert_absent("a failed upload", answer.text().as_bytes());
    }

    /// What is translated: whole, streamed, cut, and refused for what it says.
    async fn dialects(&self) {
        let (prompt, key) = (&self.words.prompt, &self.words.client_key);
        let messages = json!([{"role": "user", "content": prompt}]);
        for model in ["mock", "claude", "gemini"] {
            for path in ["/v1/chat/completions", "/v1/messages"] {
                for stream in [false, true] {
                    let body = json!({"model": model, "max_tokens": 100, "messages": messages, "stream": stream});
                    let answer = Answer::of(send(self.post(path, key, body.to_string())).await).await;
                    assert_eq!(answer.status, 200, "{path} {model}: {}", answer.text());
                    assert!(answer.text().contains(prompt), "the mock repeats it: {}", answer.text());
                }
                let odd = json!([{"role": "user", "content": [{"type": prompt, "text": prompt}]}]);
                let body = json!({"model": model, "max_tokens": 100, "messages": odd});
                let answer = Answer::of(send(self.post(path, key, body.to_string())).await).await;
                // Where nothing is translated, what the text is called is the upstream's business.
                let is_plain =
                    (model, path) == ("mock", "/v1/chat/completions") || (model, path) == ("claude", "/v1/messages");
                assert_eq!(answer.status == 400, !is_plain, "{path} {model}: {}", answer.text());
            }
        }
        for model in ["fault/clean-cut", "claude-cut", "gemini-cut"] {
            let body = json!({"model": model, "max_tokens": 100, "messages": messages, "stream": true});
            let answer = Answer::of(send(self.post("/v1/messages", key, body.to_string())).await).await;
            assert!(answer.text().contains("event: error"), "{model}: {}", answer.text());
        }
    }

    /// A client that leaves in the middle.
    async fn departure(&self) {
        let flow = Flow::begin(self.chat("fault/slow-100+tokens-50", true)).await;
        drop(flow);
        let unary = tokio::spawn(self.chat("fault/slow-1500", false).send());
        let is_there = eventually(SOON, || self.mock.count("slow-1500") == 1);
        assert!(is_there.await, "the request does not arrive");
        unary.abort();
    }

    /// Everything that the gateway has written down by now.
    fn assert_silent(&self, files: &Path) {
        self.words.assert_absent("the log", self.gateway.log().as_bytes());
        let mut seen = 0;
        for entry in fs::read_dir(files).expect("it has a data directory") {
            let path = entry.expect("it can be listed").path();
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            self.words.assert_absent(&path.display().to_string(), &bytes);
            // The names of models are kept, and found by the same search.
            seen += usize::from(contains(&bytes, "fault/slow-1500"));
        }
        assert!(seen > 0, "no file holds a record");
    }
}

async fn check(level: &str) {
    let mut observed = Observed::start(level);
    observed.successes().await;
    observed.refusals().await;
    observed.failures().await;
    observed.departure().await;
    assert!(
        contains(
            json!(observed.mock.log()).to_string().as_bytes(),
            &observed.words.prompt
        ),
        "it came through"
    );

    let metrics = Answer::of(get(&format!("{}/metrics", observed.gateway.admin_url())).await)
        .await
        .text();
    assert!(metrics.contains("mulberry_requests_total"), "{metrics}");
    observed.words.assert_absent("the metrics", metrics.as_bytes());
    let models = client()
        .get(format!("{}/v1/models", observed.gateway.url()))
        .bearer_auth(&observed.words.client_key);
    observed
        .words
        .assert_absent("the models", Answer::of(send(models).await).await.text().as_bytes());
    let recorded = || {
        observed
            .gateway
            .records()
            .iter()
            .any(|line| line.contains("fault/slow-1500"))
    };
    assert!(eventually(SOON, recorded).await);
    let data = observed.gateway.data_dir();
    observed.assert_silent(&data);

    // And the end, with a stream cut.
    let flow = Flow::begin(observed.chat("fault/slow-100+tokens-500", true)).await;
    observed.gateway.signal("TERM");
    let text = flow.end().await.text;
    observed.words.assert_absent(
        "the last event",
        text.rsplit("\n\n").nth(1).unwrap_or_default().as_bytes(),
    );
    assert!(text.contains("shutting_down"), "{text}");
    assert_eq!(observed.gateway.wait(SOON).await.code(), Some(0));
    observed.assert_silent(&data);
    let traces = observed.collector.posts();
    let spans = observed.collector.spans();
    assert!(spans.len() > 20, "{} spans", spans.len());
    for trace in traces {
        observed.words.assert_absent("a trace", &trace.body);
    }
    observed
        .words
        .assert_absent("the records", observed.gateway.records().join("\n").as_bytes());
    assert!(
        observed.gateway.log().contains("request ended"),
        "the level was not set"
    );
}

#[tokio::test]
async fn nothing_that_was_said_is_kept() {
    check("info").await;
}

#[tokio::test]
async fn nothing_that_was_said_is_kept_at_debug() {
    check("debug").await;
}

#[tokio::test]
async fn nothing_that_was_said_is_kept_at_trace() {
    check("trace").await;
}

#[test]
fn the_search_finds_what_is_there() {
    assert!(contains(b"abc def", "c d") && !contains(b"abc def", "cd") && !contains(b"", "a"));
}

#[test]
fn a_configuration_that_is_shown_hides_its_secrets() {
    let words = Canaries::new();
    let world = World::new();
    let file = world.file(
        "shown.yaml",
        format!(
            "keys: [{{name: a, secret: {}}}]\nbackends: [{{name: b, url: 'http://127.0.0.1:1', api_key: {}, headers: {{x-a: {}}}}}]\n",
            words.client_key, words.upstream_key, words.cookie
        ),
    );
    let shown = std::process::Command::new(e2e::process::mulberry())
        .args(["check", "--config"])
        .arg(&file)
        .output();
    let shown = shown.expect("the binary starts");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    words.assert_absent("what `check` shows", &[shown.stdout, shown.stderr].concat());
}
