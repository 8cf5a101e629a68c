-- What the worker earned that answered, in nanoton; the channel that it went into, none where it is owed; and the
-- channel's highest voucher then. No client is told.
ALTER TABLE requests ADD COLUMN wage INTEGER CHECK (wage >= 0);
ALTER TABLE requests ADD COLUMN wage_channel TEXT;
ALTER TABLE requests ADD COLUMN wage_voucher INTEGER CHECK (wage_voucher >= 0);
