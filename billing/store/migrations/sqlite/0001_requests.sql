-- A released migration never changes, not even a comment: its checksum is in every database.

-- "MULB": tells our file from another program's.
PRAGMA application_id = 1297435714;

-- One row for each request that ended. No prompt, no completion, no API key.
CREATE TABLE requests (
    id            INTEGER PRIMARY KEY,
    -- Not unique: clients may choose it.
    request_id    TEXT    NOT NULL,
    started_at_ms INTEGER NOT NULL,
    -- The name of an API key.
    key           TEXT,
    endpoint      TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    upstream      TEXT,
    backend       TEXT,
    status        INTEGER NOT NULL,
    ending        TEXT    NOT NULL,
    stream        INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    -- Four classes of tokens that do not overlap.
    prompt        INTEGER NOT NULL CHECK (prompt >= 0),
    cached        INTEGER NOT NULL CHECK (cached >= 0),
    completion    INTEGER NOT NULL CHECK (completion >= 0),
    reasoning     INTEGER NOT NULL CHECK (reasoning >= 0),
    usage_source  TEXT    NOT NULL,
    ttft_ms       INTEGER,
    duration_ms   INTEGER NOT NULL,
    error_code    TEXT
) STRICT;

CREATE INDEX requests_by_started_at ON requests (started_at_ms);
CREATE INDEX requests_by_request_id ON requests (request_id);
