-- The public keys that signed receipts: old receipts are checked by the keys of their time.
CREATE TABLE receipt_keys (
    public_key    BLOB    NOT NULL CHECK (length(public_key) = 32),
    node          TEXT    NOT NULL,
    first_used_ms INTEGER NOT NULL,
    PRIMARY KEY (public_key, node)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER receipt_keys_updated BEFORE UPDATE ON receipt_keys BEGIN SELECT RAISE(ABORT, 'keys are only added to'); END;
CREATE TRIGGER receipt_keys_deleted BEFORE DELETE ON receipt_keys BEGIN SELECT RAISE(ABORT, 'keys are only added to'); END;
