-- Workers that did not state their answers, or stated what was not so.
CREATE TABLE misstatements (
    upstream   text COLLATE "C" PRIMARY KEY,
    times      bigint NOT NULL CHECK (times > 0),
    last_at_ms bigint NOT NULL
);
