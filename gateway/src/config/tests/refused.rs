//! What is refused, and the exact words.

mod governed;
mod money;
mod sections;

use super::Fake;
use crate::config::Config;

/// The text that no message may ever contain; the tests put it wherever a secret could be.
const SECRET: &str = "sk-hidden";

fn environment() -> Fake {
    Fake::default()
        .file("ca.pem", "")
        .variable("SECRET", SECRET)
        .variable("EMPTY", "")
        .variable("BROKEN", "sk-hidden\nx")
}

/// `expect` is the whole message after its first line, without the indentation.
#[track_caller]
fn check(yaml: &str, expect: &[&str]) {
    check_in(&environment(), yaml, expect);
}

#[track_caller]
fn check_in(env: &Fake, yaml: &str, expect: &[&str]) {
    let error = Config::parse(yaml, "m.yaml", env)
        .expect_err("this file has a mistake")
        .to_string();
    let lines: Vec<&str> = error.lines().skip(1).map(str::trim_start).collect();
    assert_eq!(lines, expect, "{yaml}");
    assert!(!error.contains(SECRET), "{error}");
}

const B: &str = "backends: [{name: a, url: 'http://a'}]\n";

/// The same below one good backend, which is line 1.
#[track_caller]
fn check_with_backend(yaml: &str, expect: &[&str]) {
    check(&format!("{B}{yaml}"), expect);
}

/// The fields of one backend, which begin at line 2, column 5.
#[track_caller]
fn check_backend(yaml: &str, expect: &[&str]) {
    check(&format!("backends:\n  - {}", yaml.replace('\n', "\n    ")), expect);
}

#[test]
fn shapes() {
    check(
        "",
        &[
            "m.yaml: `backends`: there is no backend, so nothing could be answered",
            "fix: add `backends: [{name: local, url: \"http://127.0.0.1:8000\"}]`",
        ],
    );
    check(
        "hello",
        &[
            "m.yaml:1:1: expected a mapping, found `hello`",
            "fix: write `name: value` lines below it",
        ],
    );
    check(
        "[1]",
        &[
            "m.yaml:1:1: expected a mapping, found a list",
            "fix: write `name: value` lines below it",
        ],
    );
    check(
        "listen: [",
        &[
            "m.yaml:2:1: not valid YAML: while parsing a node, did not find expected node content",
            "fix: check the indentation, quotes and brackets here and on the line before",
        ],
    );
    check(
        "backends: [{name: a, url: ${URL}}]",
        &[
            "m.yaml:1:28: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
            "fix: inside { } or [ ] quote a reference: \"${NAME}\"",
        ],
    );
    check_with_backend(
        "---\nlisten: 1",
        &[
            "m.yaml:2:1: a second document begins here",
            "fix: keep one document per file; remove the `---`",
        ],
    );
    check_with_backend(
        "listen: !secret x",
        &[
            "m.yaml:2:9: this YAML tag has no meaning here",
            "fix: remove the tag, or quote the text if it begins with `!`",
        ],
    );
    check_with_backend(
        "? [a]\n: b",
        &[
            "m.yaml:2:3: a key must be a single word",
            "fix: quote it if it begins with a special character; write `name: value`",
        ],
    );
    check_with_backend(
        "drain: {delay: 1s}\ndrain: {delay: 2s}",
        &["m.yaml:3:1: `drain`: set twice", "fix: keep one of the two"],
    );
    check_backend(
        "name: a\nurl: http://a\nurl: http://b",
        &["m.yaml:4:5: `backends[0].url`: set twice", "fix: keep one of the two"],
    );
    check_with_backend(
        "limits: 7",
        &[
            "m.yaml:2:9: `limits`: expected a mapping, found `7`",
            "fix: write `name: value` lines below it",
        ],
    );
    check_with_backend(
        "keys: {a: b}",
        &[
            "m.yaml:2:7: `keys`: expected a list, found a mapping",
            "fix: write each item on a line of its own that begins with `- `",
        ],
    );
}

#[test]
fn unknown_keys() {
    check_with_backend(
        "lisen: 127.0.0.1:1",
        &["m.yaml:2:1: `lisen`: unknown key", "fix: did you mean `listen`?"],
    );
    check_with_backend(
        "limits: {bdoy: 1MiB, colour: red}",
        &[
            "m.yaml:2:10: `limits.bdoy`: unknown key",
            "fix: did you mean `body`?",
            "m.yaml:2:22: `limits.colour`: unknown key",
            "fix: remove it; the keys here are `body`, `decompressed`, `upload`, `concurrency`, `header_read`, `keep_alive`, `body_read`, `body_write`, `connections`, `sse_line`, `response`",
        ],
    );
    check_backend(
        "name: a\nbase_url: http://a",
        &[
            "m.yaml:2:5: `backends[0].url`: a backend needs `url` or `upstreams`, and neither is set",
            "fix: add `url:` with the address of the server",
            "m.yaml:3:5: `backends[0].base_url`: unknown key",
            "fix: did you mean `url`?",
        ],
    );
}

#[test]
fn scalars() {
    check_with_backend(
        "listen: 8080",
        &[
            "m.yaml:2:9: `listen`: expected an IP address and a port, found `8080`",
            "fix: write `127.0.0.1:8080`, or `0.0.0.0:8080` for every interface",
        ],
    );
    check_with_backend(
        "listen: localhost:8080",
        &[
            "m.yaml:2:9: `listen`: expected an IP address and a port, found `localhost:8080`",
            "fix: write `127.0.0.1:8080`, or `0.0.0.0:8080` for every interface",
        ],
    );
    check_with_backend(
        "admin_listen: example.com:1",
        &[
            "m.yaml:2:15: `admin_listen`: expected an IP address and a port, found `example.com:1`",
            "fix: write it like `127.0.0.1:8080` or `[::1]:8080`",
        ],
    );
    check_with_backend(
        "listen: [a]",
        &[
            "m.yaml:2:9: `listen`: expected an address, found a list",
            "fix: write a single value",
        ],
    );
    check_with_backend(
        "drain: {delay: 5}",
        &[
            "m.yaml:2:16: `drain.delay`: expected a duration, found `5`",
            "fix: write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`",
        ],
    );
    check_with_backend(
        "drain: {timeout: 9000000h}",
        &[
            "m.yaml:2:18: `drain.timeout`: expected a duration, found `9000000h`",
            "fix: write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`",
        ],
    );
    check_with_backend(
        "limits: {body: 32MB, upload: 0, sse_line: 99999999999GiB}",
        &[
            "m.yaml:2:16: `limits.body`: expected a size above zero, found `32MB`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
            "m.yaml:2:30: `limits.upload`: expected a size above zero, found `0`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
            "m.yaml:2:43: `limits.sse_line`: expected a size above zero, found `99999999999GiB`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
        ],
    );
    check_with_backend(
        "limits: {concurrency: -1, connections: 0, header_read: 0s}",
        &[
            "m.yaml:2:23: `limits.concurrency`: expected a whole number, found `-1`",
            "fix: write a number from 0 to 4294967295",
            "m.yaml:2:40: `limits.connections`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
            "m.yaml:2:56: `limits.header_read`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
        ],
    );
    check_with_backend(
        "retry: {attempts: 0, budget_percent: 101}",
        &[
            "m.yaml:2:19: `retry.attempts`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
            "m.yaml:2:38: `retry.budget_percent`: is more than 100",
            "fix: write a number from 0 to 100",
        ],
    );
    check_with_backend(
        "log: {level: debgu, format: xml}",
        &[
            "m.yaml:2:14: `log.level`: `debgu` is not known here",
            "fix: did you mean `debug`?",
            "m.yaml:2:29: `log.format`: `xml` is not known here",
            "fix: write one of `text`, `json`",
        ],
    );
    check_with_backend(
        "data_dir: ''",
        &[
            "m.yaml:2:11: `data_dir`: is empty",
            "fix: leave it out, or give it a value",
        ],
    );
    check_with_backend(
        "cors: {}",
        &["m.yaml:2:7: `cors.origins`: missing", "fix: add `origins:`"],
    );
    check_with_backend(
        "cors: {origins: ['https://a/']}",
        &[
            "m.yaml:2:18: `cors.origins[0]`: `https://a/` is not an origin",
            "fix: write a scheme, a host and perhaps a port, and no `/` after it: `https://app.example`; or `*`",
        ],
    );
}

#[test]
fn references() {
    check_with_backend(
        "data_dir: ${MISSING}",
        &[
            "m.yaml:2:11: `data_dir`: the environment variable MISSING is not set",
            "fix: set MISSING, or write `${MISSING:-default}`",
        ],
    );
    check_with_backend(
        "data_dir: ${SECRET",
        &[
            "m.yaml:2:11: `data_dir`: a `${` is never closed",
            "fix: close it with `}`, or write `$${` for a literal `${`",
        ],
    );
    check_with_backend(
        "data_dir: ${a-b}",
        &[
            "m.yaml:2:11: `data_dir`: what stands in `${…}` is not the name of a variable",
            "fix: write `${NAME}`, `${NAME:-default}` or `${file:PATH}`",
        ],
    );
    check_with_backend(
        "data_dir: ${file:/run/missing}",
        &[
            "m.yaml:2:11: `data_dir`: cannot read the file `/run/missing`: entity not found",
            "fix: check the path (a relative one starts at the working directory) and its permissions",
        ],
    );
    // What came from outside is never quoted, wherever it was put by mistake.
    for key in ["listen", "admin_listen", "limits", "keys", "cors"] {
        let error = Config::parse(&format!("{B}{key}: ${{SECRET}}"), "m.yaml", &environment());
        let error = error.expect_err("a word is none of these").to_string();
        assert!(
            error.contains("the value from outside this file") || key == "keys",
            "{error}"
        );
        assert!(!error.contains(SECRET), "{error}");
    }
}

/// A key that was pasted, or read, where its name or path belongs.
#[test]
fn a_misplaced_secret_is_not_quoted() {
    let env = environment().file("c.pem", "");
    check_in(
        &env,
        &format!("{B}tls:\n  certificate: c.pem\n  key: ${{SECRET}}"),
        &[
            "m.yaml:4:8: `tls.key`: no such file: the value from outside this file",
            "fix: check the path; a relative one starts at the working directory",
        ],
    );
    check_in(
        &env,
        &format!(
            "{B}models:\n- name: m\n  aliases: ['${{SECRET}}', '${{SECRET}}']\n  fallbacks: ['${{SECRET}}x']\n  routes: [{{backend: '${{SECRET}}'}}]"
        ),
        &[
            "m.yaml:4:26: `models[0].aliases[1]`: the value from outside this file is already a name or alias",
            "fix: give each its own name",
            "m.yaml:5:15: `models[0].fallbacks[0]`: no such model: the value from outside this file",
            "fix: add it to `models`",
            "m.yaml:6:22: `models[0].routes[0].backend`: no such backend: the value from outside this file",
            "fix: add it to `backends`",
        ],
    );
    check_in(
        &env,
        &format!("{B}keys:\n- name: a\n  secret: b\n  models: ['*${{SECRET}}']\n- name: a\n  secret: b"),
        &[
            "m.yaml:5:12: `keys[0].models[0]`: the value from outside this file has a `*` that is not its last character",
            "fix: write a name, or the beginning of names and one `*`",
            "m.yaml:6:3: `keys[1]`: is the same API key as that of `a`",
            "fix: give each client a key of its own",
            "m.yaml:6:9: `keys[1].name`: `a` is the name of an earlier one",
            "fix: give each its own name",
        ],
    );
}

#[test]
fn overrides() {
    let env = environment()
        .variable("MULBERRY_LISTEN", "sk-hidden")
        .variable("MULBERRY_LIMITS__BDOY", "1")
        .variable("MULBERRY_LOG", "debug")
        .variable("MULBERRY_DATA_DIR__X", "1")
        .variable("MULBERRY_BACKENDS__7__URL", "http://b");
    check_in(
        &env,
        &format!("{B}data_dir: x"),
        &[
            "environment variable MULBERRY_BACKENDS__7__URL: `backends`: `7` is not an index of this list",
            "fix: use an index from 0 to 1",
            "environment variable MULBERRY_DATA_DIR__X: `data_dir`: is a single value, so it has no key `x`",
            "fix: set MULBERRY_DATA_DIR itself",
            "environment variable MULBERRY_LIMITS__BDOY: `limits.bdoy`: unknown key",
            "fix: did you mean `body`?",
            "--listen or MULBERRY_LISTEN: `listen`: expected an IP address and a port, found the value from outside this file",
            "fix: write it like `127.0.0.1:8080` or `[::1]:8080`",
            "environment variable MULBERRY_LOG: `log`: expected a mapping, found the value from outside this file",
            "fix: set its keys one by one: MULBERRY_LOG__KEY",
        ],
    );
    // The value is one scalar, whatever is in it.
    let env = environment().variable("MULBERRY_BACKENDS", "[{name: a, url: 'http://a'}]");
    check_in(
        &env,
        "",
        &[
            "environment variable MULBERRY_BACKENDS: `backends`: expected a list, found the value from outside this file",
            "fix: set its items one by one: MULBERRY_BACKENDS__0__KEY",
            "environment variable MULBERRY_BACKENDS: `backends`: there is no backend, so nothing could be answered",
            "fix: add `backends: [{name: local, url: \"http://127.0.0.1:8000\"}]`",
        ],
    );
}

#[test]
fn all_problems_are_told_together_in_the_order_of_the_file() {
    let yaml = "\
listen: 0.0.0.0:8080
data_dir: null
backends:
  - name: a
    knid: vllm
    url: http://a
models:
  - name: m
    routes: [{backend: b}]
";
    let error = Config::parse(yaml, "m.yaml", &environment());
    let told = "\
m.yaml: 3 problems
  m.yaml:1:9: `listen`: 0.0.0.0:8080 can be reached from other machines, and there can be no keys, so anyone could use the backends
    fix: add `keys:`, set `data_dir` and make keys with `mulberry key create`, or listen on 127.0.0.1:8080
  m.yaml:5:5: `backends[0].knid`: unknown key
    fix: did you mean `kind`?
  m.yaml:9:24: `models[0].routes[0].backend`: no such backend: `b`
    fix: add it to `backends`";
    assert_eq!(error.expect_err("three mistakes").to_string(), told);
}
