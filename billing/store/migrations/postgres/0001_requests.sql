-- A released migration never changes, not even a comment: its checksum is in every database.
-- Everything stands in the schema `mulberry`, which the program makes and has in its search path.
-- Numbers are bigint throughout, and texts are in the order of their bytes, as SQLite has both.

-- One row for each request that ended. No prompt, no completion, no API key.
CREATE TABLE requests (
    id            bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Not unique: clients may choose it.
    request_id    text    COLLATE "C" NOT NULL,
    started_at_ms bigint  NOT NULL,
    -- The name of an API key.
    key           text    COLLATE "C",
    endpoint      text    COLLATE "C" NOT NULL,
    model         text    COLLATE "C" NOT NULL,
    upstream      text    COLLATE "C",
    backend       text    COLLATE "C",
    status        bigint  NOT NULL,
    ending        text    COLLATE "C" NOT NULL,
    stream        boolean NOT NULL,
    attempts      bigint  NOT NULL,
    -- Four classes of tokens that do not overlap.
    prompt        bigint  NOT NULL CHECK (prompt >= 0),
    cached        bigint  NOT NULL CHECK (cached >= 0),
    completion    bigint  NOT NULL CHECK (completion >= 0),
    reasoning     bigint  NOT NULL CHECK (reasoning >= 0),
    usage_source  text    COLLATE "C" NOT NULL,
    ttft_ms       bigint,
    duration_ms   bigint  NOT NULL,
    error_code    text    COLLATE "C",
    -- The gateway that served it, of several on one database.
    node          text    COLLATE "C"
);

CREATE INDEX requests_by_started_at ON requests (started_at_ms);
CREATE INDEX requests_by_request_id ON requests (request_id);
