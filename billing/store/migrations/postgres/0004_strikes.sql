-- Upstreams that claimed more tokens than there were, by a recount with the model's own tokenizer.
CREATE TABLE strikes (
    upstream   text COLLATE "C" PRIMARY KEY,
    overclaims bigint NOT NULL CHECK (overclaims > 0),
    -- By how many tokens, all together.
    tokens     bigint NOT NULL CHECK (tokens >= 0),
    last_at_ms bigint NOT NULL
);
