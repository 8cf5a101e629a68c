-- A released migration never changes, not even a comment: its checksum is in every database.

-- Amounts are billionths of a currency's unit. `span` and `number` name a window: ('total', 0), ('day', days since
-- 1970-01-01), ('month', months since January 1970).

-- Who pays: organisations, teams, and the keys whose spending is bounded or charged to one of them.
CREATE TABLE accounts (
    id            text COLLATE "C" PRIMARY KEY,
    organisation  text COLLATE "C" NOT NULL,
    -- The account above; null for an organisation.
    parent        text COLLATE "C" REFERENCES accounts (id),
    -- Of the organisation, in every row of it; it never changes.
    currency      text COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    -- What an organisation may owe; null is without limit, and null for others.
    credit        bigint CHECK (credit >= 0),
    budget_total  bigint CHECK (budget_total >= 0),
    budget_day    bigint CHECK (budget_day >= 0),
    budget_month  bigint CHECK (budget_month >= 0),
    disabled      boolean NOT NULL,
    -- A JSON object of texts.
    tags          text COLLATE "C" NOT NULL,
    -- Where a key is described: 'file', 'database'; null for organisations and teams.
    origin        text COLLATE "C" CHECK (origin IN ('file', 'database')),
    -- The generation of the last change.
    revision      bigint NOT NULL DEFAULT 0,
    created_at_ms bigint NOT NULL,
    created_by    text COLLATE "C" NOT NULL,
    CHECK ((parent IS NULL) = (id = organisation)),
    CHECK (parent IS NULL OR credit IS NULL)
);

CREATE INDEX accounts_by_organisation ON accounts (organisation);

-- Grows with every change to an account that nodes must hear of, whoever makes it.
CREATE TABLE ledger_state (
    id         bigint PRIMARY KEY CHECK (id = 1),
    generation bigint NOT NULL
);

INSERT INTO ledger_state (id, generation) VALUES (1, 0);

CREATE FUNCTION account_changes() RETURNS trigger LANGUAGE plpgsql SET search_path = mulberry AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.id <> OLD.id OR NEW.currency <> OLD.currency
                OR (NEW.organisation <> OLD.organisation AND OLD.origin IS NULL) THEN
            RAISE EXCEPTION 'the name, the organisation and the currency of an account never change';
        END IF;
    END IF;
    UPDATE ledger_state SET generation = generation + 1 RETURNING generation INTO NEW.revision;
    RETURN NEW;
END $$;
CREATE TRIGGER accounts_changed BEFORE INSERT OR UPDATE ON accounts
    FOR EACH ROW EXECUTE FUNCTION account_changes();

CREATE TRIGGER accounts_deleted BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table accounts');

-- Which account a key of the database is charged to (`org:NAME` or `team:ORGANISATION/TEAM`), and its own budget.
ALTER TABLE keys ADD COLUMN account text COLLATE "C";
ALTER TABLE keys ADD COLUMN budget_total bigint CHECK (budget_total >= 0);
ALTER TABLE keys ADD COLUMN budget_day bigint CHECK (budget_day >= 0);
ALTER TABLE keys ADD COLUMN budget_month bigint CHECK (budget_month >= 0);

-- The ledger knows keys as accounts. A key with a budget and no account is charged to `org:default`.
CREATE FUNCTION key_is_charged() RETURNS trigger LANGUAGE plpgsql SET search_path = mulberry AS $$
BEGIN
    IF coalesce(NEW.account, NEW.budget_total::text, NEW.budget_day::text, NEW.budget_month::text) IS NULL THEN
        UPDATE accounts SET budget_total = NULL, budget_day = NULL, budget_month = NULL WHERE id = 'key:' || NEW.name;
        RETURN NULL;
    END IF;
    INSERT INTO accounts (id, organisation, parent, currency, budget_total, budget_day, budget_month, disabled, tags,
            origin, created_at_ms, created_by)
        SELECT 'key:' || NEW.name, organisation, id, currency, NEW.budget_total, NEW.budget_day, NEW.budget_month,
            false, '{}', 'database', NEW.created_at_ms, NEW.created_by
        FROM accounts WHERE id = coalesce(NEW.account, 'org:default') AND origin IS NULL
        ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, parent = excluded.parent,
            budget_total = excluded.budget_total, budget_day = excluded.budget_day,
            budget_month = excluded.budget_month, currency = excluded.currency, origin = 'database';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the key is charged to an account that does not exist';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keys_charged AFTER INSERT ON keys FOR EACH ROW
    WHEN (coalesce(NEW.account, NEW.budget_total::text, NEW.budget_day::text, NEW.budget_month::text) IS NOT NULL)
    EXECUTE FUNCTION key_is_charged();
CREATE TRIGGER keys_charged_otherwise AFTER UPDATE OF account, budget_total, budget_day, budget_month ON keys
    FOR EACH ROW EXECUTE FUNCTION key_is_charged();

-- Every movement of money, once and for ever.
CREATE TABLE transfers (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text COLLATE "C" NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'capture', 'refund')),
    debit     text COLLATE "C" NOT NULL,
    credit    text COLLATE "C" NOT NULL CHECK (credit <> debit),
    amount    bigint NOT NULL CHECK (amount > 0),
    currency  text COLLATE "C" NOT NULL,
    at_ms     bigint NOT NULL,
    -- The charge that it belongs to.
    node      text COLLATE "C",
    seq       bigint,
    -- The name that whoever deposited or withdrew gave it; a second one of that name is the first.
    reference text COLLATE "C",
    memo      text COLLATE "C",
    actor     text COLLATE "C",
    CHECK ((node IS NULL) = (seq IS NULL)),
    CHECK ((node IS NULL) = (kind IN ('deposit', 'withdrawal')))
);

CREATE UNIQUE INDEX transfers_by_reference ON transfers (reference) WHERE reference IS NOT NULL;
CREATE INDEX transfers_by_charge ON transfers (node, seq) WHERE node IS NOT NULL;
CREATE INDEX transfers_by_debit ON transfers (debit, id);
CREATE INDEX transfers_by_credit ON transfers (credit, id);
CREATE TRIGGER transfers_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table transfers');

-- What requests cost, one row a charge. No prompt, no completion, no API key.
CREATE TABLE charges (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node         text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL CHECK (seq > 0),
    epoch        bigint NOT NULL,
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('capture', 'refund')),
    -- The seq of the capture that a refund gives back of.
    refund_of    bigint,
    -- It came after its node was forgotten, and the operator bears it.
    late         boolean NOT NULL,
    at_ms        bigint NOT NULL,
    request_id   text COLLATE "C" NOT NULL,
    organisation text COLLATE "C" NOT NULL,
    team         text COLLATE "C",
    key          text COLLATE "C",
    day          bigint NOT NULL,
    month        bigint NOT NULL,
    -- Of the nine pots of its accounts, those that it was held in, a bit each.
    bounds       bigint NOT NULL CHECK (bounds >= 0 AND bounds < 512),
    currency     text COLLATE "C" NOT NULL,
    held         bigint NOT NULL CHECK (held >= 0),
    amount       bigint NOT NULL CHECK (amount >= 0),
    fee          bigint NOT NULL CHECK (fee >= 0 AND fee <= amount),
    model        text COLLATE "C" NOT NULL,
    endpoint     text COLLATE "C" NOT NULL,
    backend      text COLLATE "C",
    upstream     text COLLATE "C",
    ending       text COLLATE "C" NOT NULL,
    prompt       bigint NOT NULL CHECK (prompt >= 0),
    cached       bigint NOT NULL CHECK (cached >= 0),
    completion   bigint NOT NULL CHECK (completion >= 0),
    reasoning    bigint NOT NULL CHECK (reasoning >= 0),
    usage_source text COLLATE "C" NOT NULL,
    -- A JSON object: the tags of the key.
    tags         text COLLATE "C" NOT NULL,
    -- A JSON object: the terms, what was claimed and counted, the hashes.
    detail       text COLLATE "C" NOT NULL,
    receipt      text COLLATE "C",
    receipt_hash bytea    CHECK (length(receipt_hash) = 32),
    UNIQUE (node, seq),
    CHECK (kind <> 'capture' OR amount <= held),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL)),
    CHECK ((receipt IS NULL) = (receipt_hash IS NULL))
);

CREATE INDEX charges_by_request_id ON charges (request_id);
CREATE INDEX charges_by_organisation ON charges (organisation, at_ms);
CREATE INDEX charges_by_key ON charges (key, at_ms);
CREATE INDEX charges_by_at ON charges (at_ms);
CREATE INDEX charges_by_refund_of ON charges (node, refund_of) WHERE refund_of IS NOT NULL;
CREATE TRIGGER charges_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON charges
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table charges');

-- Running sums of `transfers`, for each account and, so that nodes do not wait for each other, each node that posts;
-- '' where the transfer belongs to no charge.
CREATE TABLE balances (
    account  text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    node     text COLLATE "C" NOT NULL,
    debited  bigint NOT NULL CHECK (debited >= 0),
    credited bigint NOT NULL CHECK (credited >= 0),
    PRIMARY KEY (account, currency, node)
);

-- What was spent of each account in each window. What may be spent is in `accounts`.
CREATE TABLE pots (
    account text COLLATE "C" NOT NULL,
    span    text COLLATE "C" NOT NULL CHECK (span IN ('total', 'day', 'month')),
    number  bigint NOT NULL,
    used    bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (account, span, number)
);

-- The gateways that charge, each in its last incarnation.
CREATE TABLE nodes (
    name           text COLLATE "C" PRIMARY KEY,
    -- The number of the incarnation.
    epoch          bigint NOT NULL,
    -- One that is closed posts nothing more; what a forgotten one posts is a loss of the operator.
    state          text COLLATE "C" NOT NULL CHECK (state IN ('open', 'closed', 'forgotten')),
    journal        text COLLATE "C" NOT NULL CHECK (journal IN ('local', 'direct')),
    joined_at_ms   bigint NOT NULL,
    renewed_at_ms  bigint NOT NULL,
    -- By the clock of the database.
    lease_until_ms bigint NOT NULL,
    -- Of the last renewal that was taken; none is taken that is not newer.
    round          bigint NOT NULL,
    -- Of its last charge that is here; goes on through incarnations.
    last_seq       bigint NOT NULL
);

-- The slices of pots that nodes hold: what each was granted, and what its charges took of it. Those of a closed
-- incarnation are gone.
CREATE TABLE leases (
    account text COLLATE "C" NOT NULL,
    span    text COLLATE "C" NOT NULL CHECK (span IN ('total', 'day', 'month')),
    number  bigint NOT NULL,
    node    text COLLATE "C" NOT NULL,
    epoch   bigint NOT NULL,
    granted bigint NOT NULL CHECK (granted >= 0),
    drawn   bigint NOT NULL CHECK (drawn >= 0),
    PRIMARY KEY (account, span, number, node, epoch)
);

CREATE INDEX leases_by_node ON leases (node, epoch);

-- The last receipt of each organisation at each node.
CREATE TABLE receipt_heads (
    node         text COLLATE "C" NOT NULL,
    organisation text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    receipt_hash bytea    NOT NULL CHECK (length(receipt_hash) = 32),
    PRIMARY KEY (node, organisation)
);

-- What each node may grant of a key's rates.
CREATE TABLE rate_shares (
    key           text COLLATE "C" NOT NULL,
    rate          text COLLATE "C" NOT NULL CHECK (rate IN ('requests', 'tokens', 'concurrency')),
    node          text COLLATE "C" NOT NULL,
    share         bigint NOT NULL CHECK (share >= 0),
    used          bigint NOT NULL CHECK (used >= 0),
    -- When the node last used or wanted any, by the clock of the database.
    wanted_at_ms  bigint NOT NULL,
    renewed_at_ms bigint NOT NULL,
    -- Until then the node may use its share.
    until_ms      bigint NOT NULL,
    PRIMARY KEY (key, rate, node)
);

-- The rates between currencies that were in force, from `at_ms` on.
CREATE TABLE exchange_rates (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL,
    base  text COLLATE "C" NOT NULL,
    quote text COLLATE "C" NOT NULL CHECK (quote <> base),
    -- Billionths of the quote's unit for one unit of the base.
    rate  bigint NOT NULL CHECK (rate > 0),
    actor text COLLATE "C" NOT NULL
);

CREATE INDEX exchange_rates_by_pair ON exchange_rates (base, quote, id);
CREATE TRIGGER exchange_rates_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON exchange_rates
    FOR EACH STATEMENT EXECUTE FUNCTION only_added_to('the table exchange_rates');
