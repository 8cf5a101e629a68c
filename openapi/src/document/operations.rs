//! The operations, one row each, in the order of the document.

use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{HttpMethod, Ref},
};

use super::{answer, request};

/// One operation.
pub(super) struct Row {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    /// Unique; OpenAI's own where OpenAI has the operation.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) request: Request,
    pub(super) answer: Answer,
}

/// What the body of a request is.
pub(super) enum Request {
    Nothing,
    Json { schema: Ref, example: Value },
    Form(Ref),
}

/// What the body of a good answer is.
pub(super) enum Answer {
    Json(Ref),
    /// An object, or events when the request asks for a stream; where known, their schemas.
    ObjectOrEvents {
        whole: Option<Ref>,
        data: Option<Ref>,
    },
    /// JSON as the upstream wrote it.
    AnyJson,
    /// Bytes of whatever type the upstream says.
    Bytes,
}

/// An object or events of which the gateway knows no more.
const UNREAD: Answer = Answer::ObjectOrEvents {
    whole: None,
    data: None,
};

/// The groups, in the order of the document, and what is in them.
pub(super) const TAGS: [(&str, &str); 7] = [
    ("Text", "Generate text."),
    ("Vectors", "Embed, rank and judge text."),
    ("Models", "What may be asked."),
    ("Audio", "Speech to text and back. The gateway reads only `model`."),
    ("Images", "Make and change pictures. The gateway reads only `model`."),
    ("Files", "Files and batches, kept by an upstream."),
    ("Gateway", "The gateway itself."),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = text();
    rows.extend(vectors());
    rows.extend(models());
    rows.extend(audio());
    rows.extend(images());
    rows.extend(files());
    rows.extend(gateway());
    rows
}

fn text() -> Vec<Row> {
    let row = |path, id, summary, request, answer| post("Text", path, id, summary, request, answer);
    vec![
        row(
            "/v1/chat/completions",
            "createChatCompletion",
            "Continue a chat",
            Request::Json {
                schema: reference::<request::ChatCompletionRequest>(),
                example: json!({
                    "model": "my-model",
                    "messages": [{"role": "user", "content": "Say hello."}],
                    "max_completion_tokens": 64,
                }),
            },
            Answer::ObjectOrEvents {
                whole: Some(reference::<answer::ChatCompletion>()),
                data: Some(reference::<answer::ChatCompletionChunk>()),
            },
        ),
        row(
            "/v1/completions",
            "createCompletion",
            "Continue a prompt",
            Request::Json {
                schema: reference::<request::CompletionRequest>(),
                example: json!({"model": "my-model", "prompt": "Once upon a time", "max_tokens": 64}),
            },
            Answer::ObjectOrEvents {
                whole: Some(reference::<answer::Completion>()),
                data: Some(reference::<answer::Completion>()),
            },
        ),
        row(
            "/v1/responses",
            "createResponse",
            "Create a response",
            Request::Json {
                schema: reference::<request::ResponseRequest>(),
                example: json!({"model": "my-model", "input": "Say hello.", "max_output_tokens": 64}),
            },
            UNREAD,
        ),
        row(
            "/v1/messages",
            "createMessage",
            "Answer a message (Anthropic's API)",
            Request::Json {
                schema: reference::<request::MessageRequest>(),
                example: json!({
                    "model": "my-model",
                    "messages": [{"role": "user", "content": "Say hello."}],
                    "max_tokens": 64,
                }),
            },
            Answer::ObjectOrEvents {
                whole: Some(reference::<answer::Message>()),
                data: None,
            },
        ),
        row(
            "/v1/messages/count_tokens",
            "countMessageTokens",
            "Count the tokens of a message (Anthropic's API)",
            pass_through(json!({"model": "my-model", "messages": [{"role": "user", "content": "Say hello."}]})),
            Answer::Json(reference::<answer::MessageTokens>()),
        ),
        row(
            "/tokenize",
            "tokenize",
            "Text to token ids",
            pass_through(json!({"model": "my-model", "prompt": "Say hello."})),
            Answer::AnyJson,
        ),
        row(
            "/detokenize",
            "detokenize",
            "Token ids to text",
            pass_through(json!({"model": "my-model", "tokens": [1, 2, 3]})),
            Answer::AnyJson,
        ),
    ]
}

fn vectors() -> Vec<Row> {
    let row = |path, id, summary, request, answer| post("Vectors", path, id, summary, request, answer);
    vec![
        row(
            "/v1/embeddings",
            "createEmbedding",
            "Embed texts",
            Request::Json {
                schema: reference::<request::EmbeddingRequest>(),
                example: json!({"model": "my-model", "input": "Say hello."}),
            },
            Answer::Json(reference::<answer::EmbeddingList>()),
        ),
        row(
            "/v1/rerank",
            "createRerank",
            "Order documents by relevance to a query",
            pass_through(json!({"model": "my-model", "query": "fruit", "documents": ["A mulberry.", "A brick."]})),
            Answer::AnyJson,
        ),
        row(
            "/v1/score",
            "createScore",
            "Score pairs of texts",
            pass_through(json!({"model": "my-model", "text_1": "fruit", "text_2": ["A mulberry.", "A brick."]})),
            Answer::AnyJson,
        ),
        row(
            "/v1/moderations",
            "createModeration",
            "Judge whether content is harmful",
            pass_through(json!({"model": "my-model", "input": "Say hello."})),
            Answer::AnyJson,
        ),
    ]
}

fn models() -> Vec<Row> {
    let row = |path, id, summary, answer| get("Models", path, id, summary, answer);
    vec![
        row(
            "/v1/models",
            "listModels",
            "List the models that the caller may use",
            Answer::Json(reference::<answer::ModelList>()),
        ),
        row(
            "/v1/models/{model}",
            "retrieveModel",
            "Describe one model",
            Answer::Json(reference::<answer::Model>()),
        ),
    ]
}

fn audio() -> Vec<Row> {
    let row = |path, id, summary, request| post("Audio", path, id, summary, request, Answer::Bytes);
    vec![
        row(
            "/v1/audio/transcriptions",
            "createTranscription",
            "Speech to text",
            Request::Form(reference::<request::AudioForm>()),
        ),
        row(
            "/v1/audio/translations",
            "createTranslation",
            "Speech to English text",
            Request::Form(reference::<request::AudioForm>()),
        ),
        row(
            "/v1/audio/speech",
            "createSpeech",
            "Text to speech",
            pass_through(json!({"model": "my-model", "input": "Hello.", "voice": "alloy"})),
        ),
    ]
}

fn images() -> Vec<Row> {
    let row = |path, id, summary, request| post("Images", path, id, summary, request, UNREAD);
    vec![
        row(
            "/v1/images/generations",
            "createImage",
            "Make pictures from text",
            pass_through(json!({"model": "my-model", "prompt": "A mulberry tree."})),
        ),
        row(
            "/v1/images/edits",
            "createImageEdit",
            "Change a picture",
            Request::Form(reference::<request::ImageForm>()),
        ),
        row(
            "/v1/images/variations",
            "createImageVariation",
            "Vary a picture",
            Request::Form(reference::<request::ImageForm>()),
        ),
    ]
}

fn files() -> Vec<Row> {
    let tag = "Files";
    vec![
        get(tag, "/v1/files", "listFiles", "List files", Answer::AnyJson),
        post(
            tag,
            "/v1/files",
            "createFile",
            "Upload a file",
            Request::Form(reference::<request::FileForm>()),
            Answer::AnyJson,
        ),
        get(
            tag,
            "/v1/files/{file_id}",
            "retrieveFile",
            "Describe a file",
            Answer::AnyJson,
        ),
        Row {
            method: HttpMethod::Delete,
            ..get(
                tag,
                "/v1/files/{file_id}",
                "deleteFile",
                "Delete a file",
                Answer::AnyJson,
            )
        },
        get(
            tag,
            "/v1/files/{file_id}/content",
            "downloadFile",
            "Download a file",
            Answer::Bytes,
        ),
        get(tag, "/v1/batches", "listBatches", "List batches", Answer::AnyJson),
        post(
            tag,
            "/v1/batches",
            "createBatch",
            "Start a batch",
            pass_through(json!({
                "input_file_id": "file-1",
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            })),
            Answer::AnyJson,
        ),
        get(
            tag,
            "/v1/batches/{batch_id}",
            "retrieveBatch",
            "Describe a batch",
            Answer::AnyJson,
        ),
        post(
            tag,
            "/v1/batches/{batch_id}/cancel",
            "cancelBatch",
            "Cancel a batch",
            Request::Nothing,
            Answer::AnyJson,
        ),
    ]
}

fn gateway() -> Vec<Row> {
    let row = |path, id, summary| get("Gateway", path, id, summary, Answer::AnyJson);
    vec![
        post(
            "Gateway",
            "/mulberry/pay/v1/channel",
            "speakOfChannel",
            "What a payer says of its payment channel outside of requests, as `docs/x402.md` has it",
            pass_through(json!({
                "v": 1,
                "network": "tvm:-239",
                "channelId": "0:0707070707070707070707070707070707070707070707070707070707070707",
                "notice": { "type": "close", "spent": "1900000" },
            })),
            Answer::AnyJson,
        ),
        row("/openapi.json", "getOpenApi", "This document"),
        row(
            "/v1/receipts/{request_id}",
            "retrieveReceipts",
            "The signed receipts of a request that the caller made and was charged for",
        ),
        row(
            "/v1/receipts/keys",
            "listReceiptKeys",
            "The public keys that sign receipts, as a JSON Web Key Set",
        ),
        row(
            "/v1/receipts/checkpoint",
            "retrieveReceiptCheckpoint",
            "Where the chains of the caller's receipts stand, signed",
        ),
        row(
            "/v1/attestation",
            "retrieveAttestation",
            "The gateway's own evidence for the caller's nonce, and that of the workers that may answer the caller",
        ),
        row(
            "/v1/evidence/{evidence_id}",
            "retrieveEvidence",
            "The bundle of evidence that a receipt rests on, to be appraised again",
        ),
        row(
            "/v1/aci/attestation",
            "retrieveAciAttestation",
            "The gateway's own evidence in the form of Attested Confidential Inference",
        ),
    ]
}

fn get(tag: &'static str, path: &'static str, id: &'static str, summary: &'static str, answer: Answer) -> Row {
    Row {
        method: HttpMethod::Get,
        ..post(tag, path, id, summary, Request::Nothing, answer)
    }
}

fn post(
    tag: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    request: Request,
    answer: Answer,
) -> Row {
    Row {
        method: HttpMethod::Post,
        path,
        id,
        tag,
        summary,
        request,
        answer,
    }
}

fn pass_through(example: Value) -> Request {
    Request::Json {
        schema: reference::<request::PassThroughRequest>(),
        example,
    }
}

fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}
