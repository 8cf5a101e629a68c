//! The operations on accounts and on the ledger.

use serde_json::json;
use utoipa::openapi::{Components, HttpMethod, ObjectBuilder, Type};

use super::{Body, Row, get, list, one};
use crate::treasury::{
    AccountEdit, AccountView, ChargeView, CheckView, ForgottenView, Founding, LedgerView, MovedView, Movement,
    SpendView, StatementView, TransferView,
};
use openapi::document;

pub(super) fn rows() -> Vec<Row> {
    let movement = || Body {
        schema: one::<Movement>(),
        example: json!({"amount": "25", "memo": "invoice 7", "id": "invoice-7"}),
    };
    const LIMIT: super::Query = ("limit", "At most so many; 100 unless said", Type::Integer);
    const BEFORE: super::Query = ("before", "Those before this `number`, for the next page", Type::Integer);
    let mut rows = vec![
        get(
            "/accounts",
            "listAccounts",
            "Organisations, teams and the keys that they pay for",
            &[],
            list::<AccountView>(),
        ),
        Row {
            method: HttpMethod::Post,
            status: "201",
            body: Some(Body {
                schema: one::<Founding>(),
                example: json!({"id": "team:acme/research", "budget": {"day": "5"}}),
            }),
            ..get(
                "/accounts",
                "createAccount",
                "Make an organisation or a team",
                &[],
                one::<AccountView>(),
            )
        },
        get(
            "/accounts/{id}",
            "getAccount",
            "One account; its id is one segment of the path, so `/` is %2F",
            &[],
            one::<AccountView>(),
        ),
        Row {
            method: HttpMethod::Patch,
            body: Some(Body {
                schema: one::<AccountEdit>(),
                example: json!({"budget": {"day": "10"}, "disabled": false}),
            }),
            ..get(
                "/accounts/{id}",
                "updateAccount",
                "Change an account, from the next request on",
                &[],
                one::<AccountView>(),
            )
        },
    ];
    for (path, id, summary) in [
        (
            "/accounts/{id}/deposits",
            "deposit",
            "Add money to an organisation; 200 where this id was done before",
        ),
        (
            "/accounts/{id}/withdrawals",
            "withdraw",
            "Take money from an organisation that it has not spent",
        ),
    ] {
        rows.push(Row {
            method: HttpMethod::Post,
            status: "201",
            body: Some(movement()),
            ..get(path, id, summary, &[], one::<MovedView>())
        });
    }
    rows.extend([
        get(
            "/accounts/{id}/transfers",
            "listTransfers",
            "What was moved to and from an account, the newest first",
            &[
                LIMIT,
                BEFORE,
                ("movements", "Deposits and withdrawals only", Type::Boolean),
            ],
            list::<TransferView>(),
        ),
        get(
            "/accounts/{id}/charges",
            "listCharges",
            "What requests cost, the newest first",
            &[LIMIT, BEFORE],
            list::<ChargeView>(),
        ),
        get(
            "/accounts/{id}/statement",
            "getStatement",
            "One month of an account",
            &[("month", "Such as `2026-11`; this one unless said", Type::String)],
            one::<StatementView>(),
        ),
        get(
            "/spend",
            "listSpend",
            "What was spent",
            &[
                (
                    "by",
                    "`model` (the default), `day`, `key`, `team`, `org` or `tag:NAME`",
                    Type::String,
                ),
                ("days", "How far back; 30 unless said", Type::Integer),
                ("account", "Only what this account paid", Type::String),
                ("format", "`json` (the default) or `csv`", Type::String),
            ],
            list::<SpendView>(),
        ),
        get(
            "/ledger",
            "getLedger",
            "What was earned, the gateways that spend from the ledger, and the exchange rates that were in force",
            &[],
            one::<LedgerView>(),
        ),
        Row {
            method: HttpMethod::Post,
            ..get(
                "/ledger/verify",
                "verifyLedger",
                "Compute every balance anew; where that takes long the answer says `running`",
                &[],
                one::<CheckView>(),
            )
        },
        get(
            "/ledger/verify",
            "getLedgerCheck",
            "The check that runs, or the last one",
            &[],
            one::<CheckView>(),
        ),
        Row {
            content: "application/x-ndjson",
            ..get(
                "/ledger/export",
                "exportLedger",
                "All that is needed to compute every balance elsewhere, one JSON object a line",
                &[],
                ObjectBuilder::new().schema_type(Type::Object).into(),
            )
        },
        Row {
            method: HttpMethod::Post,
            ..get(
                "/ledger/nodes/{name}/forget",
                "forgetNode",
                "Free what a gateway had leased that will not come back",
                &[],
                one::<ForgottenView>(),
            )
        },
    ]);
    rows
}

pub(super) fn register(components: &mut Components) {
    document::register::<AccountView>(components);
    document::register::<Founding>(components);
    document::register::<AccountEdit>(components);
    document::register::<Movement>(components);
    document::register::<MovedView>(components);
    document::register::<TransferView>(components);
    document::register::<ChargeView>(components);
    document::register::<SpendView>(components);
    document::register::<StatementView>(components);
    document::register::<LedgerView>(components);
    document::register::<CheckView>(components);
    document::register::<ForgottenView>(components);
}
