//! The OpenAPI document of the gateway, and a [page](page()) to try it.
//!
//! The document lists the operations on their canonical paths; the forms that [`crate::endpoint`] forgives (no `/v1`,
//! a trailing slash, Azure's paths) and what passes below a family's root are left out.
//! Its schemas hold for what real servers send: every object is open, and few members are required.
//! `openapi/openapi.json` is this document, checked in; `tests/document.rs` fails when it is stale.

mod answer;
mod errors;
mod operations;
mod page;
mod request;

use utoipa::{
    ToSchema,
    openapi::{
        Components, Content, ContentBuilder, HttpMethod, InfoBuilder, License, ObjectBuilder, OpenApi, OpenApiBuilder,
        PathItem, Paths, Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
        SecurityRequirement, Type,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
        schema::{AdditionalProperties, AnyOfBuilder},
        security::{Http, HttpAuthScheme, SecurityScheme},
        tag::TagBuilder,
    },
};

use operations::{Answer, Request, Row};
pub use page::{Asset, CONTENT_SECURITY_POLICY, page};

/// The name of the security scheme.
const API_KEY: &str = "apiKey";

/// What a name in a path may be. The gateway refuses control characters. Braces and `%` it would take, but no known
/// upstream gives such ids, and programs that fill in path templates trip over them.
const SEGMENT: &str = r"^[^\x00-\x1F\x7F-\x9F{}%]+$";

const DESCRIPTION: &str = "\
An OpenAI-compatible gateway: an official OpenAI client works unchanged.

Paths also work without `/v1`. Members of a request that are not listed here pass to the upstream unread, and answers \
may hold members that are not listed here. Every error, the gateway's own or an upstream's, has the `Error` envelope, \
on the paths of Anthropic's API that of `MessagesError`.";

/// The document as pretty JSON, with a newline at the end.
pub fn document() -> String {
    let json = build().to_pretty_json();
    let mut json = json.expect("the document holds only strings, numbers, lists and maps with string keys");
    json.push('\n');
    json
}

/// The document as a value, for who adds to it.
pub fn build() -> OpenApi {
    let mut paths = Paths::new();
    for row in operations::rows() {
        let (path, method) = (row.path, row.method.clone());
        let operation = operation(row);
        match paths.paths.get_mut(path) {
            Some(item) => item.merge_operations(PathItem::new(method, operation)),
            None => {
                paths.paths.insert(path.to_owned(), PathItem::new(method, operation));
            }
        }
    }
    let tags = operations::TAGS
        .iter()
        .map(|(name, description)| TagBuilder::new().name(*name).description(Some(*description)).build());
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Mulberry")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(license)),
        )
        .paths(paths)
        .components(Some(components()))
        // The empty requirement: a gateway without API keys serves its own machine.
        .security(Some([
            SecurityRequirement::new(API_KEY, Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .tags(Some(tags))
        .build()
}

fn operation(row: Row) -> Operation {
    let has_body = matches!(row.method, HttpMethod::Post);
    let responses = ResponsesBuilder::new().response("200", good(row.answer));
    OperationBuilder::new()
        .tag(row.tag)
        .operation_id(Some(row.id))
        .summary(Some(row.summary))
        .parameters(parameters(row.path))
        .request_body(body(row.request))
        .responses(errors::add(responses, row.path, has_body).build())
        .build()
}

/// Of the path, and for the gateway's own evidence those of the query.
fn parameters(path: &str) -> Option<Vec<Parameter>> {
    let query = |name: &str, required, pattern, what: &str| {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(required)
            .description(Some(what))
            .schema(Some(schema))
            .build()
    };
    let nonce = |what| query("nonce", Required::True, "^[0-9a-f]{64}$", what);
    match path {
        "/v1/attestation" => Some(vec![
            nonce("32 bytes that you drew at random, in hexadecimal (or in base64url, 43 characters)."),
            query(
                "model",
                Required::False,
                SEGMENT,
                "Only workers that may answer for this model.",
            ),
        ]),
        "/v1/aci/attestation" => Some(vec![nonce("32 bytes that you drew at random, in hexadecimal.")]),
        path => path_parameters(path),
    }
}

/// A parameter for each name in braces.
fn path_parameters(path: &str) -> Option<Vec<Parameter>> {
    let names = path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?;
        name.strip_suffix('}')
    });
    let parameters: Vec<_> = names
        .map(|name| {
            let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(SEGMENT));
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(schema));
            match name {
                "model" => parameter
                    .description(Some("The model's id. A slash in it may be percent-encoded or not."))
                    .example(Some("my-org/my-model".into()))
                    .build(),
                _ => parameter.build(),
            }
        })
        .collect();
    (!parameters.is_empty()).then_some(parameters)
}

fn body(request: Request) -> Option<RequestBody> {
    let (media_type, content) = match request {
        Request::Nothing => return None,
        Request::Json { schema, example } => (
            "application/json",
            ContentBuilder::new()
                .schema(Some(schema))
                .example(Some(example))
                .build(),
        ),
        Request::Form(schema) => ("multipart/form-data", Content::new(Some(schema))),
    };
    let body = RequestBodyBuilder::new().content(media_type, content);
    Some(body.required(Some(Required::True)).build())
}

fn good(answer: Answer) -> Response {
    let (description, contents) = match answer {
        Answer::Json(schema) => ("The answer.", vec![("application/json", Content::new(Some(schema)))]),
        Answer::ObjectOrEvents { whole, data } => (
            "The answer: JSON, or server-sent events when the request asks for a stream.",
            vec![
                (
                    "application/json",
                    whole.map_or_else(open_object, |whole| Content::new(Some(whole))),
                ),
                ("text/event-stream", Content::new(Some(event_of(data)))),
            ],
        ),
        Answer::AnyJson => ("The answer.", vec![("application/json", any())]),
        Answer::Bytes => ("The answer, of the type that the upstream says.", vec![("*/*", any())]),
    };
    let mut response = ResponseBuilder::new().description(description);
    for (media_type, content) in contents {
        response = response.content(media_type, content);
    }
    for name in errors::EVERYWHERE {
        response = response.header_ref(name, errors::header(name));
    }
    response.build()
}

/// The schema of one server-sent event.
///
/// OpenAPI has a word for the events of a stream only since 3.2 (`itemSchema`); in 3.1 readers, schemathesis among
/// them, take `schema` for one event, with `event` and `data` as its members.
fn event_of(data: Option<Ref>) -> RefOr<Schema> {
    let data: RefOr<Schema> = match data {
        Some(data) => AnyOfBuilder::new()
            .item(json_in_text(Some(data)).description(Some("The next piece of the answer.")))
            .item(json_in_text(Some(Ref::from_schema_name("Error"))).description(Some("Why there will be no more.")))
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(["[DONE]"]))
                    .description(Some("The end.")),
            )
            .into(),
        None => json_in_text(None).into(),
    };
    let event = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("One server-sent event."))
        .property("data", data)
        .required("data");
    open(event.build().into())
}

/// The schema of a text that is JSON.
fn json_in_text(schema: Option<Ref>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type("application/json")
        .content_schema(schema)
}

fn any() -> Content {
    Content::new(None::<Ref>)
}

fn open_object() -> Content {
    Content::new(Some(open(
        ObjectBuilder::new().schema_type(Type::Object).build().into(),
    )))
}

fn components() -> Components {
    let mut components = Components::new();
    register::<request::ChatCompletionRequest>(&mut components);
    register::<request::CompletionRequest>(&mut components);
    register::<request::EmbeddingRequest>(&mut components);
    register::<request::ResponseRequest>(&mut components);
    register::<request::MessageRequest>(&mut components);
    register::<request::PassThroughRequest>(&mut components);
    register::<request::AudioForm>(&mut components);
    register::<request::ImageForm>(&mut components);
    register::<request::FileForm>(&mut components);
    register::<answer::ChatCompletion>(&mut components);
    register::<answer::ChatCompletionChunk>(&mut components);
    register::<answer::Completion>(&mut components);
    register::<answer::EmbeddingList>(&mut components);
    register::<answer::ModelList>(&mut components);
    register::<answer::Error>(&mut components);
    register::<answer::Message>(&mut components);
    register::<answer::MessageTokens>(&mut components);
    register::<answer::MessagesError>(&mut components);
    errors::register(&mut components);
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An API key of this gateway. A gateway without keys serves only its own machine, and asks for none.",
        ))
        .build();
    components.add_security_scheme(API_KEY, SecurityScheme::Http(bearer));
    components
}

/// Adds the schema of `T` and of what it refers to.
pub fn register<T: ToSchema>(components: &mut Components) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    components
        .schemas
        .extend(schemas.into_iter().map(|(name, schema)| (name, open(schema))));
}

/// Says of an object that it may hold more than is listed. JSON Schema means the same by silence; readers may not.
fn open(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(true)));
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}
