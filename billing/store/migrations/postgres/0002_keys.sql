-- A released migration never changes, not even a comment: its checksum is in every database.

-- One row for each API key that was ever made here. A revoked key stays, so that its name is never given to another.
CREATE TABLE keys (
    name                text    COLLATE "C" PRIMARY KEY,
    owner               text    COLLATE "C",
    -- A JSON list of names, or patterns that end in *. Not jsonb, which refuses some texts that JSON has.
    models              text    COLLATE "C" NOT NULL,
    min_tier            text    COLLATE "C" NOT NULL,
    requests_per_minute bigint  CHECK (requests_per_minute > 0),
    tokens_per_minute   bigint  CHECK (tokens_per_minute > 0),
    concurrency         bigint  CHECK (concurrency > 0),
    expires_at_ms       bigint,
    disabled            boolean NOT NULL,
    -- A JSON object of texts.
    tags                text    COLLATE "C" NOT NULL,
    created_at_ms       bigint  NOT NULL,
    created_by          text    COLLATE "C" NOT NULL,
    revoked_at_ms       bigint
);

-- The SHA-256 of each key as clients send it. A rotated key has two or more; those of revoked keys stay, so that none comes back.
CREATE TABLE key_hashes (
    sha256         bytea  PRIMARY KEY CHECK (length(sha256) = 32),
    key            text   COLLATE "C" NOT NULL REFERENCES keys (name),
    -- The first moment at which it is refused; null for the one in use.
    valid_until_ms bigint,
    created_at_ms  bigint NOT NULL,
    -- The order in which they were given; SQLite has a column of this name by itself.
    rowid          bigint GENERATED ALWAYS AS IDENTITY
);

CREATE INDEX key_hashes_by_key ON key_hashes (key);

-- Grows with every change to the two tables, whoever makes it, so that a running gateway has one number to look at.
-- Its one row is also what those who change keys lock first, so that they go one after another.
CREATE TABLE key_state (
    id         bigint PRIMARY KEY CHECK (id = 1),
    generation bigint NOT NULL
);

INSERT INTO key_state (id, generation) VALUES (1, 0);

CREATE FUNCTION key_state_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- With its schema, for an operator in psql has another search path.
    UPDATE mulberry.key_state SET generation = generation + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION key_state_moves();
CREATE TRIGGER key_hashes_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON key_hashes
    FOR EACH STATEMENT EXECUTE FUNCTION key_state_moves();

-- What operators changed. No secret, and no hash of one.
CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms  bigint NOT NULL,
    actor  text   COLLATE "C" NOT NULL,
    action text   COLLATE "C" NOT NULL,
    object text   COLLATE "C" NOT NULL,
    -- A JSON object.
    detail text   COLLATE "C" NOT NULL
);

-- The argument is the name of what is only added to.
CREATE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only added to', TG_ARGV[0];
END
$$;

CREATE TRIGGER audit_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the audit log');
