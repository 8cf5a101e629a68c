//! What each section refuses, and what they refuse of each other.

use super::{B, check, check_backend, check_in, check_with_backend, environment};

#[test]
fn keys() {
    let zero = "0".repeat(64);
    check_with_backend(
        &format!("keys: [{{name: a, sha256: {zero}, secret: x}}]"),
        &[
            "m.yaml:2:100: `keys[0].secret`: a key has either `sha256` or `secret`, not both",
            "fix: keep one of the two",
        ],
    );
    check_with_backend(
        "keys: [{name: a}]",
        &[
            "m.yaml:2:8: `keys[0].sha256`: a key needs `sha256` or `secret`, and neither is set",
            "fix: add `secret: ${NAME}`, or `sha256:` with the hash of the key in hexadecimal",
        ],
    );
    check_with_backend(
        "keys: [{name: a, sha256: sk-hidden}]",
        &[
            "m.yaml:2:26: `keys[0].sha256`: is not a SHA-256 hash: 64 hexadecimal digits",
            "fix: write the output of `printf %s \"$KEY\" | sha256sum`, or use `secret:` for the key itself",
        ],
    );
    check_with_backend(
        "keys: [{secret: a, models: ['a*b'], disabled: maybe}]",
        &[
            "m.yaml:2:8: `keys[0].name`: missing",
            "fix: add `name:`",
            "m.yaml:2:29: `keys[0].models[0]`: `a*b` has a `*` that is not its last character",
            "fix: write a name, or the beginning of names and one `*`",
            "m.yaml:2:47: `keys[0].disabled`: expected true or false, found `maybe`",
            "fix: write `true` or `false`",
        ],
    );
    check_with_backend(
        "keys:\n- {name: a, secret: x}\n- {name: a, secret: x}",
        &[
            "m.yaml:4:3: `keys[1]`: is the same API key as that of `a`",
            "fix: give each client a key of its own",
            "m.yaml:4:10: `keys[1].name`: `a` is the name of an earlier one",
            "fix: give each its own name",
        ],
    );
    check_with_backend(
        "keys:\n- name: a\n  secret: ${EMPTY}",
        &[
            "m.yaml:3:3: `keys[0].sha256`: a key needs `sha256` or `secret`, and neither is set",
            "fix: add `secret: ${NAME}`, or `sha256:` with the hash of the key in hexadecimal",
        ],
    );
    check_with_backend(
        "keys:\n- name: a\n  secret: ${BROKEN}",
        &[
            "m.yaml:4:11: `keys[0].secret`: holds a line break or another control character",
            "fix: a header cannot carry it; keep it on one line",
        ],
    );
}

#[test]
fn backends() {
    check(
        "backends: []",
        &[
            "m.yaml:1:11: `backends`: there is no backend, so nothing could be answered",
            "fix: add `backends: [{name: local, url: \"http://127.0.0.1:8000\"}]`",
        ],
    );
    check_backend(
        "name: A b\nurl: http://a",
        &[
            "m.yaml:2:11: `backends[0].name`: has a character that a backend's name cannot have",
            "fix: use a-z, 0-9, `-`, `_` and `.`",
        ],
    );
    check_backend(
        "name: a",
        &[
            "m.yaml:2:5: `backends[0].url`: a backend needs `url` or `upstreams`, and neither is set",
            "fix: add `url:` with the address of the server",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nupstreams: [{url: 'http://b'}]",
        &[
            "m.yaml:4:16: `backends[0].upstreams`: a backend has either `url` or `upstreams`, not both",
            "fix: move the url into the list",
        ],
    );
    check_backend(
        "name: a\nupstreams: []",
        &[
            "m.yaml:3:16: `backends[0].upstreams`: is empty",
            "fix: add a `- url:` line",
        ],
    );
    check_backend(
        "name: a\nupstreams: [{weight: 0}]",
        &[
            "m.yaml:3:17: `backends[0].upstreams[0].url`: missing",
            "fix: add `url:`",
            "m.yaml:3:26: `backends[0].upstreams[0].weight`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check_backend(
        "name: a\nupstreams: [{url: 'http://b'}, {url: 'http://b/v1/'}]",
        &[
            "m.yaml:3:42: `backends[0].upstreams[1].url`: is the address of an earlier one",
            "fix: remove one, and use `weight` to send it more",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nkind: vlm",
        &[
            "m.yaml:4:11: `backends[0].kind`: `vlm` is not known here",
            "fix: did you mean `vllm`?",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nendpoints: [chat]",
        &[
            "m.yaml:4:17: `backends[0].endpoints[0]`: `chat` is not known here",
            "fix: write one of `chat_completions`, `completions`, `embeddings`, `responses`, `messages`, `moderations`, `rerank`, `score`, `tokenize`, `detokenize`, `audio`, `images`, `files`, `batches`",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nkind: gemini\nendpoints: [messages, embeddings]",
        &[
            "m.yaml:5:27: `backends[0].endpoints[1]`: kind gemini has no embeddings",
            "fix: remove it; chat_completions and messages are translated",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nkind: azure",
        &[
            "m.yaml:2:5: `backends[0].api_version`: missing; kind azure needs it",
            "fix: add the version of your deployment, such as `api_version: 2024-10-21`",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\napi_version: 2024-10-21",
        &[
            "m.yaml:4:18: `backends[0].api_version`: has no meaning for kind openai-compatible",
            "fix: remove it, or write `kind: azure`",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nca_file: ca.pem",
        &[
            "m.yaml:4:14: `backends[0].ca_file`: is never used: no upstream has an https URL",
            "fix: remove it, or write https in the URL",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\napi_key: ${BROKEN}",
        &[
            "m.yaml:4:14: `backends[0].api_key`: holds a line break or another control character",
            "fix: a header cannot carry it; keep it on one line",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nheaders: {Host: x, a b: x, x-a: x, X-A: x}",
        &[
            "m.yaml:4:21: `backends[0].headers`: `Host` is set by the gateway itself",
            "fix: remove it, or write another name",
            "m.yaml:4:29: `backends[0].headers`: `a b` is not the name of a header",
            "fix: remove it, or write another name",
            "m.yaml:4:45: `backends[0].headers`: `X-A` is set twice",
            "fix: remove it, or write another name",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\napi_key: k\nheaders: {Authorization: x}",
        &[
            "m.yaml:5:14: `backends[0].headers`: sets authorization, and so does `api_key`",
            "fix: keep one of the two",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nheaders: sk",
        &[
            "m.yaml:4:14: `backends[0].headers`: expected a mapping, found `sk`",
            "fix: write `name: value` lines below it",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nconcurrency: {limit: 0}\ntimeouts: {idle: 0s}",
        &[
            "m.yaml:4:26: `backends[0].concurrency.limit`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
            "m.yaml:5:22: `backends[0].timeouts.idle`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nhealth: {path: health, interval: 0s}",
        &[
            "m.yaml:4:20: `backends[0].health.path`: is not a path",
            "fix: write it like `/health`",
            "m.yaml:4:38: `backends[0].health.interval`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\nbreaker: {failures: 0}\ncapabilities: {n: 1}",
        &[
            "m.yaml:4:25: `backends[0].breaker.failures`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
            "m.yaml:5:23: `backends[0].capabilities.n`: expected true or false, found `1`",
            "fix: write `true` or `false`",
        ],
    );
    check(
        "backends: [{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]",
        &[
            "m.yaml:1:47: `backends[1].name`: `a` is the name of an earlier one",
            "fix: give each its own name",
        ],
    );
}

#[test]
fn workers() {
    const KEY: &str = "c9860d5d67f67bb1edc55175a6844b24c3df8f67f2824c4cebbae007b2f1d082";
    let one = format!("{{name: box, key_sha256: {KEY}}}");
    check_backend(
        "name: a\nworkers: []",
        &[
            "m.yaml:3:14: `backends[0].workers`: is empty",
            "fix: name a worker, or write `url:` with the address of a server",
        ],
    );
    check_backend(
        &format!("name: a\nurl: http://a\nworkers: [{{name: box, key_sha256: {KEY}, address: 'b:1'}}]"),
        &[
            "m.yaml:4:14: `backends[0].workers`: a backend has either addresses or workers, not both",
            "fix: make two backends of it, and route the model to both",
        ],
    );
    check_backend(
        &format!("name: a\nkind: openai\napi_key: sk\nworkers: [{{name: box, key_sha256: {KEY}, address: 'b:1'}}]"),
        &[
            "m.yaml:3:11: `backends[0].kind`: openai is a provider and runs on no worker",
            "fix: write what the workers run: vllm, sglang, llamacpp, ollama, tgi or openai-compatible",
            "m.yaml:4:14: `backends[0].api_key`: no credential is ever sent to a worker",
            "fix: remove it, and give the worker the key of its engine: mulberry worker --engine-key",
        ],
    );
    check_backend(
        "name: a\nworkers: [{name: A b, key_sha256: abc, address: 'http://b:1', weight: 0}]",
        &[
            "m.yaml:3:15: `backends[0].workers[0]`: could not connect: there is no `worker_listen`",
            "fix: add `worker_listen: 0.0.0.0:8444`, or its `address` where it listens itself",
            "m.yaml:3:22: `backends[0].workers[0].name`: has a character that a worker's name cannot have",
            "fix: use a-z, 0-9, `-`, `_` and `.`",
            "m.yaml:3:39: `backends[0].workers[0].key_sha256`: `abc` is not a SHA-256 digest: 64 hexadecimal digits",
            "fix: write what `mulberry worker key` prints on the worker's machine, or the SHA-256 of its token",
            "m.yaml:3:53: `backends[0].workers[0].address`: `http://b:1` is not a host and a port",
            "fix: write it like `gpu-1.example:8444`",
            "m.yaml:3:75: `backends[0].workers[0].weight`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check(
        &format!("backends: [{{name: a, workers: [{one}]}}]"),
        &[
            "m.yaml:1:32: `backends[0].workers[0]`: could not connect: there is no `worker_listen`",
            "fix: add `worker_listen: 0.0.0.0:8444`, or its `address` where it listens itself",
        ],
    );
    check(
        &format!(
            "worker_listen: 127.0.0.1:9090\nbackends: [{{name: a, workers: [{one}, {{name: box, key_sha256: '{}'}}]}}]",
            KEY.to_uppercase()
        ),
        &[
            "m.yaml:1:16: `worker_listen`: 127.0.0.1:9090 takes the port of `admin_listen`",
            "fix: use another port, or write `worker_listen: null`",
            "m.yaml:2:123: `backends[0].workers[1]`: has the key or token of an earlier one",
            "fix: give each machine a key or a token of its own: a key is made when a worker is first started",
            "m.yaml:2:130: `backends[0].workers[1].name`: `box` is the name of an earlier one",
            "fix: give each its own name",
        ],
    );
    check_backend(
        &format!(
            "name: a\nworkers: [{{name: box, key_sha256: {KEY}, min_tier: tee, address: 'b:1'}}, {{name: c, address: 'b:2'}}]"
        ),
        &[
            "m.yaml:3:115: `backends[0].workers[0].min_tier`: no key proves a machine, so that this worker could never serve",
            "fix: remove it, or name the worker by `join_token_sha256`",
            "m.yaml:3:137: `backends[0].workers[1].key_sha256`: missing",
            "fix: write what `mulberry worker key` prints on the worker's machine, or `join_token_sha256` for a TDX guest",
        ],
    );
    check(
        &format!(
            "worker_listen: 127.0.0.1:1\nbackends: [{{name: a, workers: [{{name: t, join_token_sha256: {KEY}}}], enrolment: {{places: 0}}}}]"
        ),
        &[
            "m.yaml:2:32: `backends[0].workers[0]`: could prove nothing: there is no policy",
            "fix: set `attestation.policy`: mulberry attest policy init; or say `min_tier: open`",
            "m.yaml:2:140: `backends[0].enrolment`: can be taken by nobody: enrolment is closed",
            "fix: set `attestation.enrolment: attested`, or remove the places",
            "m.yaml:2:149: `backends[0].enrolment.places`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check(
        "attestation: {enrolment: attested, collateral: [ftp://x], evidence: sev, certificate_life: 25h}\nbackends: [{name: a, url: 'http://a', enrolment: {places: 1}}]",
        &[
            "m.yaml:1:26: `attestation.enrolment`: accepts evidence by no policy",
            "fix: name a policy: mulberry attest policy init",
            "m.yaml:1:49: `attestation.collateral[0]`: `ftp://x` is no source of collateral",
            "fix: the scheme must be http or https; or write `intel` or `bundle:FOLDER`",
            "m.yaml:1:69: `attestation.evidence`: `sev` makes no evidence",
            "fix: write `none`, or `tdx` in a TDX guest",
            "m.yaml:1:92: `attestation.certificate_life`: is no time that a certificate may hold",
            "fix: write a time from 1m to 24h",
            "m.yaml:2:50: `backends[0].enrolment`: is for a backend of workers",
            "fix: add `workers: []`, and route the addresses apart",
            "m.yaml:2:50: `backends[0].enrolment`: can be taken by nobody: there is no `worker_listen`",
            "fix: add `worker_listen: 0.0.0.0:8444`",
        ],
    );
    check(
        "attestation: {enrolment: open}\nworkers: {pay: {wallet_file: w, max_price: {prompt: 1, completion: 1}}}\nbackends: [{name: a, url: 'http://a'}]",
        &[
            "m.yaml:2:44: `workers.pay.max_price`: lets workers that enrol themselves ask any price",
            "fix: write `prompt`, `completion` and `request`, each below what clients pay",
        ],
    );
    check(
        &format!("data_dir: null\nworker_listen: 127.0.0.1:1\nbackends: [{{name: a, workers: [{one}]}}]"),
        &[
            "m.yaml:3:32: `backends[0].workers[0]`: needs a key of the gateway, which could be kept nowhere",
            "fix: set `data_dir`",
        ],
    );
}

#[test]
fn urls() {
    for (url, fault) in [
        ("localhost:8000", "the scheme is missing"),
        ("ftp://a", "the scheme must be http or https"),
        ("http://", "this is not a URL"),
        ("http://a b", "this is not a URL"),
        ("http://a:99999", "the port must be a number from 1 to 65535"),
        ("http://a:", "the port must be a number from 1 to 65535"),
    ] {
        check_backend(
            &format!("name: a\nurl: '{url}'"),
            &[
                &format!("m.yaml:3:10: `backends[0].url`: `{url}`: {fault}"),
                "fix: write it like `http://127.0.0.1:8000` or `https://api.example.com/v1`",
            ],
        );
    }
    check_backend(
        "name: a\nurl: https://user:sk-hidden@a",
        &[
            "m.yaml:3:10: `backends[0].url`: has credentials before the host",
            "fix: remove what stands before the `@`, and use `api_key:` or `headers:`",
        ],
    );
    check_backend(
        "name: a\nurl: https://a/?key=sk-hidden",
        &[
            "m.yaml:3:10: `backends[0].url`: has a query or a fragment, which a base URL has not",
            "fix: remove what stands from the `?` or `#` on, and use `api_key:` or `headers:` for a key",
        ],
    );
}

#[test]
fn models() {
    check_with_backend(
        "models: [{name: m, routes: [{backend: b}]}]",
        &[
            "m.yaml:2:39: `models[0].routes[0].backend`: no such backend: `b`",
            "fix: add it to `backends`",
        ],
    );
    check_with_backend(
        "models: [{name: m, routes: [{backend: local}, {weight: 0}]}]",
        &[
            "m.yaml:2:39: `models[0].routes[0].backend`: no such backend: `local`",
            "fix: add it to `backends`",
            "m.yaml:2:47: `models[0].routes[1].backend`: missing",
            "fix: add `backend:`",
            "m.yaml:2:56: `models[0].routes[1].weight`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check_with_backend(
        "models: [{name: 'a*b', aliases: ['c*']}]",
        &[
            "m.yaml:2:10: `models[0].routes`: a model needs a route",
            "fix: add `routes: [{backend: NAME}]`",
            "m.yaml:2:17: `models[0].name`: `a*b` has a `*` that is not its last character",
            "fix: write a name, or the beginning of names and one `*`",
            "m.yaml:2:34: `models[0].aliases[0]`: an alias has no `*`",
            "fix: write the pattern as the `name` of a model of its own",
        ],
    );
    let routes = "routes: [{backend: a}]";
    check_with_backend(
        &format!("models:\n- {{name: m, aliases: [n, m], {routes}}}\n- {{name: n, {routes}}}"),
        &[
            "m.yaml:3:26: `models[0].aliases[1]`: `m` is already a name or alias",
            "fix: give each its own name",
            "m.yaml:4:10: `models[1].name`: `n` is already a name or alias",
            "fix: give each its own name",
        ],
    );
    check_with_backend(
        &format!("models: [{{name: model, fallbacks: [modle, other], {routes}}}]"),
        &[
            "m.yaml:2:36: `models[0].fallbacks[0]`: no such model: `modle`",
            "fix: did you mean `model`?",
            "m.yaml:2:43: `models[0].fallbacks[1]`: no such model: `other`",
            "fix: add it to `models`",
        ],
    );
    check_with_backend(
        &format!("models: [{{name: m, fallbacks: [m], {routes}}}]"),
        &[
            "m.yaml:2:31: `models[0].fallbacks`: fall back in a circle: m -> m",
            "fix: remove one of them",
        ],
    );
    check_with_backend(
        &format!(
            "models:\n- {{name: m, fallbacks: [n2], {routes}}}\n- {{name: n, aliases: [n2], fallbacks: [o-1], {routes}}}\n- {{name: 'o-*', fallbacks: [m], {routes}}}"
        ),
        &[
            "m.yaml:3:24: `models[0].fallbacks`: fall back in a circle: m -> n -> o-* -> m",
            "fix: remove one of them",
        ],
    );
    check_with_backend(
        "models: [{name: m, routes: [{backend: a, model: 'x*'}]}]",
        &[
            "m.yaml:2:49: `models[0].routes[0].model`: the name that a backend knows has no `*`",
            "fix: leave it out to send the name that the client sent",
        ],
    );
    check_with_backend(
        "models: [{name: 'x/*', routes: [{backend: a, model: 'y/*'}, {backend: a, model: 'a*b'}]}]",
        &[
            "m.yaml:2:81: `models[0].routes[1].model`: `a*b` has a `*` that is not its last character",
            "fix: write a name, or the beginning of names and one `*`",
        ],
    );
}

#[test]
fn listeners_and_files() {
    check_with_backend(
        "listen: 0.0.0.0:80\ndata_dir: null",
        &[
            "m.yaml:2:9: `listen`: 0.0.0.0:80 can be reached from other machines, and there can be no keys, so anyone could use the backends",
            "fix: add `keys:`, set `data_dir` and make keys with `mulberry key create`, or listen on 127.0.0.1:80",
        ],
    );
    check_with_backend(
        "listen: '[::]:9090'\nkeys: [{name: a, secret: b}]",
        &[
            "m.yaml:1:1: `admin_listen`: 127.0.0.1:9090 takes the port of `listen`",
            "fix: use another port, or write `admin_listen: null`",
        ],
    );
    check_with_backend(
        "admin_listen: 127.0.0.1:8080",
        &[
            "m.yaml:2:15: `admin_listen`: 127.0.0.1:8080 takes the port of `listen`",
            "fix: use another port, or write `admin_listen: null`",
        ],
    );
    check_with_backend(
        "tls: {certificate: c.pem}",
        &[
            "m.yaml:2:6: `tls.key`: missing",
            "fix: add `key:`",
            "m.yaml:2:20: `tls.certificate`: no such file: `c.pem`",
            "fix: check the path; a relative one starts at the working directory",
        ],
    );
    let env = environment().file("c.pem", "");
    check_in(
        &env,
        &format!("{B}tls: {{certificate: c.pem, key: k.pem}}"),
        &[
            "m.yaml:2:32: `tls.key`: no such file: `k.pem`",
            "fix: check the path; a relative one starts at the working directory",
        ],
    );
}
