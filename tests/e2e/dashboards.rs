//! The dashboard, the alert rules and the list of metrics in the documentation, against a running gateway: every
//! metric and label that they name exists there after traffic, and every metric there is documented.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::client::{chat, chat_stream, client, get, send};
use e2e::{Answer, World};
use serde_json::Value;

use crate::count;

/// What Prometheus itself adds to every series, and its own series.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];
const UP: &str = "up";

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let path = root.join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of `/metrics` after every kind of traffic.
async fn metrics() -> String {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "keys: [{{name: free, secret: sk-free}}, {{name: few, secret: sk-few, limits: {{requests_per_minute: 1}}}}]\n\
         backends: [{{name: only, url: '{}'}}]\nretry: {{attempts: 1}}\nmodels:\n\
         \x20 - {{name: small, routes: [{{backend: only, model: mock}}], price: {{prompt: 1, completion: 1}}}}\n\
         \x20 - {{name: 'fault/*', routes: [{{backend: only}}]}}\n",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let ask = |key: &'static str, body: String| {
        let request = client()
            .post(&url)
            .bearer_auth(key)
            .header("content-type", "application/json");
        async move { Answer::of(send(request.body(body)).await).await.status.as_u16() }
    };
    assert_eq!(ask("sk-free", chat("small")).await, 200);
    assert_eq!(ask("sk-free", chat_stream("small")).await, 200);
    assert_eq!(ask("sk-free", chat_stream("fault/clean-cut")).await, 200);
    assert_eq!(ask("sk-free", chat("fault/500")).await, 500);
    assert_eq!(ask("sk-wrong", chat("small")).await, 401);
    assert_eq!(ask("sk-few", chat("small")).await, 200);
    assert_eq!(ask("sk-few", chat("small")).await, 429);
    count::until(&gateway, "mulberry_refused_total{kind=\"requests\"}", 1).await;
    count::until(&gateway, "mulberry_upstream_time_seconds_count", 5).await;
    Answer::of(get(&format!("{}/metrics", gateway.admin_url())).await)
        .await
        .text()
}

/// The labels of each series' name, over all its series.
fn exposed(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let selector = line.rsplit_once(' ').map_or(line, |(selector, _)| selector);
        for selector in selectors(selector).selectors {
            exposed.entry(selector.metric).or_default().extend(selector.labels);
        }
    }
    exposed
}

/// A metric with the labels that an expression matches.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    metric: String,
    labels: Vec<String>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    selectors: Vec<Selector>,
    /// Labels that results are grouped by.
    groups: Vec<String>,
}

/// Reads PromQL as far as names go: a word before `(` is a function, unless labels follow it; others are metrics.
fn selectors(expression: &str) -> Named {
    const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    /// What stands between an aggregating function and its labels.
    const AGGREGATION: [&str; 2] = ["by", "without"];
    const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
    let mut named = Named::default();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = first_word(rest);
        if word.is_empty() {
            rest = match first {
                '"' => after_string(rest),
                '[' => rest.split_once(']').map_or("", |(_, rest)| rest),
                _ if first.is_ascii_digit() => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
                _ => &rest[first.len_utf8()..],
            };
            continue;
        }
        rest = rest[word.len()..].trim_start();
        if GROUPING.contains(&word) {
            let (labels, after) = rest
                .strip_prefix('(')
                .and_then(|rest| rest.split_once(')'))
                .unwrap_or_default();
            named
                .groups
                .extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if let Some(matchers) = rest.strip_prefix('{') {
            let (labels, after) = matched(matchers);
            named.selectors.push(Selector {
                metric: word.to_owned(),
                labels,
            });
            rest = after;
        } else if !rest.starts_with('(') && !OPERATORS.contains(&word) && !AGGREGATION.contains(&first_word(rest)) {
            named.selectors.push(Selector {
                metric: word.to_owned(),
                labels: Vec::new(),
            });
        }
    }
    named
}

fn first_word(text: &str) -> &str {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$');
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let starts = text.starts_with(|c: char| !c.is_ascii_digit());
    if starts { &text[..end] } else { "" }
}

/// The labels of matchers, and what follows their closing brace.
fn matched(mut rest: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '!' | '~'));
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        if rest.starts_with('"') {
            rest = after_string(rest);
            continue;
        }
        let label = first_word(rest);
        assert!(!label.is_empty(), "not matchers: {rest}");
        labels.push(label.to_owned());
        rest = &rest[label.len()..];
    }
}

fn after_string(text: &str) -> &str {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return &text[at + 1..],
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    ""
}

/// What of an expression does not exist.
fn faults(expression: &str, exposed: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let named = selectors(expression);
    let mut faults = Vec::new();
    let mut known: BTreeSet<&str> = OF_PROMETHEUS.into();
    for Selector { metric, labels } in &named.selectors {
        let Some(there) = exposed.get(metric) else {
            if metric != UP {
                faults.push(format!("there is no {metric}"));
            }
            continue;
        };
        known.extend(there.iter().map(String::as_str));
        let is_known = |label: &&String| !there.contains(*label) && !OF_PROMETHEUS.contains(&label.as_str());
        faults.extend(
            labels
                .iter()
                .filter(is_known)
                .map(|label| format!("{metric} has no label {label}")),
        );
    }
    let missing = named.groups.iter().filter(|label| !known.contains(label.as_str()));
    faults.extend(missing.map(|label| format!("nothing has the label {label}")));
    if named.selectors.is_empty() {
        faults.push("it names no metric".to_owned());
    }
    faults.iter().map(|fault| format!("{fault}: {expression}")).collect()
}

/// The expressions of the dashboard: of its panels, and of its variables.
fn of_dashboard(dashboard: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&dashboard["panels"])
        .into_iter()
        .flat_map(|panel| list(&panel["targets"]));
    let mut expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("a target has an expression").to_owned())
        .collect();
    for variable in list(&dashboard["templating"]["list"]) {
        let Some(definition) = variable["definition"].as_str() else {
            continue;
        };
        let inner = definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) = inner
            .and_then(|inner| inner.rsplit_once(','))
            .expect("label_values(metric, label)");
        expressions.push(format!("count by ({}) ({metric})", label.trim()));
    }
    expressions
}

fn of_alerts(rules: &str) -> Vec<String> {
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr:"));
    expressions
        .map(|expression| {
            let expression = expression.trim();
            assert!(
                !expression.starts_with(['|', '>', '"', '\'']),
                "write it plainly, on one line: {expression}"
            );
            expression.to_owned()
        })
        .collect()
}

/// The names of families, as `# TYPE` tells them.
fn families(text: &str) -> BTreeMap<String, String> {
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[tokio::test]
async fn what_is_watched_exists() {
    let text = metrics().await;
    let exposed = exposed(&text);
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/mulberry.json")).expect("it is JSON");
    let panels = of_dashboard(&dashboard);
    let alerts = of_alerts(&file("deploy/prometheus/alerts.yml"));
    assert!(
        panels.len() > 40 && alerts.len() > 10,
        "{} and {}",
        panels.len(),
        alerts.len()
    );
    let faults: Vec<String> = panels
        .iter()
        .chain(&alerts)
        .flat_map(|expression| faults(expression, &exposed))
        .collect();
    assert!(faults.is_empty(), "\n{}\n\n{text}", faults.join("\n"));

    let datasources = dashboard.to_string().matches("\"uid\":\"${datasource}\"").count();
    assert!(
        datasources > panels.len(),
        "every panel asks the data source that was chosen"
    );
}

#[tokio::test]
async fn what_is_exposed_is_documented() {
    let text = metrics().await;
    let document = file("docs/observability.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().strip_suffix('`')?;
        let kind = cells.next()?.trim();
        matches!(kind, "counter" | "gauge" | "histogram").then(|| (name.to_owned(), kind.to_owned()))
    });
    let mut documented: BTreeMap<String, String> = rows.collect();
    // Exposed from the first lie on; e2e `recounts::` tells one.
    assert_eq!(documented.remove("mulberry_overclaims").as_deref(), Some("counter"));
    assert_eq!(documented.remove("mulberry_misstatements").as_deref(), Some("counter"));
    assert_eq!(
        documented,
        families(&text),
        "the table of metrics in docs/observability.md"
    );
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a check that did not run says so")]
async fn promtool_has_nothing_to_say() {
    let is_there = Command::new("promtool").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: promtool is not installed (apt-get install prometheus)");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let rules = Command::new("promtool")
        .args(["check", "rules"])
        .arg(root.join("deploy/prometheus/alerts.yml"))
        .output()
        .expect("it was there");
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));

    // It reads the older text format only, in which a counter's name has its ending everywhere.
    let text = metrics().await;
    let counters = families(&text);
    let is_counter = |name: &str| counters.get(name).is_some_and(|kind| kind == "counter");
    let older = text.lines().filter(|line| *line != "# EOF").map(|line| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if is_counter(name) => {
                format!("# {what} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    });
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was there");
    let mut input = check.stdin.take().expect("it is piped");
    input.write_all(older.collect::<String>().as_bytes()).expect("it reads");
    drop(input);
    let said = check.wait_with_output().expect("it ends");
    let problems = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{problems}");
}

#[test]
fn expressions_are_read_for_their_names() {
    let check = |expression: &str, metrics: &[(&str, &[&str])], groups: &[&str]| {
        let named = selectors(expression);
        let found: Vec<(&str, Vec<&str>)> = named
            .selectors
            .iter()
            .map(|one| (&*one.metric, one.labels.iter().map(String::as_str).collect()))
            .collect();
        let expect: Vec<(&str, Vec<&str>)> = metrics.iter().map(|(name, labels)| (*name, labels.to_vec())).collect();
        assert_eq!(
            (found, named.groups),
            (expect, groups.iter().map(|&group| group.to_owned()).collect())
        );
    };
    check("up == 0", &[("up", &[])], &[]);
    check(
        r#"histogram_quantile(0.95, sum by (a, le) (rate(x_bucket{i=~"$i, \"{}", s!="5"}[5m]))) > 5e3 and on (a) y * 3600"#,
        &[("x_bucket", &["i", "s"]), ("y", &[])],
        &["a", "le", "a"],
    );
    let exposed = BTreeMap::from([("x".to_owned(), BTreeSet::from(["a".to_owned()]))]);
    assert_eq!(
        faults("sum by (a, job) (x{a=\"\", instance=\"\"})", &exposed),
        Vec::<String>::new()
    );
    assert_eq!(faults("sum by (b) (x{c=\"\"}) / z", &exposed).len(), 3);
    assert_eq!(faults("time()", &exposed).len(), 1);
}
