//! What the sections about who may do what refuse: limits of keys, issuers, administrators, prices, answers kept, traces.

use super::{B, check, check_backend, check_with_backend};

const ZERO: &str = "fix: leave it out for the default, or write a larger value";
const PATTERN: &str = "fix: write a name, or the beginning of names and one `*`";

/// The fields of one key, which begin at line 3, column 3.
#[track_caller]
fn check_key(yaml: &str, expect: &[&str]) {
    check(
        &format!("{B}keys:\n- name: k\n  secret: s\n  {}", yaml.replace('\n', "\n  ")),
        expect,
    );
}

/// The fields of one issuer, below those that it must have; they begin at line 5.
#[track_caller]
fn check_issuer(yaml: &str, expect: &[&str]) {
    let issuer = "oidc:\n- issuer: https://id.example\n  audience: m\n  ";
    check(&format!("{B}{issuer}{}", yaml.replace('\n', "\n  ")), expect);
}

#[test]
fn limits_of_a_key() {
    check_key(
        "limits: {requests_per_minute: 0, tokens_per_minute: 0, concurrency: 0}",
        &[
            "m.yaml:5:33: `keys[0].limits.requests_per_minute`: must not be zero",
            ZERO,
            "m.yaml:5:55: `keys[0].limits.tokens_per_minute`: must not be zero",
            ZERO,
            "m.yaml:5:71: `keys[0].limits.concurrency`: must not be zero",
            ZERO,
        ],
    );
    check_key(
        "limits: {rpm: 5, tokens_per_minute: 1.5, concurency: 1}",
        &[
            "m.yaml:5:12: `keys[0].limits.rpm`: unknown key",
            "fix: remove it; the keys here are `requests_per_minute`, `tokens_per_minute`, `concurrency`",
            "m.yaml:5:39: `keys[0].limits.tokens_per_minute`: expected a whole number, found `1.5`",
            "fix: write a number from 0 to 4294967295",
            "m.yaml:5:44: `keys[0].limits.concurency`: unknown key",
            "fix: did you mean `concurrency`?",
        ],
    );
    check_key(
        "limits: 60",
        &[
            "m.yaml:5:11: `keys[0].limits`: expected a mapping, found `60`",
            "fix: write `name: value` lines below it",
        ],
    );
}

#[test]
fn names_of_keys() {
    for name in ["'oidc:alice'", "a/b", "'..'", "\"a\\nb\"", "' a'"] {
        check(
            &format!("{B}keys: [{{name: {name}, secret: s}}]"),
            &[
                "m.yaml:2:15: `keys[0].name`: cannot be the name of a key",
                "fix: use up to 256 bytes without `/` and control characters, white space at no end, no `oidc:` in front, and neither `.` nor `..`",
            ],
        );
    }
}

#[test]
fn the_hash_of_nothing_and_secrets_that_two_have() {
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    check_with_backend(
        &format!("keys: [{{name: a, sha256: {nothing}}}]\nadmin: {{tokens: [{{name: a, sha256: {nothing}}}]}}"),
        &[
            "m.yaml:2:26: `keys[0].sha256`: is the hash of an empty text, which everybody has",
            "fix: hash the key itself; the variable that should have held it was empty",
            "m.yaml:3:36: `admin.tokens[0].sha256`: is the hash of an empty text, which everybody has",
            "fix: hash the key itself; the variable that should have held it was empty",
        ],
    );
    check_with_backend(
        "keys: [{name: k, secret: one}]\nadmin: {tokens: [{name: a, secret: two}, {name: b, secret: two}, {name: c, secret: one}]}",
        &[
            "m.yaml:3:42: `admin.tokens[1]`: is the same token as that of `a`",
            "fix: give each administrator a token of its own",
        ],
    );
}

#[test]
fn the_end_of_a_key() {
    for time in [
        "tomorrow",
        "2027-13-01",
        "2027-01-01T12:00:00",
        "2027-01-01T12:00:00+01:00",
        "01.01.2027",
        "1969-12-31",
    ] {
        check_key(
            &format!("expires: {time}"),
            &[
                &format!("m.yaml:5:12: `keys[0].expires`: expected a day or a time, found `{time}`"),
                "fix: write it like `2027-01-01` or `2027-01-01T12:00:00Z`",
            ],
        );
    }
}

#[test]
fn tags_owner_and_tier_of_a_key() {
    check_key(
        "tags: [a]",
        &[
            "m.yaml:5:9: `keys[0].tags`: expected a mapping, found a list",
            "fix: write `name: value` lines below it",
        ],
    );
    check_key(
        "tags: {team: [a], cost: ''}\nowner: {name: a}",
        &[
            "m.yaml:5:16: `keys[0].tags.team`: expected text, found a list",
            "fix: write a single value",
            "m.yaml:5:27: `keys[0].tags.cost`: is empty",
            "fix: leave it out, or give it a value",
            "m.yaml:6:10: `keys[0].owner`: expected text, found a mapping",
            "fix: write a single value",
        ],
    );
    check_key(
        "min_tier: tee+gpuu\ndisabled: 1",
        &[
            "m.yaml:5:13: `keys[0].min_tier`: `tee+gpuu` is not known here",
            "fix: did you mean `tee+gpu`?",
            "m.yaml:6:13: `keys[0].disabled`: expected true or false, found `1`",
            "fix: write `true` or `false`",
        ],
    );
    check_key(
        "min_tier: high",
        &[
            "m.yaml:5:13: `keys[0].min_tier`: `high` is not known here",
            "fix: write one of `open`, `tee`, `tee+gpu`",
        ],
    );
}

#[test]
fn issuers() {
    check_with_backend(
        "oidc: [{}]",
        &[
            "m.yaml:2:8: `oidc[0].issuer`: missing",
            "fix: add `issuer:`",
            "m.yaml:2:8: `oidc[0].audience`: missing",
            "fix: add `audience:`",
        ],
    );
    check_with_backend(
        "oidc: [{issuer: accounts, audience: m}]",
        &[
            "m.yaml:2:17: `oidc[0].issuer`: is not a URL, so its keys cannot be found",
            "fix: write the issuer's URL, or add `jwks_url` or `jwks_file`",
        ],
    );
    check_issuer(
        "jwks_url: https://id.example/keys\njwks_file: ca.pem",
        &[
            "m.yaml:6:14: `oidc[0].jwks_file`: is set, and so is `jwks_url`",
            "fix: keep one of the two",
        ],
    );
    check_issuer(
        "jwks_file: none.json\nleeway: 60",
        &[
            "m.yaml:5:14: `oidc[0].jwks_file`: no such file: `none.json`",
            "fix: check the path; a relative one starts at the working directory",
            "m.yaml:6:11: `oidc[0].leeway`: expected a duration, found `60`",
            "fix: write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`",
        ],
    );
    check_issuer(
        "jwks_url: https://user:sk-hidden@id.example/keys",
        &[
            "m.yaml:5:13: `oidc[0].jwks_url`: has credentials before the host",
            "fix: remove what stands before the `@`, and use `api_key:` or `headers:`",
        ],
    );
    check_issuer(
        "models: ['*a']\nlimits: {concurrency: 0}",
        &[
            "m.yaml:5:12: `oidc[0].models[0]`: `*a` has a `*` that is not its last character",
            PATTERN,
            "m.yaml:6:25: `oidc[0].limits.concurrency`: must not be zero",
            ZERO,
        ],
    );
    check_issuer(
        "rules:\n- {claim: groups}\n- {claim: groups, value: a, models: [a*b], min_tier: none, limits: {tokens: 1}}",
        &[
            "m.yaml:6:5: `oidc[0].rules[0].value`: missing",
            "fix: add `value:`",
            "m.yaml:7:40: `oidc[0].rules[1].models[0]`: `a*b` has a `*` that is not its last character",
            PATTERN,
            "m.yaml:7:56: `oidc[0].rules[1].min_tier`: `none` is not known here",
            "fix: write one of `open`, `tee`, `tee+gpu`",
            "m.yaml:7:71: `oidc[0].rules[1].limits.tokens`: unknown key",
            "fix: remove it; the keys here are `requests_per_minute`, `tokens_per_minute`, `concurrency`",
        ],
    );
}

#[test]
fn two_issuers_are_two() {
    check_with_backend(
        "oidc:\n- {issuer: 'https://a', audience: m}\n- {issuer: 'https://a', audience: n}",
        &[
            "m.yaml:4:12: `oidc[1].issuer`: `https://a` is the name of an earlier one",
            "fix: give each its own name",
        ],
    );
}

#[test]
fn administrators() {
    check_with_backend(
        "admin: {tokens: [{name: a}, {secret: b}, {name: a, secret: c, sha256: sk-hidden}]}",
        &[
            "m.yaml:2:18: `admin.tokens[0].sha256`: a token needs `sha256` or `secret`, and neither is set",
            "fix: add `secret: ${NAME}`, or `sha256:` with the hash of the token in hexadecimal",
            "m.yaml:2:29: `admin.tokens[1].name`: missing",
            "fix: add `name:`",
            "m.yaml:2:49: `admin.tokens[2].name`: `a` is the name of an earlier one",
            "fix: give each its own name",
            "m.yaml:2:60: `admin.tokens[2].secret`: a token has either `sha256` or `secret`, not both",
            "fix: keep one of the two",
            "m.yaml:2:71: `admin.tokens[2].sha256`: is not a SHA-256 hash: 64 hexadecimal digits",
            "fix: write the output of `printf %s \"$KEY\" | sha256sum`, or use `secret:` for the key itself",
        ],
    );
    check_with_backend(
        "admin: {token: sk-hidden}",
        &["m.yaml:2:9: `admin.token`: unknown key", "fix: did you mean `tokens`?"],
    );
}

#[test]
fn prices() {
    let price = |price: &str| format!("models: [{{name: m, routes: [{{backend: a}}], price: {price}}}]");
    for wrong in ["-1", "1e-3", "1.0000000001", ".5", "2.", "free", "1 USD", "18446744074"] {
        check_with_backend(
            &price(&format!("{{prompt: {wrong}}}")),
            &[
                &format!("m.yaml:2:60: `models[0].price.prompt`: expected an amount, found `{wrong}`"),
                "fix: write a number such as `2.50`, with at most nine digits after the point",
            ],
        );
    }
    for wrong in ["usd", "EURO", "$", "E1R"] {
        check_with_backend(
            &price(&format!("{{currency: {wrong}}}")),
            &[
                &format!("m.yaml:2:62: `models[0].price.currency`: `{wrong}` is not the code of a currency"),
                "fix: write three capital letters, such as `USD`, `EUR` or `TON`",
            ],
        );
    }
    check_with_backend(
        &price("{input: 1, completions: 2}"),
        &[
            "m.yaml:2:52: `models[0].price.input`: unknown key",
            "fix: remove it; the keys here are `currency`, `prompt`, `cached`, `completion`, `reasoning`, `request`, `minimum`, `fee`",
            "m.yaml:2:62: `models[0].price.completions`: unknown key",
            "fix: did you mean `completion`?",
        ],
    );
    check_with_backend(
        &price("2.50"),
        &[
            "m.yaml:2:51: `models[0].price`: expected a mapping, found `2.50`",
            "fix: write `name: value` lines below it",
        ],
    );
}

#[test]
fn answers_that_are_kept() {
    check_with_backend(
        "idempotency: {ttl: 0s, memory: 0, answer: 1MB, window: 1s}",
        &[
            "m.yaml:2:20: `idempotency.ttl`: must not be zero",
            ZERO,
            "m.yaml:2:32: `idempotency.memory`: expected a size above zero, found `0`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
            "m.yaml:2:43: `idempotency.answer`: expected a size above zero, found `1MB`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
            "m.yaml:2:48: `idempotency.window`: unknown key",
            "fix: remove it; the keys here are `ttl`, `memory`, `answer`",
        ],
    );
    check_with_backend(
        "idempotency: true",
        &[
            "m.yaml:2:14: `idempotency`: expected a mapping, found `true`",
            "fix: write `name: value` lines below it",
        ],
    );
}

#[test]
fn reading_again() {
    check_with_backend(
        "reload: {watch: 0s}",
        &["m.yaml:2:17: `reload.watch`: must not be zero", ZERO],
    );
    check_with_backend(
        "reload: {watch: true}",
        &[
            "m.yaml:2:17: `reload.watch`: expected a duration, found `true`",
            "fix: write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`",
        ],
    );
}

#[test]
fn traces() {
    check_with_backend(
        "telemetry: {otlp: {}}",
        &[
            "m.yaml:2:19: `telemetry.otlp.endpoint`: missing",
            "fix: add `endpoint:`",
        ],
    );
    check_with_backend(
        "telemetry: {service_name: '', otlp: {endpoint: 'grpc://a', sample_percent: 101, timeout: 0s, headers: {host: a}}}",
        &[
            "m.yaml:2:27: `telemetry.service_name`: is empty",
            "fix: leave it out, or give it a value",
            "m.yaml:2:48: `telemetry.otlp.endpoint`: `grpc://a`: the scheme must be http or https",
            "fix: write it like `http://127.0.0.1:8000` or `https://api.example.com/v1`",
            "m.yaml:2:76: `telemetry.otlp.sample_percent`: is more than 100",
            "fix: write a number from 0 to 100",
            "m.yaml:2:90: `telemetry.otlp.timeout`: must not be zero",
            ZERO,
            "m.yaml:2:110: `telemetry.otlp.headers`: `host` is set by the gateway itself",
            "fix: remove it, or write another name",
        ],
    );
    check_backend(
        "name: a\nurl: http://a\ntelemetry: {}",
        &[
            "m.yaml:4:5: `backends[0].telemetry`: unknown key",
            "fix: remove it; the keys here are `name`, `kind`, `url`, `upstreams`, `api_key`, `workers`, `enrolment`, `api_version`, `headers`, `endpoints`, `strategy`, `concurrency`, `timeouts`, `keep_alive`, `http`, `ca_file`, `health`, `breaker`, `capabilities`, `hidden_reasoning`",
        ],
    );
}

#[test]
fn the_admin_listener_needs_its_own_port() {
    check_with_backend(
        "listen: 0.0.0.0:9090\noidc: [{issuer: 'https://a', audience: m}]",
        &[
            "m.yaml:1:1: `admin_listen`: 127.0.0.1:9090 takes the port of `listen`",
            "fix: use another port, or write `admin_listen: null`",
        ],
    );
}
