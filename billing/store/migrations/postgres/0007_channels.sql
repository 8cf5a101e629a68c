-- A released migration never changes, not even a comment: its checksum is in every database.

-- Payment channels of both sides: what both are bound to, what the chain said last, and the highest of what was signed.
-- A row is never deleted: that of a closed channel is its tombstone. Amounts are nanoton.
CREATE TABLE channels (
    -- Where the contract stands: workchain, colon, 64 hexadecimal digits.
    id                text COLLATE "C" PRIMARY KEY,
    -- Which of the two we are.
    side              text COLLATE "C" NOT NULL CHECK (side IN ('payee', 'payer')),
    -- Of the payee: the account in the ledger that is charged.
    account           text COLLATE "C" UNIQUE REFERENCES accounts (id),
    network           bigint  NOT NULL,
    close_delay_s     bigint  NOT NULL CHECK (close_delay_s >= 0),
    fee_bps           bigint  NOT NULL CHECK (fee_bps >= 0 AND fee_bps <= 10000),
    salt              bytea   NOT NULL CHECK (length(salt) = 16),
    payer             text COLLATE "C" NOT NULL,
    payee             text COLLATE "C" NOT NULL,
    fee_dest          text COLLATE "C" NOT NULL,
    payer_key         bytea   NOT NULL CHECK (length(payer_key) = 32),
    payee_key         bytea   NOT NULL CHECK (length(payee_key) = 32),
    -- 'stopping': no new work. 'closed': for ever.
    stage             text COLLATE "C" NOT NULL CHECK (stage IN ('open', 'stopping', 'closed')),
    -- The block of the masterchain that the facts below are of.
    seqno             bigint  NOT NULL CHECK (seqno >= 0),
    -- As far as it is believed: of one source's word alone up to a set amount beyond what is confirmed.
    deposited         bigint  NOT NULL CHECK (deposited >= 0),
    -- What sources that do not know each other agreed on.
    confirmed         bigint  NOT NULL CHECK (confirmed >= 0 AND confirmed <= deposited),
    claimed           bigint  NOT NULL CHECK (claimed >= 0),
    -- Unix seconds.
    close_at          bigint  CHECK (close_at >= 0),
    voucher_max       bigint  NOT NULL DEFAULT 0 CHECK (voucher_max >= 0),
    voucher_signature bytea   CHECK (length(voucher_signature) = 64),
    take              bigint  NOT NULL DEFAULT 0 CHECK (take >= 0 AND take <= voucher_max),
    take_signature    bytea   CHECK (length(take_signature) = 64),
    -- Whether the take is the last one.
    take_closes       boolean NOT NULL DEFAULT false,
    -- Of the payee: what was put on the account.
    credited          bigint  NOT NULL DEFAULT 0
                      CHECK (credited >= 0 AND credited <= voucher_max AND credited <= deposited),
    -- Of the payer: what its own metering says was used.
    spent             bigint  NOT NULL DEFAULT 0 CHECK (spent >= 0),
    -- The generation of the last change of stage or facts.
    revision          bigint  NOT NULL,
    created_at_ms     bigint  NOT NULL,
    closed_at_ms      bigint,
    CHECK ((side = 'payee') = (account IS NOT NULL)),
    CHECK (voucher_signature IS NOT NULL OR voucher_max = 0),
    CHECK (take_signature IS NOT NULL OR (take = 0 AND NOT take_closes)),
    CHECK (NOT take_closes OR stage = 'closed'),
    CHECK ((stage = 'closed') = (closed_at_ms IS NOT NULL))
);

CREATE INDEX channels_by_revision ON channels (revision);
CREATE FUNCTION channels_hold() RETURNS trigger LANGUAGE plpgsql SET search_path = mulberry AS $$
BEGIN
    IF (NEW.id, NEW.side, NEW.account, NEW.network, NEW.close_delay_s, NEW.fee_bps, NEW.salt, NEW.payer, NEW.payee,
            NEW.fee_dest, NEW.payer_key, NEW.payee_key)
        IS DISTINCT FROM (OLD.id, OLD.side, OLD.account, OLD.network, OLD.close_delay_s, OLD.fee_bps, OLD.salt,
            OLD.payer, OLD.payee, OLD.fee_dest, OLD.payer_key, OLD.payee_key) THEN
        RAISE EXCEPTION 'what a channel is born with never changes';
    END IF;
    IF NEW.voucher_max < OLD.voucher_max OR NEW.take < OLD.take OR NEW.credited < OLD.credited
            OR NEW.confirmed < OLD.confirmed OR NEW.claimed < OLD.claimed OR NEW.spent < OLD.spent THEN
        RAISE EXCEPTION 'the amounts of a channel only grow';
    END IF;
    IF (OLD.stage = 'closed' AND (NEW.stage <> 'closed' OR NEW.voucher_max > OLD.voucher_max OR NEW.take > OLD.take))
            OR (OLD.stage = 'stopping' AND NEW.stage = 'open') THEN
        RAISE EXCEPTION 'a channel that was stopped or closed is so for ever';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER channels_changed BEFORE UPDATE ON channels FOR EACH ROW EXECUTE FUNCTION channels_hold();
CREATE TRIGGER channels_deleted BEFORE DELETE OR TRUNCATE ON channels
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table channels');

-- Grows with every change of a channel that other gateways must hear of: stage and facts, not vouchers.
CREATE TABLE channel_state (
    id         bigint PRIMARY KEY CHECK (id = 1),
    generation bigint NOT NULL
);

INSERT INTO channel_state (id, generation) VALUES (1, 0);

-- How far the history of an account that we are paid at was read on the chain, and who ever wrote to it until then: by that
-- it is known whether a channel's address was used before, for the chain forgets what a deleted account did.
CREATE TABLE payee_histories (
    -- Network, slash, address.
    account text COLLATE "C" PRIMARY KEY,
    lt      bigint NOT NULL CHECK (lt >= 0),
    hash    bytea NOT NULL CHECK (length(hash) = 32)
);

CREATE TABLE payee_senders (
    account text COLLATE "C" NOT NULL REFERENCES payee_histories (account),
    sender  text COLLATE "C" NOT NULL,
    -- When it first wrote, by its own logical time.
    sent_lt bigint NOT NULL CHECK (sent_lt >= 0),
    PRIMARY KEY (account, sender)
);
