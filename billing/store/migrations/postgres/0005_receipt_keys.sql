-- The public keys that signed receipts: old receipts are checked by the keys of their time.
CREATE TABLE receipt_keys (
    public_key    bytea  NOT NULL CHECK (length(public_key) = 32),
    node          text COLLATE "C" NOT NULL,
    first_used_ms bigint NOT NULL,
    PRIMARY KEY (public_key, node)
);
CREATE TRIGGER receipt_keys_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON receipt_keys
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table receipt_keys');
