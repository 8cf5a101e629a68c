//! What the sections about money refuse.

use super::{B, check, check_with_backend};

const DIGITS: &str = "fix: write a number such as `2.50`, with at most nine digits after the point";

#[test]
fn the_address_of_a_database_is_never_quoted() {
    let begin = "it does not begin with postgres:// or postgresql://";
    let parameter = "what stands after its `?` is nothing that can be set; a URL may end in ?sslmode=verify-full&sslrootcert=FILE and the like, and a ? in a password is written %3F";
    let form = "it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE; characters such as @ / ? # % in a password are written as %40 %2F %3F %23 %25";
    for (wrong, why) in [
        ("mysql://u:sk-hidden@h/d", begin),
        ("sk-hidden", begin),
        ("'postgres://u:p?sk-hidden@h/d'", parameter),
        ("'postgres://u:p?SK=hidden@h/d'", parameter),
        ("'postgres://h:sk-hidden/d'", form),
    ] {
        check_with_backend(
            &format!("database: {wrong}"),
            &[
                &format!("m.yaml:2:11: `database`: is not the address of a PostgreSQL database: {why}"),
                "fix: write `postgres://USER:PASSWORD@HOST/DATABASE`, or leave it out to keep everything in `data_dir`",
            ],
        );
    }
}

#[test]
fn what_is_charged_must_be_kept() {
    check(
        &format!(
            "{B}data_dir: null\nkeys:\n- {{name: a, secret: s, budget: {{day: 1}}}}\n- {{name: b, secret: t}}\nledger: {{journal: direct}}\noidc: [{{issuer: 'https://i', audience: a, rules: [{{claim: c, value: v, account: 'org:o'}}]}}]"
        ),
        &[
            "m.yaml:4:3: `keys[0]`: is charged, and with `data_dir: null` what it spends could be kept nowhere",
            "fix: set `data_dir` or `database`, or remove its `account` and `budget`",
            "m.yaml:6:19: `ledger.journal`: there is no `database`, and the journal is in this gateway's own ledger already",
            "fix: add `database: postgres://…`, or leave it out",
            "m.yaml:7:8: `oidc[0]`: is charged, and with `data_dir: null` what it spends could be kept nowhere",
            "fix: set `data_dir` or `database`, or remove each `account` in it",
        ],
    );
    check(
        &format!("{B}data_dir: null\ndatabase: postgres://h/d\nledger: {{lease: 10s}}"),
        &[
            "m.yaml:4:9: `ledger.journal`: a local journal needs a disk, and `data_dir` is null",
            "fix: write `journal: direct`, or set `data_dir`",
            "m.yaml:4:9: `ledger.node`: without a `data_dir` the name of this gateway cannot be kept",
            "fix: give each gateway a name of its own: `node: gateway-1`",
            "m.yaml:4:9: `ledger.receipt_key`: without a `data_dir` the key that signs receipts cannot be kept",
            "fix: name a file with `receipt_key`, or write `receipts: false`",
        ],
    );
}

#[test]
fn nobody_pays_without_a_key_where_keys_are_asked_for() {
    let pays = "ledger: {anonymous: 'org:default'}";
    for (more, why, fix) in [
        (
            "keys: [{name: a, secret: s}]",
            "pays for requests without a key, and with `keys` none is served",
            "leave it out",
        ),
        (
            "keys: [{name: a, secret: s}]\noidc: [{issuer: 'https://i', audience: a}]",
            "pays for requests without a key, and with `keys` and `oidc` none is served",
            "leave it out",
        ),
        (
            "listen: 0.0.0.0:80",
            "pays for requests without a key, and none is served where other machines can connect (0.0.0.0:80)",
            "leave it out",
        ),
        (
            "data_dir: null",
            "is charged, and with `data_dir: null` what it spends could be kept nowhere",
            "set `data_dir` or `database`, or leave it out",
        ),
    ] {
        check_with_backend(
            &format!("{pays}\n{more}"),
            &[
                &format!("m.yaml:2:21: `ledger.anonymous`: {why}"),
                &format!("fix: {fix}"),
            ],
        );
    }
    check_with_backend(
        "ledger: {anonymous: 'key:a'}",
        &[
            "m.yaml:2:21: `ledger.anonymous`: `key:a` is not an account that keys can belong to",
            "fix: write `org:NAME` or `team:ORGANISATION/TEAM`, with up to 128 letters, digits and `-_.`",
        ],
    );
}

#[test]
fn subjects_of_two_issuers_are_never_one_in_the_ledger() {
    check_with_backend(
        "oidc: [{issuer: 'https://i#x', audience: a, account: 'org:acme'}]",
        &[
            "m.yaml:2:17: `oidc[0].issuer`: has a `#`, so that its subjects could be taken for another's in the ledger",
            "fix: leave `account` out",
        ],
    );
}

#[test]
fn settings_of_the_ledger() {
    check_with_backend(
        "ledger: {currency: usd, node: a b, journal: remote, lease: 4s, unpriced: free, receipt_key: none.pem}",
        &[
            "m.yaml:2:20: `ledger.currency`: `usd` is not the code of a currency",
            "fix: write three capital letters, such as `USD`, `EUR` or `TON`",
            "m.yaml:2:31: `ledger.node`: cannot be the name of a node",
            "fix: use up to 64 letters, digits and `-_.`",
            "m.yaml:2:45: `ledger.journal`: `remote` is not known here",
            "fix: write one of `local`, `direct`",
            "m.yaml:2:60: `ledger.lease`: is too short or too long to be leased for",
            "fix: write a time from 5s to 10m",
            "m.yaml:2:74: `ledger.unpriced`: `free` is not known here",
            "fix: write one of `refuse`, `serve`",
            "m.yaml:2:93: `ledger.receipt_key`: no such file: `none.pem`",
            "fix: check the path; a relative one starts at the working directory",
        ],
    );
}

#[test]
fn rates_and_special_prices() {
    check_with_backend(
        "ledger:\n  rates:\n  - {from: USD, rate: 0}\n  - {from: USD, to: USD, rate: 1}\n  - {from: USD, to: TON, rate: 0}\n  - {from: USD, to: TON, rate: 2}\n  prices:\n  - {keys: ['*a']}",
        &[
            "m.yaml:4:5: `ledger.rates[0].to`: missing",
            "fix: add `to:`",
            "m.yaml:5:21: `ledger.rates[1].to`: is the currency of `from` too",
            "fix: name two currencies; what is of one currency needs no rate",
            "m.yaml:6:32: `ledger.rates[2].rate`: must not be zero",
            "fix: leave it out for the default, or write a larger value",
            "m.yaml:7:5: `ledger.rates[3]`: is for the same two currencies as an earlier one",
            "fix: keep one of them",
            "m.yaml:9:5: `ledger.prices[0].price`: missing",
            "fix: add `price:`",
            "m.yaml:9:13: `ledger.prices[0].keys[0]`: `*a` has a `*` that is not its last character",
            "fix: write a name, or the beginning of names and one `*`",
        ],
    );
}

#[test]
fn accounts_and_budgets_of_keys() {
    for wrong in [
        "acme",
        "key:bob",
        "system:earnings",
        "team:acme",
        "'org:a b'",
        "'org:..'",
    ] {
        let quoted = wrong.trim_matches('\'');
        check(
            &format!("{B}keys: [{{name: k, secret: s, account: {wrong}}}]"),
            &[
                &format!("m.yaml:2:38: `keys[0].account`: `{quoted}` is not an account that keys can belong to"),
                "fix: write `org:NAME` or `team:ORGANISATION/TEAM`, with up to 128 letters, digits and `-_.`",
            ],
        );
    }
    check(
        &format!("{B}keys: [{{name: k, secret: s, budget: {{total: 1e3, day: 9223372037, weak: 1}}}}]"),
        &[
            "m.yaml:2:45: `keys[0].budget.total`: expected an amount, found `1e3`",
            DIGITS,
            "m.yaml:2:55: `keys[0].budget.day`: `9223372037` is more than an amount can be",
            "fix: write at most 9223372036, or leave it out",
            "m.yaml:2:67: `keys[0].budget.weak`: unknown key",
            "fix: remove it; the keys here are `total`, `day`, `month`",
        ],
    );
}

#[test]
fn a_registry() {
    check(
        &format!("{B}registry: {{address: 'EQ!', network: 7, every: 2h, keep: 1h}}"),
        &[
            "m.yaml:2:11: `registry.chain`: nobody is known who tells of this network",
            "fix: name a source",
            "m.yaml:2:21: `registry.address`: an address has 48 letters, or is `0:` and 64 hexadecimal digits; this one has 3 letters",
            "fix: copy the address from whoever runs the registry",
            "m.yaml:2:47: `registry.every`: does not fit what registries are, or `keep`",
            "fix: read it at least every 1h, so that no change is missed, and at most every 100ms",
        ],
    );
    let address = "0:8383838383838383838383838383838383838383838383838383838383838383";
    check(
        &format!("{B}data_dir: null\nregistry: {{address: '{address}'}}"),
        &[
            "m.yaml:3:11: `registry`: needs what was read of it to be kept, or an earlier state could be shown at each start",
            "fix: set `data_dir`",
        ],
    );
}

#[test]
fn what_workers_are_paid() {
    let payout = "0:8383838383838383838383838383838383838383838383838383838383838383";
    check(
        &format!(
            "{B}payments: {{chain: ['http://a'], payout: '{payout}', wallet_file: w.json}}\n\
             workers: {{pay: {{wallet_file: w.json, window: 2, deposit: 0.5}}}}"
        ),
        &[
            "m.yaml:3:30: `workers.pay.wallet_file`: is that of `payments.wallet_file` too, and two who pay from one wallet undo each other's messages",
            "fix: make another with `mulberry wallet create --wallet FILE`",
            "m.yaml:3:46: `workers.pay.window`: is more than `exposure_cap` allows to be at risk",
            "fix: make `window` less, or `exposure_cap` more",
            "m.yaml:3:58: `workers.pay.deposit`: is less than `open_above`: what is owed would not fit",
            "fix: pay in at least what is owed by then",
        ],
    );
}
