//! What is converted says the same.

use std::path::Path;

use super::Fake;
use super::accepted::{B, FULL, config_in, full_environment};
use crate::config::{Config, Format, convert};

const FORMATS: [(Format, &str); 3] = [
    (Format::Yaml, "m.yaml"),
    (Format::Json, "m.json"),
    (Format::Toml, "m.toml"),
];

#[track_caller]
fn converted(text: &str, name: &str, to: Format) -> String {
    match convert(text, name, to, &full_environment()) {
        Ok(text) => text,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_format_becomes_every_other() {
    let env = full_environment();
    let expect = config_in(&env, FULL);
    for (middle, name) in FORMATS {
        let first = converted(FULL, "m.yaml", middle);
        // References stay, and so does what was written as it is.
        assert!(
            first.contains("${SECRET}") && first.contains("${file:/run/secret}"),
            "{first}"
        );
        assert!(
            first.contains("sk-hidden-3") && !first.contains("sk-hidden-1"),
            "{first}"
        );
        assert_eq!(Config::parse(&first, name, &env).as_ref(), Ok(&expect), "{first}");
        for (to, last) in FORMATS {
            let second = converted(&first, name, to);
            assert_eq!(Config::parse(&second, last, &env).as_ref(), Ok(&expect), "{second}");
        }
    }
}

#[test]
fn the_texts_are_those_that_people_write() {
    let yaml = "# lost\nlisten: ${LISTEN:-127.0.0.1:1}\nadmin_listen: ~\nlimits: {body: 1MiB, concurrency: 5}\nbackends:\n  - {name: a, url: 'http://a', headers: {x-a: \"quo\\\"te\\n\"}, timeouts: {idle: 1s}}\n";
    assert_eq!(
        converted(yaml, "m.yaml", Format::Toml),
        "listen = \"${LISTEN:-127.0.0.1:1}\"\nadmin_listen = \"null\"\n\n[limits]\nbody = \"1MiB\"\nconcurrency = 5\n\n[[backends]]\nname = \"a\"\nurl = \"http://a\"\n\n[backends.headers]\nx-a = \"quo\\\"te\\n\"\n\n[backends.timeouts]\nidle = \"1s\"\n"
    );
    assert_eq!(
        converted(yaml, "m.yaml", Format::Json),
        "{\n  \"listen\": \"${LISTEN:-127.0.0.1:1}\",\n  \"admin_listen\": null,\n  \"limits\": {\n    \"body\": \"1MiB\",\n    \"concurrency\": 5\n  },\n  \"backends\": [\n    {\n      \"name\": \"a\",\n      \"url\": \"http://a\",\n      \"headers\": {\n        \"x-a\": \"quo\\\"te\\n\"\n      },\n      \"timeouts\": {\n        \"idle\": \"1s\"\n      }\n    }\n  ]\n}\n"
    );
    assert_eq!(
        converted(yaml, "m.yaml", Format::Yaml),
        "listen: ${LISTEN:-127.0.0.1:1}\nadmin_listen: null\nlimits:\n  body: \"1MiB\"\n  concurrency: 5\nbackends:\n  - name: a\n    url: \"http://a\"\n    headers:\n      x-a: \"quo\\\"te\\u000a\"\n    timeouts:\n      idle: \"1s\"\n"
    );
}

#[test]
fn values_survive_that_look_like_others() {
    let tags = "tags: {a: 'null', b: '5', c: 5, d: 'true', e: '', f: '${x', g: \"\\u007f\\u2028\\t\", h: 0x10, 'i.j k': x, '': y, k: 007, l: 1e3, m: -0.50}";
    // Refused as a configuration, for what is in it, and yet carried over value by value.
    let yaml = format!("keys: [{{name: k, secret: s, {tags}}}]");
    for (format, name) in FORMATS {
        let first = match convert(&yaml, "m.yaml", format, &full_environment()) {
            Ok(text) => text,
            Err(error) => {
                assert_eq!(format, Format::Toml);
                assert!(error.to_string().contains("`keys[0].tags.a`"), "{error}");
                converted(&yaml.replace("'null'", "nil"), "m.yaml", format)
            }
        };
        // Refuses by itself what does not say the same.
        converted(&first, name, Format::Json);
        converted(&first, name, Format::Yaml);
    }
}

#[test]
fn what_cannot_be_read_is_not_converted() {
    let error = convert("a: [", "m.yaml", Format::Json, &Fake::default()).expect_err("not YAML");
    assert!(
        error
            .to_string()
            .starts_with("m.yaml: 1 problem\n  m.yaml:2:1: not valid YAML"),
        "{error}"
    );
    let error = convert("a: 1\na: 2", "m.yaml", Format::Json, &Fake::default()).expect_err("twice");
    assert!(error.to_string().contains("`a`: set twice"), "{error}");
    let error = convert("{\"a\": tru", "m.json", Format::Toml, &Fake::default()).expect_err("cut");
    assert!(error.to_string().contains("not valid JSON"), "{error}");
}

#[test]
fn what_is_printed_is_the_same_in_every_format() {
    let config = config_in(&Fake::default(), B);
    for (format, name) in FORMATS {
        let printed = config.normalised_as(format);
        let again = Config::parse(&printed, name, &Fake::default());
        assert_eq!(again.as_ref(), Ok(&config), "{printed}");
    }
    let full = config_in(&full_environment(), FULL);
    for (format, _) in FORMATS {
        let printed = full.normalised_as(format);
        assert!(!printed.contains("sk-hidden") && printed.contains("***"), "{printed}");
    }
}

#[test]
fn the_format_is_said_by_the_name() {
    for (format, name) in FORMATS {
        assert_eq!(Format::named(Path::new(name)), Some(format));
    }
    assert_eq!(Format::named(Path::new("a/m.yml")), Some(Format::Yaml));
    assert_eq!(Format::named(Path::new("toml")), None);
    assert_eq!(Format::of(Path::new("mulberry.conf")), Format::Yaml);
}
