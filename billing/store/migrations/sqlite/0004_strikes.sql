-- Upstreams that claimed more tokens than there were, by a recount with the model's own tokenizer.
CREATE TABLE strikes (
    upstream   TEXT    PRIMARY KEY,
    overclaims INTEGER NOT NULL CHECK (overclaims > 0),
    -- By how many tokens, all together.
    tokens     INTEGER NOT NULL CHECK (tokens >= 0),
    last_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
