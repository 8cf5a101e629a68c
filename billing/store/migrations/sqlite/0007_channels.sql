-- A released migration never changes, not even a comment: its checksum is in every database.

-- Payment channels of both sides: what both are bound to, what the chain said last, and the highest of what was signed.
-- A row is never deleted: that of a closed channel is its tombstone. Amounts are nanoton.
CREATE TABLE channels (
    -- Where the contract stands: workchain, colon, 64 hexadecimal digits.
    id                TEXT    PRIMARY KEY,
    -- Which of the two we are.
    side              TEXT    NOT NULL CHECK (side IN ('payee', 'payer')),
    -- Of the payee: the account in the ledger that is charged.
    account           TEXT    UNIQUE REFERENCES accounts (id),
    network           INTEGER NOT NULL,
    close_delay_s     INTEGER NOT NULL CHECK (close_delay_s >= 0),
    fee_bps           INTEGER NOT NULL CHECK (fee_bps >= 0 AND fee_bps <= 10000),
    salt              BLOB    NOT NULL CHECK (length(salt) = 16),
    payer             TEXT    NOT NULL,
    payee             TEXT    NOT NULL,
    fee_dest          TEXT    NOT NULL,
    payer_key         BLOB    NOT NULL CHECK (length(payer_key) = 32),
    payee_key         BLOB    NOT NULL CHECK (length(payee_key) = 32),
    -- 'stopping': no new work. 'closed': for ever.
    stage             TEXT    NOT NULL CHECK (stage IN ('open', 'stopping', 'closed')),
    -- The block of the masterchain that the facts below are of.
    seqno             INTEGER NOT NULL CHECK (seqno >= 0),
    -- As far as it is believed: of one source's word alone up to a set amount beyond what is confirmed.
    deposited         INTEGER NOT NULL CHECK (deposited >= 0),
    -- What sources that do not know each other agreed on.
    confirmed         INTEGER NOT NULL CHECK (confirmed >= 0 AND confirmed <= deposited),
    claimed           INTEGER NOT NULL CHECK (claimed >= 0),
    -- Unix seconds.
    close_at          INTEGER CHECK (close_at >= 0),
    voucher_max       INTEGER NOT NULL DEFAULT 0 CHECK (voucher_max >= 0),
    voucher_signature BLOB    CHECK (length(voucher_signature) = 64),
    take              INTEGER NOT NULL DEFAULT 0 CHECK (take >= 0 AND take <= voucher_max),
    take_signature    BLOB    CHECK (length(take_signature) = 64),
    -- Whether the take is the last one.
    take_closes       INTEGER NOT NULL DEFAULT 0 CHECK (take_closes IN (0, 1)),
    -- Of the payee: what was put on the account.
    credited          INTEGER NOT NULL DEFAULT 0
                      CHECK (credited >= 0 AND credited <= voucher_max AND credited <= deposited),
    -- Of the payer: what its own metering says was used.
    spent             INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    -- The generation of the last change of stage or facts.
    revision          INTEGER NOT NULL,
    created_at_ms     INTEGER NOT NULL,
    closed_at_ms      INTEGER,
    CHECK ((side = 'payee') = (account IS NOT NULL)),
    CHECK (voucher_signature IS NOT NULL OR voucher_max = 0),
    CHECK (take_signature IS NOT NULL OR (take = 0 AND take_closes = 0)),
    CHECK (take_closes = 0 OR stage = 'closed'),
    CHECK ((stage = 'closed') = (closed_at_ms IS NOT NULL))
) STRICT;

CREATE INDEX channels_by_revision ON channels (revision);
CREATE TRIGGER channels_bound BEFORE UPDATE OF id, side, account, network, close_delay_s, fee_bps, salt, payer, payee,
        fee_dest, payer_key, payee_key ON channels BEGIN
    SELECT RAISE(ABORT, 'what a channel is born with never changes');
END;
CREATE TRIGGER channels_grown BEFORE UPDATE ON channels
    WHEN NEW.voucher_max < OLD.voucher_max OR NEW.take < OLD.take OR NEW.credited < OLD.credited
        OR NEW.confirmed < OLD.confirmed OR NEW.claimed < OLD.claimed OR NEW.spent < OLD.spent BEGIN
    SELECT RAISE(ABORT, 'the amounts of a channel only grow');
END;
CREATE TRIGGER channels_closed BEFORE UPDATE ON channels
    WHEN (OLD.stage = 'closed' AND (NEW.stage <> 'closed' OR NEW.voucher_max > OLD.voucher_max OR NEW.take > OLD.take))
        OR (OLD.stage = 'stopping' AND NEW.stage = 'open') BEGIN
    SELECT RAISE(ABORT, 'a channel that was stopped or closed is so for ever');
END;
CREATE TRIGGER channels_deleted BEFORE DELETE ON channels BEGIN
    SELECT RAISE(ABORT, 'channels are never deleted');
END;

-- Grows with every change of a channel that other gateways must hear of: stage and facts, not vouchers.
CREATE TABLE channel_state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;

INSERT INTO channel_state (id, generation) VALUES (1, 0);

-- How far the history of an account that we are paid at was read on the chain, and who ever wrote to it until then: by that
-- it is known whether a channel's address was used before, for the chain forgets what a deleted account did.
CREATE TABLE payee_histories (
    -- Network, slash, address.
    account TEXT PRIMARY KEY,
    lt      INTEGER NOT NULL CHECK (lt >= 0),
    hash    BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE payee_senders (
    account TEXT NOT NULL REFERENCES payee_histories (account),
    sender  TEXT NOT NULL,
    -- When it first wrote, by its own logical time.
    sent_lt INTEGER NOT NULL CHECK (sent_lt >= 0),
    PRIMARY KEY (account, sender)
) STRICT, WITHOUT ROWID;
