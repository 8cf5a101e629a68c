//! TOML means what YAML means, and its mistakes are told as well.

use super::Fake;
use super::accepted::{FULL, config_in, full_environment};
use crate::config::Config;

const FULL_TOML: &str = include_str!("full.toml");
const B: &str = "[[backends]]\nname = 'a'\nurl = 'http://a'\n";

#[track_caller]
fn toml_in(env: &Fake, toml: &str) -> Config {
    match Config::parse(toml, "m.toml", env) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

/// `expect` is the whole message after its first line, without the indentation.
#[track_caller]
fn refuse(toml: &str, expect: &[&str]) {
    let error = Config::parse(toml, "m.toml", &full_environment()).expect_err("this file has a mistake");
    let error = error.to_string();
    let lines: Vec<&str> = error.lines().skip(1).map(str::trim_start).collect();
    assert_eq!(lines, expect, "{toml}");
}

#[test]
fn every_key_means_what_it_means_in_yaml() {
    let env = full_environment();
    assert_eq!(toml_in(&env, FULL_TOML), config_in(&env, FULL));
}

#[test]
fn a_day_and_a_time_need_no_quotes() {
    let key = |expires: &str| format!("{B}[[keys]]\nname = 'k'\nsecret = 's'\nexpires = {expires}\n");
    let expires = |text: &str| toml_in(&Fake::default(), &key(text)).keys[0].expires;
    assert_eq!(expires("2027-01-01"), expires("\"2027-01-01T00:00:00Z\""));
    assert_eq!(expires("2027-01-01 12:00:00Z"), expires("'2027-01-01T12:00:00Z'"));
    assert!(expires("2027-01-01").is_some());
    refuse(
        &key("2027-01-01T00:00:00"),
        &[
            "m.toml:7:11: `keys[0].expires`: expected a day or a time, found `2027-01-01T00:00:00`",
            "fix: write it like `2027-01-01` or `2027-01-01T12:00:00Z`",
        ],
    );
}

#[test]
fn the_text_null_turns_off_what_can_be_off() {
    let env = Fake::default().variable("EMPTY", "");
    let toml = format!("admin_listen = \"null\"\ndata_dir = \"${{NONE:-null}}\"\nlisten = \"${{EMPTY}}\"\n{B}");
    let config = toml_in(&env, &toml);
    assert_eq!((config.admin_listen, config.data_dir), (None, None));
    assert_eq!(config.listen.port(), 8080);
    let folder = toml_in(&env, &format!("data_dir = \"./null\"\n{B}")).data_dir;
    assert_eq!(folder.as_deref(), Some(std::path::Path::new("./null")));
    refuse(
        &format!("data_dir = \"\"\n{B}"),
        &[
            "m.toml:1:12: `data_dir`: is empty",
            "fix: leave it out, or give it a value",
        ],
    );
}

#[test]
fn references_and_variables_work_as_in_yaml() {
    let env = full_environment()
        .variable("MULBERRY_LIMITS__BODY", "8MiB")
        .variable("MULBERRY_BACKENDS__1__NAME", "c")
        .variable("MULBERRY_BACKENDS__1__URL", "http://c");
    let config = toml_in(
        &env,
        &format!("data_dir = '$${{x}}/${{NONE:-d}}'\n{B}api_key = '${{SECRET}}'\n"),
    );
    assert_eq!(config.data_dir.as_deref(), Some(std::path::Path::new("${x}/d")));
    assert_eq!(config.backends.len(), 2);
    assert_eq!(config.limits.body.as_usize(), 8 << 20);
    let key = config.backends[0].upstreams[0].api_key.as_ref();
    assert_eq!(key.map(|key| key.expose()), Some("sk-hidden-1"));
}

#[test]
fn problems_have_places_and_fixes_in_its_words() {
    refuse(
        &format!(
            "listen = 8080\nkeys = 5\n{B}\n  [drain]\n  delya = \"1s\"\n\n[limits]\nbody = '32MB'\n[tls]\nkey = 'key.pem'\n"
        ),
        &[
            "m.toml:1:10: `listen`: expected an IP address and a port, found `8080`",
            "fix: write `127.0.0.1:8080`, or `0.0.0.0:8080` for every interface",
            "m.toml:2:8: `keys`: expected a list, found `5`",
            "fix: write a list in brackets, or for each item a table with this name in double brackets",
            "m.toml:8:3: `drain.delya`: unknown key",
            "fix: did you mean `delay`?",
            "m.toml:11:8: `limits.body`: expected a size above zero, found `32MB`",
            "fix: write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`",
            "m.toml:12:1: `tls.certificate`: missing",
            "fix: add `certificate =`",
        ],
    );
    refuse(
        &format!("log = 'debug'\n'listenä' = 1\nreload = {{'ä' = 'ä', watch = 5}} # ä counts as one\n{B}"),
        &[
            "m.toml:1:7: `log`: expected a mapping, found `debug`",
            "fix: write a table with this name in brackets, and `name = value` lines below it",
            "m.toml:2:1: `listenä`: unknown key",
            "fix: did you mean `listen`?",
            "m.toml:3:11: `reload.ä`: unknown key",
            "fix: remove it; the keys here are `watch`",
            "m.toml:3:30: `reload.watch`: expected a duration, found `5`",
            "fix: write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`",
        ],
    );
    refuse(
        "[[backends]]\nname = 'a'\nurl = 'http://a'\n[[backends]]\nname = 'a'\nurl = 'sk'\nkind = 'vlm'",
        &[
            "m.toml:5:8: `backends[1].name`: `a` is the name of an earlier one",
            "fix: give each its own name",
            "m.toml:6:7: `backends[1].url`: `sk`: the scheme is missing",
            "fix: write it like `http://127.0.0.1:8000` or `https://api.example.com/v1`",
            "m.toml:7:8: `backends[1].kind`: `vlm` is not known here",
            "fix: did you mean `vllm`?",
        ],
    );
}

#[test]
fn every_mistake_of_the_syntax_is_told_and_nothing_is_quoted() {
    refuse(
        "listen = 127.0.0.1\nurl = sk-hidden-1\n[a\nb = 1",
        &[
            "m.toml:1:15: not valid TOML: invalid float",
            "fix: put text in quotes: name = \"value\"",
            "m.toml:2:7: not valid TOML: string values must be quoted, expected literal string",
            "fix: put text in quotes: name = \"value\"",
            "m.toml:3:3: not valid TOML: unclosed table, expected `]`",
            "fix: check the quotes, brackets and `=` here; text needs quotes, and each key stands on a line of its own",
        ],
    );
    refuse(
        "[drain]\ndelay = '1s'\n'delay' = '2s'\n[drain]\n",
        &[
            "m.toml:3:1: not valid TOML: duplicate key",
            "fix: keep one of the two",
            "m.toml:4:2: not valid TOML: duplicate key",
            "fix: keep one of the two",
        ],
    );
}

#[test]
fn what_is_too_deep_is_refused() {
    for depth in [64, 100_000] {
        let deep = format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        let error = Config::parse(&deep, "m.toml", &Fake::default()).expect_err("too deep");
        let error = error.to_string();
        assert!(
            error.contains("nested too deeply") || error.contains("recurs"),
            "{error}"
        );
    }
}

#[test]
fn no_text_makes_it_panic() {
    let env = full_environment();
    let mut refused = 0;
    // Every third is enough, and three times as fast.
    for (at, c) in FULL_TOML.char_indices().step_by(3) {
        let cut = &FULL_TOML[..at];
        let gone = format!("{cut}{}", &FULL_TOML[at + c.len_utf8()..]);
        for text in [cut, &gone] {
            if let Err(error) = Config::parse(text, "m.toml", &env) {
                refused += 1;
                assert!(!error.to_string().contains(" 0 problems"), "{text}");
                assert!(!error.to_string().contains("sk-hidden-1"), "{error}");
            }
        }
    }
    assert!(refused > 500, "{refused}");
}
