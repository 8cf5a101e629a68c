-- A released migration never changes, not even a comment: its checksum is in every database.

-- Amounts are billionths of a currency's unit. `span` and `number` name a window: ('total', 0), ('day', days since
-- 1970-01-01), ('month', months since January 1970).

-- Who pays: organisations, teams, and the keys whose spending is bounded or charged to one of them.
CREATE TABLE accounts (
    id            TEXT    PRIMARY KEY,
    organisation  TEXT    NOT NULL,
    -- The account above; null for an organisation.
    parent        TEXT    REFERENCES accounts (id),
    -- Of the organisation, in every row of it; it never changes.
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    -- What an organisation may owe; null is without limit, and null for others.
    credit        INTEGER CHECK (credit >= 0),
    budget_total  INTEGER CHECK (budget_total >= 0),
    budget_day    INTEGER CHECK (budget_day >= 0),
    budget_month  INTEGER CHECK (budget_month >= 0),
    disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    -- A JSON object of texts.
    tags          TEXT    NOT NULL,
    -- Where a key is described: 'file', 'database'; null for organisations and teams.
    origin        TEXT    CHECK (origin IN ('file', 'database')),
    -- The generation of the last change.
    revision      INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL,
    created_by    TEXT    NOT NULL,
    CHECK ((parent IS NULL) = (id = organisation)),
    CHECK (parent IS NULL OR credit IS NULL)
) STRICT;

CREATE INDEX accounts_by_organisation ON accounts (organisation);

-- Grows with every change to an account that nodes must hear of, whoever makes it.
CREATE TABLE ledger_state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;

INSERT INTO ledger_state (id, generation) VALUES (1, 0);

CREATE TRIGGER accounts_inserted AFTER INSERT ON accounts BEGIN
    UPDATE ledger_state SET generation = generation + 1;
    UPDATE accounts SET revision = (SELECT generation FROM ledger_state) WHERE id = NEW.id;
END;
CREATE TRIGGER accounts_updated
    AFTER UPDATE OF parent, credit, budget_total, budget_day, budget_month, disabled, tags, origin ON accounts BEGIN
    UPDATE ledger_state SET generation = generation + 1;
    UPDATE accounts SET revision = (SELECT generation FROM ledger_state) WHERE id = NEW.id;
END;
CREATE TRIGGER accounts_moved BEFORE UPDATE OF id, organisation, currency ON accounts
    WHEN NEW.id <> OLD.id OR NEW.currency <> OLD.currency OR (NEW.organisation <> OLD.organisation AND OLD.origin IS NULL) BEGIN
    SELECT RAISE(ABORT, 'the name, the organisation and the currency of an account never change');
END;
CREATE TRIGGER accounts_deleted BEFORE DELETE ON accounts BEGIN SELECT RAISE(ABORT, 'accounts are never deleted'); END;

-- Which account a key of the database is charged to (`org:NAME` or `team:ORGANISATION/TEAM`), and its own budget.
ALTER TABLE keys ADD COLUMN account TEXT;
ALTER TABLE keys ADD COLUMN budget_total INTEGER CHECK (budget_total >= 0);
ALTER TABLE keys ADD COLUMN budget_day INTEGER CHECK (budget_day >= 0);
ALTER TABLE keys ADD COLUMN budget_month INTEGER CHECK (budget_month >= 0);

-- The ledger knows keys as accounts. A key with a budget and no account is charged to `org:default`.
CREATE TRIGGER keys_charged AFTER INSERT ON keys
    WHEN coalesce(NEW.account, NEW.budget_total, NEW.budget_day, NEW.budget_month) IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'the key is charged to an account that does not exist')
        WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE id = coalesce(NEW.account, 'org:default') AND origin IS NULL);
    INSERT INTO accounts (id, organisation, parent, currency, budget_total, budget_day, budget_month, disabled, tags,
            origin, created_at_ms, created_by)
        SELECT 'key:' || NEW.name, organisation, id, currency, NEW.budget_total, NEW.budget_day, NEW.budget_month, 0,
            '{}', 'database', NEW.created_at_ms, NEW.created_by
        FROM accounts WHERE id = coalesce(NEW.account, 'org:default')
        ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, parent = excluded.parent,
            budget_total = excluded.budget_total, budget_day = excluded.budget_day,
            budget_month = excluded.budget_month, currency = excluded.currency, origin = 'database';
END;
CREATE TRIGGER keys_charged_otherwise AFTER UPDATE OF account, budget_total, budget_day, budget_month ON keys
    WHEN coalesce(NEW.account, NEW.budget_total, NEW.budget_day, NEW.budget_month) IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'the key is charged to an account that does not exist')
        WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE id = coalesce(NEW.account, 'org:default') AND origin IS NULL);
    INSERT INTO accounts (id, organisation, parent, currency, budget_total, budget_day, budget_month, disabled, tags,
            origin, created_at_ms, created_by)
        SELECT 'key:' || NEW.name, organisation, id, currency, NEW.budget_total, NEW.budget_day, NEW.budget_month, 0,
            '{}', 'database', NEW.created_at_ms, NEW.created_by
        FROM accounts WHERE id = coalesce(NEW.account, 'org:default')
        ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, parent = excluded.parent,
            budget_total = excluded.budget_total, budget_day = excluded.budget_day,
            budget_month = excluded.budget_month, currency = excluded.currency, origin = 'database';
END;
CREATE TRIGGER keys_uncharged AFTER UPDATE OF account, budget_total, budget_day, budget_month ON keys
    WHEN coalesce(NEW.account, NEW.budget_total, NEW.budget_day, NEW.budget_month) IS NULL BEGIN
    UPDATE accounts SET budget_total = NULL, budget_day = NULL, budget_month = NULL WHERE id = 'key:' || NEW.name;
END;

-- Every movement of money, once and for ever.
CREATE TABLE transfers (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT    NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'capture', 'refund')),
    debit     TEXT    NOT NULL,
    credit    TEXT    NOT NULL CHECK (credit <> debit),
    amount    INTEGER NOT NULL CHECK (amount > 0),
    currency  TEXT    NOT NULL,
    at_ms     INTEGER NOT NULL,
    -- The charge that it belongs to.
    node      TEXT,
    seq       INTEGER,
    -- The name that whoever deposited or withdrew gave it; a second one of that name is the first.
    reference TEXT,
    memo      TEXT,
    actor     TEXT,
    CHECK ((node IS NULL) = (seq IS NULL)),
    CHECK ((node IS NULL) = (kind IN ('deposit', 'withdrawal')))
) STRICT;

CREATE UNIQUE INDEX transfers_by_reference ON transfers (reference) WHERE reference IS NOT NULL;
CREATE INDEX transfers_by_charge ON transfers (node, seq) WHERE node IS NOT NULL;
CREATE INDEX transfers_by_debit ON transfers (debit, id);
CREATE INDEX transfers_by_credit ON transfers (credit, id);
CREATE TRIGGER transfers_updated BEFORE UPDATE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers are only added to'); END;
CREATE TRIGGER transfers_deleted BEFORE DELETE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers are only added to'); END;

-- What requests cost, one row a charge. No prompt, no completion, no API key.
CREATE TABLE charges (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    node         TEXT    NOT NULL,
    seq          INTEGER NOT NULL CHECK (seq > 0),
    epoch        INTEGER NOT NULL,
    kind         TEXT    NOT NULL CHECK (kind IN ('capture', 'refund')),
    -- The seq of the capture that a refund gives back of.
    refund_of    INTEGER,
    -- It came after its node was forgotten, and the operator bears it.
    late         INTEGER NOT NULL CHECK (late IN (0, 1)),
    at_ms        INTEGER NOT NULL,
    request_id   TEXT    NOT NULL,
    organisation TEXT    NOT NULL,
    team         TEXT,
    key          TEXT,
    day          INTEGER NOT NULL,
    month        INTEGER NOT NULL,
    -- Of the nine pots of its accounts, those that it was held in, a bit each.
    bounds       INTEGER NOT NULL CHECK (bounds >= 0 AND bounds < 512),
    currency     TEXT    NOT NULL,
    held         INTEGER NOT NULL CHECK (held >= 0),
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    fee          INTEGER NOT NULL CHECK (fee >= 0 AND fee <= amount),
    model        TEXT    NOT NULL,
    endpoint     TEXT    NOT NULL,
    backend      TEXT,
    upstream     TEXT,
    ending       TEXT    NOT NULL,
    prompt       INTEGER NOT NULL CHECK (prompt >= 0),
    cached       INTEGER NOT NULL CHECK (cached >= 0),
    completion   INTEGER NOT NULL CHECK (completion >= 0),
    reasoning    INTEGER NOT NULL CHECK (reasoning >= 0),
    usage_source TEXT    NOT NULL,
    -- A JSON object: the tags of the key.
    tags         TEXT    NOT NULL,
    -- A JSON object: the terms, what was claimed and counted, the hashes.
    detail       TEXT    NOT NULL,
    receipt      TEXT,
    receipt_hash BLOB    CHECK (length(receipt_hash) = 32),
    UNIQUE (node, seq),
    CHECK (kind <> 'capture' OR amount <= held),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL)),
    CHECK ((receipt IS NULL) = (receipt_hash IS NULL))
) STRICT;

CREATE INDEX charges_by_request_id ON charges (request_id);
CREATE INDEX charges_by_organisation ON charges (organisation, at_ms);
CREATE INDEX charges_by_key ON charges (key, at_ms);
CREATE INDEX charges_by_at ON charges (at_ms);
CREATE INDEX charges_by_refund_of ON charges (node, refund_of) WHERE refund_of IS NOT NULL;
CREATE TRIGGER charges_updated BEFORE UPDATE ON charges BEGIN SELECT RAISE(ABORT, 'charges are only added to'); END;
CREATE TRIGGER charges_deleted BEFORE DELETE ON charges BEGIN SELECT RAISE(ABORT, 'charges are only added to'); END;

-- Running sums of `transfers`, for each account and, so that nodes do not wait for each other, each node that posts;
-- '' where the transfer belongs to no charge.
CREATE TABLE balances (
    account  TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    debited  INTEGER NOT NULL CHECK (debited >= 0),
    credited INTEGER NOT NULL CHECK (credited >= 0),
    PRIMARY KEY (account, currency, node)
) STRICT, WITHOUT ROWID;

-- What was spent of each account in each window. What may be spent is in `accounts`.
CREATE TABLE pots (
    account TEXT    NOT NULL,
    span    TEXT    NOT NULL CHECK (span IN ('total', 'day', 'month')),
    number  INTEGER NOT NULL,
    used    INTEGER NOT NULL CHECK (used >= 0),
    PRIMARY KEY (account, span, number)
) STRICT, WITHOUT ROWID;

-- The gateways that charge, each in its last incarnation.
CREATE TABLE nodes (
    name           TEXT    PRIMARY KEY,
    -- The number of the incarnation.
    epoch          INTEGER NOT NULL,
    -- One that is closed posts nothing more; what a forgotten one posts is a loss of the operator.
    state          TEXT    NOT NULL CHECK (state IN ('open', 'closed', 'forgotten')),
    journal        TEXT    NOT NULL CHECK (journal IN ('local', 'direct')),
    joined_at_ms   INTEGER NOT NULL,
    renewed_at_ms  INTEGER NOT NULL,
    -- By the clock of the database.
    lease_until_ms INTEGER NOT NULL,
    -- Of the last renewal that was taken; none is taken that is not newer.
    round          INTEGER NOT NULL,
    -- Of its last charge that is here; goes on through incarnations.
    last_seq       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The slices of pots that nodes hold: what each was granted, and what its charges took of it. Those of a closed
-- incarnation are gone.
CREATE TABLE leases (
    account TEXT    NOT NULL,
    span    TEXT    NOT NULL CHECK (span IN ('total', 'day', 'month')),
    number  INTEGER NOT NULL,
    node    TEXT    NOT NULL,
    epoch   INTEGER NOT NULL,
    granted INTEGER NOT NULL CHECK (granted >= 0),
    drawn   INTEGER NOT NULL CHECK (drawn >= 0),
    PRIMARY KEY (account, span, number, node, epoch)
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_by_node ON leases (node, epoch);

-- The last receipt of each organisation at each node.
CREATE TABLE receipt_heads (
    node         TEXT    NOT NULL,
    organisation TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    receipt_hash BLOB    NOT NULL CHECK (length(receipt_hash) = 32),
    PRIMARY KEY (node, organisation)
) STRICT, WITHOUT ROWID;

-- What each node may grant of a key's rates.
CREATE TABLE rate_shares (
    key           TEXT    NOT NULL,
    rate          TEXT    NOT NULL CHECK (rate IN ('requests', 'tokens', 'concurrency')),
    node          TEXT    NOT NULL,
    share         INTEGER NOT NULL CHECK (share >= 0),
    used          INTEGER NOT NULL CHECK (used >= 0),
    -- When the node last used or wanted any, by the clock of the database.
    wanted_at_ms  INTEGER NOT NULL,
    renewed_at_ms INTEGER NOT NULL,
    -- Until then the node may use its share.
    until_ms      INTEGER NOT NULL,
    PRIMARY KEY (key, rate, node)
) STRICT, WITHOUT ROWID;

-- The rates between currencies that were in force, from `at_ms` on.
CREATE TABLE exchange_rates (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    base  TEXT    NOT NULL,
    quote TEXT    NOT NULL CHECK (quote <> base),
    -- Billionths of the quote's unit for one unit of the base.
    rate  INTEGER NOT NULL CHECK (rate > 0),
    actor TEXT    NOT NULL
) STRICT;

CREATE INDEX exchange_rates_by_pair ON exchange_rates (base, quote, id);
CREATE TRIGGER exchange_rates_updated BEFORE UPDATE ON exchange_rates BEGIN SELECT RAISE(ABORT, 'rates are only added to'); END;
CREATE TRIGGER exchange_rates_deleted BEFORE DELETE ON exchange_rates BEGIN SELECT RAISE(ABORT, 'rates are only added to'); END;

-- The journal of this node, where the ledger is on PostgreSQL: charges that are durable here first and shipped later.
CREATE TABLE journal (
    seq          INTEGER PRIMARY KEY CHECK (seq > 0),
    request_id   TEXT    NOT NULL,
    organisation TEXT    NOT NULL,
    -- A JSON object: the charge.
    charge       TEXT    NOT NULL,
    receipt      TEXT,
    receipt_hash BLOB    CHECK (length(receipt_hash) = 32)
) STRICT;

CREATE INDEX journal_by_request_id ON journal (request_id);

CREATE TABLE journal_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    -- Whose it is, and the incarnation that wrote last; null before the first.
    node     TEXT,
    epoch    INTEGER,
    last_seq INTEGER NOT NULL,
    -- Up to this number all is in the ledger too.
    shipped  INTEGER NOT NULL
) STRICT;

INSERT INTO journal_state (id, last_seq, shipped) VALUES (1, 0, 0);

CREATE TABLE journal_heads (
    organisation TEXT    PRIMARY KEY,
    seq          INTEGER NOT NULL,
    receipt_hash BLOB    NOT NULL CHECK (length(receipt_hash) = 32)
) STRICT, WITHOUT ROWID;
