use super::*;

const HASH: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// One row of JSON, with a good token before its own fields.
fn one(fields: &str) -> Found {
    read(&format!(r#"[{{"token": "{HASH}", "key_alias": "alice"{fields}}}]"#)).expect("the shape is right")
}

fn grant(fields: &str) -> Grant {
    let mut found = one(fields);
    assert_eq!(found.skipped, [], "{fields}");
    found.keys.pop().expect("it is not skipped").grant
}

#[test]
fn a_whole_row_of_each_form_says_the_same() {
    let json = format!(
        r#"{{"keys": [{{"token": "{HASH}", "key_name": "sk-...oo", "key_alias": "alice", "spend": 1.5, "max_budget": null,
            "expires": "2027-01-01T00:00:00+00:00", "models": ["gpt-4o", "claude-*"], "aliases": {{}}, "blocked": true,
            "user_id": "u1", "team_id": "t1", "rpm_limit": 60, "tpm_limit": 1000, "max_parallel_requests": 4,
            "metadata": {{"env": "prod", "n": 3, "logging": [{{"secret": "x"}}]}}}}]}}"#
    );
    let csv = format!(
        "token,key_name,key_alias,spend,max_budget,expires,models,aliases,blocked,user_id,team_id,rpm_limit,tpm_limit,max_parallel_requests,metadata\r\n\
         {HASH},sk-...oo,alice,1.5,,2027-01-01 00:00:00,\"{{gpt-4o,\"\"claude-*\"\"}}\",{{}},t,u1,t1,60,1000,4,\"{{\"\"env\"\": \"\"prod\"\", \"\"n\"\": 3, \"\"logging\"\": [{{\"\"secret\"\": \"\"x\"\"}}]}}\"\r\n"
    );
    for text in [json, csv] {
        let found = read(&text).expect("the shape is right");
        assert_eq!((found.skipped, found.changed), (Vec::new(), Vec::new()), "{text}");
        let [key] = found.keys.as_slice() else {
            panic!("one key: {text}");
        };
        assert_eq!(key.name, "alice");
        assert_eq!(key.sha256, Sha256(*KeyHash::of("foo").as_bytes()));
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expect = Grant {
            owner: Some("u1".to_owned()),
            models: vec!["gpt-4o".to_owned(), "claude-*".to_owned()],
            min_tier: "open".to_owned(),
            requests_per_minute: Some(60),
            tokens_per_minute: Some(1000),
            concurrency: Some(4),
            expires_at_ms: Some(1_798_761_600_000),
            disabled: true,
            account: None,
            budget: Budget::default(),
            tags: vec![tag("env", "prod"), tag("n", "3"), tag("team", "t1")],
        };
        assert_eq!(key.grant, expect, "{text}");
        let dropped: Vec<_> = found.dropped.into_iter().collect();
        assert_eq!(dropped, [("metadata.logging".to_owned(), 1), ("spend".to_owned(), 1)]);
    }
}

#[test]
fn models_are_never_more_than_they_were() {
    assert_eq!(grant("").models, ["*"]);
    assert_eq!(grant(r#", "models": []"#).models, ["*"]);
    assert_eq!(grant(r#", "models": ["a", "all-proxy-models"]"#).models, ["*"]);
    for (models, left) in [
        (r#"["all-team-models"]"#, &[][..]),
        (r#"["no-default-models"]"#, &[]),
        (r#"["a", "b*c"]"#, &["a"]),
    ] {
        let found = one(&format!(r#", "models": {models}"#));
        assert_eq!(found.keys[0].grant.models, left, "{models}");
        assert_eq!(found.changed.len(), 1, "{models}");
    }
}

#[test]
fn limits_of_nothing_and_of_very_much() {
    let found = one(r#", "rpm_limit": 0"#);
    assert!(found.keys[0].grant.disabled && found.keys[0].grant.requests_per_minute.is_none());
    assert_eq!(found.changed.len(), 1);
    let found = one(r#", "tpm_limit": 9223372036854775807"#);
    assert_eq!(found.keys[0].grant.tokens_per_minute, Some(u32::MAX));
    assert_eq!(found.changed.len(), 1);
}

#[test]
fn what_cannot_be_read_is_left_out_and_told() {
    for (fields, why) in [
        (r#", "expires": "soon""#, "`expires`"),
        (r#", "expires": "2027-01-01T00:00:00+02:00""#, "`expires`"),
        (r#", "blocked": "perhaps""#, "`blocked`"),
        (r#", "rpm_limit": -1"#, "limits"),
        (r#", "rpm_limit": 1.5"#, "limits"),
        (r#", "models": "{a,\"b""#, "`models`"),
        (r#", "models": 7"#, "`models`"),
        (r#", "metadata": "{""#, "`metadata`"),
        (r#", "team_id": "litellm-dashboard""#, "dashboard"),
    ] {
        let found = one(fields);
        assert_eq!(found.keys.len(), 0, "{fields}");
        assert!(found.skipped[0].1.contains(why), "{fields}: {:?}", found.skipped);
    }
    let found = read(r#"[{"token": "not a hash", "key_alias": "a"}]"#).expect("the shape is right");
    assert!(found.skipped[0].1.contains("SHA-256"), "{:?}", found.skipped);
}

#[test]
fn names_come_from_aliases_or_are_numbered() {
    let row = |alias: &str, token: &str| format!(r#"{{"token": "{token}", "key_alias": {alias}}}"#);
    let text = format!(
        "[{}]",
        [
            row("null", "sk-one"),
            row("\"litellm-1\"", "sk-two"),
            row("\"team/bot\"", "sk-three"),
            row("\"bad\\nname\"", "sk-four")
        ]
        .join(",")
    );
    let found = read(&text).expect("the shape is right");
    let names: Vec<_> = found.keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["litellm-2", "litellm-1", "team-bot", "litellm-3"]);
    // A table that was never hashed.
    assert_eq!(found.keys[0].sha256, Sha256(*KeyHash::of("sk-one").as_bytes()));
}

#[test]
fn other_files_are_refused() {
    for text in [
        "",
        "hello",
        "{",
        "{}",
        "[1]",
        "{\"keys\": 7}",
        "token,models\nabc",
        "token\n\"open",
        "a,b\n1,2",
        "[{\"a\": 1}]",
    ] {
        let outcome = read(text);
        assert!(outcome.is_err(), "{text}: {outcome:?}");
    }
    assert!(read("[]").expect("a list of none").keys.is_empty());
    assert!(read("token,models\n").expect("a heading").keys.is_empty());
}

#[test]
fn budgets_become_those_of_a_day_a_month_or_what_is_left() {
    let units = |text: &str| Some(text.parse::<Nano>().expect("an amount"));
    let check = |fields: &str, expect: Budget, notes: usize| {
        let found = one(fields);
        assert_eq!(found.skipped, [], "{fields}");
        assert_eq!(found.keys[0].grant.budget, expect, "{fields}");
        assert_eq!(found.changed.len(), notes, "{fields}: {:?}", found.changed);
    };
    let none = Budget::default();
    check(r#", "max_budget": null, "spend": 3"#, none, 0);
    for daily in ["1d", "24h"] {
        let fields = format!(r#", "max_budget": 2.5, "budget_duration": "{daily}""#);
        check(
            &fields,
            Budget {
                day: units("2.5"),
                ..none
            },
            0,
        );
    }
    check(
        r#", "max_budget": "10", "budget_duration": "1mo", "spend": 4"#,
        Budget {
            month: units("10"),
            ..none
        },
        0,
    );
    check(
        r#", "max_budget": 10, "budget_duration": "30d""#,
        Budget {
            month: units("10"),
            ..none
        },
        1,
    );
    check(
        r#", "max_budget": 10, "budget_duration": "1h""#,
        Budget {
            day: units("10"),
            ..none
        },
        1,
    );
    check(
        r#", "max_budget": 10, "budget_duration": "90d""#,
        Budget {
            total: units("10"),
            ..none
        },
        1,
    );
    // What began only once: what is left of it, and a fraction of a billionth is not.
    check(
        r#", "max_budget": 10.0, "spend": 3.1000000000000005"#,
        Budget {
            total: units("6.900000000"),
            ..none
        },
        1,
    );
    check(
        r#", "max_budget": 1, "spend": 7"#,
        Budget {
            total: units("0"),
            ..none
        },
        1,
    );
    for bad in [
        r#", "max_budget": "much""#,
        r#", "max_budget": -1"#,
        r#", "max_budget": 1e30"#,
        r#", "max_budget": 1, "spend": [3]"#,
        r#", "max_budget": 1, "budget_duration": "soon""#,
        r#", "max_budget": 1, "budget_duration": "0d""#,
    ] {
        assert_eq!(one(bad).skipped.len(), 1, "{bad}");
    }
}
