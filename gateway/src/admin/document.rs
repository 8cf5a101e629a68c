//! The OpenAPI document of this listener: the clients' own, and the admin API beside it.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use openapi::document;
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        AllOfBuilder, ArrayBuilder, ContentBuilder, HttpMethod, ObjectBuilder, PathItem, Ref, RefOr, Required,
        ResponseBuilder, ResponsesBuilder, Schema, SecurityRequirement, Type,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
        tag::TagBuilder,
    },
};

use super::{audit, control, keys, receipts, state, used};
use crate::directory::KeyEdit;

mod channels;
mod money;

const TAG: &str = "Administration";
/// The name of the security scheme.
const ADMIN_TOKEN: &str = "adminToken";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document()));

/// `GET /openapi.json`
pub(super) async fn answer() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// One operation.
struct Row {
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: &'static [Query],
    body: Option<Body>,
    status: &'static str,
    content: &'static str,
    answer: RefOr<Schema>,
}

/// A parameter of the query: name, description, type.
type Query = (&'static str, &'static str, Type);

/// The body of a request, with an example.
struct Body {
    schema: RefOr<Schema>,
    example: Value,
}

fn rows() -> Vec<Row> {
    let example =
        json!({"name": "alice", "owner": "search-team", "models": ["*"], "limits": {"requests_per_minute": 600}});
    let mut rows = vec![
        get(
            "/status",
            "getStatus",
            "The process, its configuration, and the last minute",
            &[],
            one::<state::Status>(),
        ),
        get(
            "/upstreams",
            "listUpstreams",
            "Each upstream, and why it is not in use",
            &[],
            list::<state::UpstreamView>(),
        ),
        get(
            "/models",
            "listOffers",
            "The models of the configuration",
            &[],
            list::<state::ModelView<'_>>(),
        ),
        get(
            "/usage",
            "listUsage",
            "What was used",
            &[
                ("by", "`model` (the default), `key`, `day` or `upstream`", Type::String),
                ("days", "How far back; 30 unless said", Type::Integer),
            ],
            list::<used::UsageView>(),
        ),
        get(
            "/requests",
            "listRequests",
            "The latest requests, without content",
            &[("limit", "At most so many; 50 unless said", Type::Integer)],
            list::<used::RequestView>(),
        ),
        get(
            "/config",
            "getConfig",
            "The configuration in force, without secrets",
            &[],
            one::<control::ConfigView>(),
        ),
        Row {
            method: HttpMethod::Post,
            ..get(
                "/reload",
                "reloadConfig",
                "Read the configuration again",
                &[],
                one::<control::ReloadedView>(),
            )
        },
        Row {
            method: HttpMethod::Post,
            status: "202",
            ..get(
                "/drain",
                "drain",
                "End the process when what is open has ended",
                &[],
                one::<control::DrainingView>(),
            )
        },
        get(
            "/keys",
            "listKeys",
            "The API keys of clients",
            &[],
            list::<keys::KeyNow>(),
        ),
        Row {
            method: HttpMethod::Post,
            status: "201",
            body: Some(Body {
                schema: new_key(),
                example,
            }),
            ..get(
                "/keys",
                "createKey",
                "Make a key; its secret is in this answer only",
                &[],
                one::<keys::IssuedView>(),
            )
        },
        get("/keys/{name}", "getKey", "One key", &[], one::<keys::KeyNow>()),
        Row {
            method: HttpMethod::Patch,
            body: Some(Body {
                schema: one::<KeyEdit>(),
                example: json!({"limits": {"requests_per_minute": 60}}),
            }),
            ..get(
                "/keys/{name}",
                "updateKey",
                "Change a key, from the next request on",
                &[],
                one::<keys::KeyNow>(),
            )
        },
        Row {
            method: HttpMethod::Delete,
            ..get(
                "/keys/{name}",
                "revokeKey",
                "End a key, at once and for good",
                &[],
                one::<keys::KeyNow>(),
            )
        },
        Row {
            method: HttpMethod::Post,
            body: Some(Body {
                schema: ObjectBuilder::new()
                    .schema_type(Type::Object)
                    .property("grace", ObjectBuilder::new().schema_type(Type::String))
                    .into(),
                example: json!({"grace": "24h"}),
            }),
            ..get(
                "/keys/{name}/rotate",
                "rotateKey",
                "Give a key a new secret; the old one works for `grace`",
                &[],
                one::<keys::IssuedView>(),
            )
        },
        get(
            "/audit",
            "listAudit",
            "Who changed what",
            &[("limit", "At most so many; 100 unless said", Type::Integer)],
            list::<audit::EntryView>(),
        ),
        get(
            "/receipts/{id}",
            "showReceipts",
            "The receipts of a request, as they were signed, whose ever they are",
            &[],
            list::<receipts::Receipt>(),
        ),
    ];
    rows.extend(money::rows());
    rows.extend(channels::rows());
    rows
}

fn get(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: &'static [Query],
    answer: RefOr<Schema>,
) -> Row {
    Row {
        method: HttpMethod::Get,
        path,
        id,
        summary,
        query,
        body: None,
        status: "200",
        content: "application/json",
        answer,
    }
}

fn one<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// What may be edited, with a name, and perhaps the hash of a key that clients have.
fn new_key() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let named = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("name", text())
        .property("sha256", text().description(Some("64 hexadecimal digits")))
        .required("name");
    AllOfBuilder::new().item(named).item(one::<KeyEdit>()).into()
}

/// `{"data": [T]}`
fn list<T: ToSchema>() -> RefOr<Schema> {
    let items = ArrayBuilder::new().items(one::<T>());
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("data", items)
        .required("data")
        .into()
}

fn document() -> String {
    let mut document = document::build();
    for row in rows() {
        let path = format!("/admin/v1{}", row.path);
        let (method, operation) = (row.method.clone(), operation(row));
        match document.paths.paths.get_mut(&path) {
            Some(item) => item.merge_operations(PathItem::new(method, operation)),
            None => {
                document.paths.paths.insert(path, PathItem::new(method, operation));
            }
        }
    }
    let tag = TagBuilder::new()
        .name(TAG)
        .description(Some("Govern the gateway; on the admin listener, with an admin token."));
    document.tags.get_or_insert_default().push(tag.build());
    let components = document.components.get_or_insert_default();
    document::register::<state::Status>(components);
    document::register::<state::UpstreamView>(components);
    document::register::<state::ModelView<'_>>(components);
    document::register::<used::UsageView>(components);
    document::register::<used::RequestView>(components);
    document::register::<control::ConfigView>(components);
    document::register::<control::ReloadedView>(components);
    document::register::<control::DrainingView>(components);
    document::register::<keys::KeyNow>(components);
    document::register::<keys::IssuedView>(components);
    document::register::<KeyEdit>(components);
    document::register::<audit::EntryView>(components);
    money::register(components);
    channels::register(components);
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "One of `admin.tokens`, or else the line in `admin.token` of the data directory.",
        ))
        .build();
    components.add_security_scheme(ADMIN_TOKEN, SecurityScheme::Http(bearer));
    let json = document.to_pretty_json();
    json.expect("the document holds only strings, numbers, lists and maps with string keys")
}

fn operation(row: Row) -> Operation {
    let answer = ResponseBuilder::new()
        .description("The answer.")
        .content(row.content, ContentBuilder::new().schema(Some(row.answer)).build());
    let responses = ResponsesBuilder::new()
        .response(row.status, answer)
        .response("401", Ref::from_response_name("Unauthorized"))
        .response("default", Ref::from_response_name("OtherError"));
    let body = row.body.map(|body| {
        let content = ContentBuilder::new()
            .schema(Some(body.schema))
            .example(Some(body.example));
        RequestBodyBuilder::new()
            .content("application/json", content.build())
            .required(Some(Required::True))
            .build()
    });
    OperationBuilder::new()
        .tag(TAG)
        .operation_id(Some(row.id))
        .summary(Some(row.summary))
        .parameters(parameters(row.path, row.query))
        .request_body(body)
        .responses(responses.build())
        .security(SecurityRequirement::new(ADMIN_TOKEN, Vec::<String>::new()))
        .build()
}

fn parameters(path: &str, query: &[Query]) -> Option<Vec<Parameter>> {
    let typed = |kind: Type| ObjectBuilder::new().schema_type(kind);
    let mut parameters = Vec::new();
    for name in ["name", "id"] {
        if path.contains(&format!("{{{name}}}")) {
            let name = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(typed(Type::String)));
            parameters.push(name.build());
        }
    }
    for (name, description, kind) in query {
        let parameter = ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .description(Some(*description))
            .schema(Some(typed(kind.clone())));
        parameters.push(parameter.build());
    }
    (!parameters.is_empty()).then_some(parameters)
}
