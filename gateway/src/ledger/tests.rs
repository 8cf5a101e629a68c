//! The ledger of a gateway over the pure rules.
