-- A released migration never changes, not even a comment: its checksum is in every database.

-- One row for each API key that was ever made here. A revoked key stays, so that its name is never given to another.
CREATE TABLE keys (
    name                TEXT    PRIMARY KEY,
    owner               TEXT,
    -- A JSON list of names, or patterns that end in *.
    models              TEXT    NOT NULL,
    min_tier            TEXT    NOT NULL,
    requests_per_minute INTEGER CHECK (requests_per_minute > 0),
    tokens_per_minute   INTEGER CHECK (tokens_per_minute > 0),
    concurrency         INTEGER CHECK (concurrency > 0),
    expires_at_ms       INTEGER,
    disabled            INTEGER NOT NULL,
    -- A JSON object of texts.
    tags                TEXT    NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    created_by          TEXT    NOT NULL,
    revoked_at_ms       INTEGER
) STRICT;

-- The SHA-256 of each key as clients send it. A rotated key has two or more; those of revoked keys stay, so that none comes back.
CREATE TABLE key_hashes (
    sha256         BLOB    PRIMARY KEY CHECK (length(sha256) = 32),
    key            TEXT    NOT NULL REFERENCES keys (name),
    -- The first moment at which it is refused; null for the one in use.
    valid_until_ms INTEGER,
    created_at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX key_hashes_by_key ON key_hashes (key);

-- Grows with every change to the two tables, whoever makes it, so that a running gateway has one number to look at.
CREATE TABLE key_state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;

INSERT INTO key_state (id, generation) VALUES (1, 0);

CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN UPDATE key_state SET generation = generation + 1; END;
CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN UPDATE key_state SET generation = generation + 1; END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN UPDATE key_state SET generation = generation + 1; END;
CREATE TRIGGER key_hashes_inserted AFTER INSERT ON key_hashes BEGIN UPDATE key_state SET generation = generation + 1; END;
CREATE TRIGGER key_hashes_updated AFTER UPDATE ON key_hashes BEGIN UPDATE key_state SET generation = generation + 1; END;
CREATE TRIGGER key_hashes_deleted AFTER DELETE ON key_hashes BEGIN UPDATE key_state SET generation = generation + 1; END;

-- What operators changed. No secret, and no hash of one.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    object TEXT    NOT NULL,
    -- A JSON object.
    detail TEXT    NOT NULL
) STRICT;

CREATE TRIGGER audit_updated BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER audit_deleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
