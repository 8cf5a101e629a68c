# The gateway's OpenAPI document, told what an upstream asks for besides: generated requests then get answers.
# What is narrowed here is still sent the wrong way too, because generators also make what a schema forbids.
def narrow($schema; $property; $with): .components.schemas[$schema].properties[$property] |= (. // {}) + $with;
def require($schema; $properties): .components.schemas[$schema].required |= ((. // []) + $properties | unique);
def model($schema): .components.schemas[$schema].properties.model = {enum: [$model]};

{type: "string", minLength: 1, maxLength: 200} as $text
# A made-up name is 404, and nothing behind it is reached.
| reduce ("ChatCompletionRequest", "CompletionRequest", "EmbeddingRequest", "ResponseRequest", "MessageRequest", "PassThroughRequest", "AudioForm", "ImageForm") as $schema
    (.; model($schema) | require($schema; ["model"]))
| narrow("ChatCompletionRequest"; "messages"; {minItems: 1, maxItems: 3})
| narrow("ChatRequestMessage"; "role"; {enum: ["system", "user", "assistant"]})
| narrow("ChatRequestMessage"; "content"; $text)
| require("ChatRequestMessage"; ["content"])
| narrow("CompletionRequest"; "prompt"; $text)
| require("CompletionRequest"; ["prompt"])
| narrow("EmbeddingRequest"; "input"; $text)
| narrow("EmbeddingRequest"; "encoding_format"; {enum: ["float", "base64"]})
| narrow("EmbeddingRequest"; "dimensions"; {minimum: 1, maximum: 64})
| narrow("MessageRequest"; "messages"; {minItems: 1, maxItems: 3})
| narrow("ResponseRequest"; "input"; $text)
| require("ResponseRequest"; ["input"])
# What moderations, rerank, score, tokenize, audio and images ask for; each reads its own.
| reduce ("input", "query", "text_1", "prompt", "voice") as $property
    (.; narrow("PassThroughRequest"; $property; $text))
| reduce ("documents", "text_2") as $property
    (.; narrow("PassThroughRequest"; $property; {type: "array", items: $text, minItems: 1, maxItems: 3}))
| require("PassThroughRequest"; ["input", "query", "text_1", "prompt", "documents", "text_2"])
# Only streams may have options.
| reduce ("ChatCompletionRequest", "CompletionRequest") as $schema
    (.; .components.schemas[$schema].dependentSchemas.stream_options = {required: ["stream"], properties: {stream: {const: true}}})
# "Any other status" is documented too; without it a status that is not listed by itself is a finding.
| del(.paths[][].responses?.default)
