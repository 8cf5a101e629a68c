-- Workers that did not state their answers, or stated what was not so.
CREATE TABLE misstatements (
    upstream   TEXT    PRIMARY KEY,
    times      INTEGER NOT NULL CHECK (times > 0),
    last_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
