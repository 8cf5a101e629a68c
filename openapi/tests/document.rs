//! The OpenAPI document: fresh, whole, and true of the types and paths that it describes.

use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    io::Read,
    path::PathBuf,
};

use flate2::read::GzDecoder;
use openapi::{
    dialect::messages,
    document::{CONTENT_SECURITY_POLICY, document, page},
    endpoint::{Endpoint, Operation, is_anthropic_path},
    error::ErrorBody,
    model::{Model, ModelList, Protection},
};
use serde_json::{Value, json};

const METHODS: [&str; 3] = ["get", "post", "delete"];

#[test]
fn the_checked_in_document_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let fresh = document();
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of this test, not a setting of the gateway"
    )]
    let update = env::var_os("UPDATE_OPENAPI");
    if update.is_some_and(|value| value == "1") {
        fs::write(&path, &fresh).expect("openapi.json can be written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let is_fresh = stored == fresh;
    assert!(
        is_fresh,
        "openapi/openapi.json is stale; write it anew with: UPDATE_OPENAPI=1 cargo test -p openapi --test document"
    );
}

#[test]
fn every_reference_resolves() {
    let document = parsed();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 100, "only {} references", references.len());
    for reference in &references {
        let pointer = reference
            .strip_prefix('#')
            .expect("references stay within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let used: HashSet<_> = references.iter().map(String::as_str).collect();
    for kind in ["schemas", "responses", "headers"] {
        for name in document["components"][kind].as_object().expect("an object").keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(reference.as_str()), "nothing refers to {reference}");
        }
    }
}

#[test]
fn every_operation_has_its_own_id_a_known_tag_and_errors() {
    let document = parsed();
    let tags: HashSet<_> = array(&document["tags"]).iter().map(|tag| &tag["name"]).collect();
    let mut ids = HashSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an operation has an id");
        assert!(ids.insert(id.to_owned()), "two operations are called {id}");
        assert!(
            array(&operation["tags"]).iter().all(|tag| tags.contains(tag)),
            "the tag of {id} is not listed"
        );
        let mut expected = vec![
            "401", "400", "403", "404", "405", "408", "429", "500", "502", "503", "504", "default",
        ];
        if method == "post" {
            expected.extend(["413", "415", "422"]);
        }
        for status in expected {
            let reference = operation["responses"][status]["$ref"].as_str();
            let reference = reference.unwrap_or_else(|| panic!("{method} {path} does not list {status}"));
            let answer = document.pointer(&reference[1..]).expect("references resolve");
            let schema = if is_anthropic_path(&path) {
                "#/components/schemas/MessagesError"
            } else {
                "#/components/schemas/Error"
            };
            assert_eq!(
                answer["content"]["application/json"]["schema"]["$ref"], schema,
                "{status} of {method} {path}"
            );
        }
    }
}

#[test]
fn every_path_is_routable_and_every_endpoint_is_described() {
    let document = parsed();
    let mut described = HashSet::new();
    for (method, path, operation) in operations(&document) {
        // The gateway's own, which are no operation of any upstream.
        let ours = [
            "/openapi.json",
            "/v1/receipts/",
            "/v1/evidence/",
            "/v1/attestation",
            "/v1/aci/",
            "/mulberry/",
        ];
        if ours.iter().any(|own| path.starts_with(own)) {
            continue;
        }
        let names: Vec<_> = path.split('/').filter(|segment| segment.starts_with('{')).collect();
        let parameters = operation["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(parameters, names.len(), "parameters of {path}");
        let concrete = names.iter().fold(path.clone(), |path, name| path.replace(name, "x"));
        let parsed = Operation::parse(&method.to_uppercase(), &concrete);
        let parsed = parsed.unwrap_or_else(|why| panic!("the gateway does not know {method} {path}: {why:?}"));
        described.insert(parsed.endpoint);
    }
    for endpoint in Endpoint::ALL {
        assert!(described.contains(&endpoint), "{endpoint} is not described");
    }
}

#[test]
fn schemas_of_our_own_answers_have_their_members() {
    let error = ErrorBody::new("invalid_request_error", "model_not_found", "No such model.");
    let envelope: Value = serde_json::from_slice(&error.to_json()).expect("the envelope is JSON");
    check_members("Error", &envelope);
    let counted = error.clone().with_reasons(BTreeMap::from([("tier_too_low", 2)]));
    check_optional("ErrorBody", &envelope["error"], &json!(counted));
    let theirs: Value = serde_json::from_slice(&messages::error(404, &error, "req_1")).expect("JSON");
    check_members("MessagesError", &theirs);
    check_members("MessagesErrorBody", &theirs["error"]);
    let model = Model::new("m", 0, "o");
    let mut protected = model.clone();
    protected.protection = Some(Protection {
        tier: Some("tee"),
        tiers: vec!["open", "tee"],
    });
    check_optional("Model", &json!(model), &json!(protected));
    check_members("ModelList", &json!(ModelList::new(vec![model])));
}

/// The schema requires exactly the members that the gateway writes, and describes no others.
fn check_members(schema: &str, written: &Value) {
    check_optional(schema, written, written);
}

/// The same of what may have more members: it requires what the least has, and describes what the most has.
fn check_optional(schema: &str, least: &Value, most: &Value) {
    let document = parsed();
    let schema = &document["components"]["schemas"][schema];
    let members = |value| -> HashSet<_> { object(value).keys().map(String::as_str).collect() };
    let described: HashSet<_> = object(&schema["properties"]).keys().map(String::as_str).collect();
    let required: HashSet<_> = array(&schema["required"]).iter().filter_map(Value::as_str).collect();
    assert_eq!(described, members(most));
    assert_eq!(required, members(least));
}

#[test]
fn every_object_is_open() {
    let document = parsed();
    for (name, schema) in object(&document["components"]["schemas"]) {
        assert_eq!(schema["additionalProperties"], true, "{name} is closed");
    }
}

#[test]
fn the_page_is_packed_from_its_sources_and_asks_nobody_else() {
    let sources = [
        ("/docs", include_str!("../assets/index.html")),
        ("/docs/start.js", include_str!("../assets/start.js")),
    ];
    for (path, source) in sources {
        assert_eq!(
            unpacked(path),
            source,
            "the asset of {path} is stale; run openapi/assets/refresh"
        );
        assert!(!source.contains("://"), "{path} names another host");
    }
    let html = unpacked("/docs");
    let targets = html.split(['"']).filter(|text| text.starts_with("docs/"));
    let targets: Vec<_> = targets.map(|target| format!("/{target}")).collect();
    assert_eq!(targets.len() + 1, page().len(), "the page uses each of its files");
    for target in targets {
        assert!(!unpacked(&target).is_empty(), "{target} is empty");
    }
    let policy: Vec<_> = CONTENT_SECURITY_POLICY.split("; ").collect();
    assert!(policy.contains(&"default-src 'none'") && policy.contains(&"script-src 'self'"));
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe") && !CONTENT_SECURITY_POLICY.contains("  "));
}

fn unpacked(path: &str) -> String {
    let asset = page().iter().find(|asset| asset.path == path);
    let asset = asset.unwrap_or_else(|| panic!("the page lacks {path}"));
    let mut text = String::new();
    let read = GzDecoder::new(asset.bytes_gzip).read_to_string(&mut text);
    read.unwrap_or_else(|error| panic!("{path} does not unpack: {error}"));
    text
}

fn parsed() -> Value {
    serde_json::from_str(&document()).expect("the document is JSON")
}

fn operations(document: &Value) -> Vec<(&'static str, String, &Value)> {
    let paths = object(&document["paths"]).iter();
    let operations = paths.flat_map(|(path, item)| {
        let here = METHODS
            .into_iter()
            .filter_map(|method| Some((method, item.get(method)?)));
        here.map(|(method, operation)| (method, path.clone(), operation))
    });
    operations.collect()
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.push(reference.clone());
            }
            members.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().expect("an object")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}
