//! Accounts, what they spent, and the ledger: the part of the admin API that the command line also has in its own
//! process.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{FromRef, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use billing::AccountId;
use billing_store::ledger::{ChangeError, CreateError, DepositError, ForgetError, SpendBy, SpendQuery, WithdrawError};
use serde::Deserialize;

use super::{data, keys::read, problem, token::Actor};
use crate::{
    layers::rescue::Chain,
    treasury::{AccountEdit, Founding, Month, MovedView, Movement, Treasury, TreasuryError, account},
    wall_clock::unix_ms,
};

mod csv;
mod export;

/// Rows that are answered with at most.
const ROWS: u32 = 1000;
/// Groups that spend is summed up in at most.
const GROUPS: u32 = 10_000;

pub(crate) fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Treasury: FromRef<S>,
{
    Router::new()
        .route("/accounts", get(list).post(create))
        .route("/accounts/{id}", get(show).patch(change))
        .route("/accounts/{id}/deposits", post(deposit))
        .route("/accounts/{id}/withdrawals", post(withdraw))
        .route("/accounts/{id}/transfers", get(transfers))
        .route("/accounts/{id}/charges", get(charges))
        .route("/accounts/{id}/statement", get(statement))
        .route("/spend", get(spend))
        .route("/ledger", get(standing))
        .route("/ledger/verify", get(checked).post(verify))
        .route("/ledger/export", get(export::export))
        .route("/ledger/nodes/{name}/forget", post(forget))
}

async fn list(State(treasury): State<Treasury>) -> Response {
    match treasury.accounts().await {
        Ok(accounts) => data(accounts),
        Err(error) => refused(error),
    }
}

async fn show(State(treasury): State<Treasury>, Path(id): Path<String>) -> Response {
    let shown = async { treasury.account(&payer(&id)?).await };
    answer(shown.await)
}

async fn create(State(treasury): State<Treasury>, Extension(actor): Extension<Actor>, body: Bytes) -> Response {
    let new: Founding = match read(&body) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    match treasury.create(&new, &actor.0).await {
        Ok(made) => (StatusCode::CREATED, Json(made)).into_response(),
        Err(error) => refused(error),
    }
}

async fn change(
    State(treasury): State<Treasury>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let edit: AccountEdit = match read(&body) {
        Ok(edit) => edit,
        Err(response) => return *response,
    };
    let changed = async { treasury.change(&account(&id)?, &edit, &actor.0).await };
    answer(changed.await)
}

async fn deposit(
    State(treasury): State<Treasury>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let movement: Movement = match read(&body) {
        Ok(movement) => movement,
        Err(response) => return *response,
    };
    let moved = async { treasury.deposit(&account(&id)?, &movement, &actor.0).await };
    once(moved.await)
}

async fn withdraw(
    State(treasury): State<Treasury>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let movement: Movement = match read(&body) {
        Ok(movement) => movement,
        Err(response) => return *response,
    };
    let moved = async { treasury.withdraw(&account(&id)?, &movement, &actor.0).await };
    once(moved.await)
}

/// 201 where the movement was made now, 200 where it was before.
fn once(moved: Result<MovedView, TreasuryError>) -> Response {
    match moved {
        Ok(moved) if moved.is_new => (StatusCode::CREATED, Json(moved)).into_response(),
        moved => answer(moved),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfers {
    #[serde(default = "hundred")]
    limit: u32,
    before: Option<i64>,
    #[serde(default)]
    movements: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Charges {
    #[serde(default = "hundred")]
    limit: u32,
    before: Option<i64>,
}

const fn hundred() -> u32 {
    100
}

async fn transfers(
    State(treasury): State<Treasury>,
    Path(id): Path<String>,
    parameters: Result<Query<Transfers>, QueryRejection>,
) -> Response {
    let parameters = match query(parameters) {
        Ok(parameters) => parameters,
        Err(response) => return *response,
    };
    let Transfers {
        limit,
        before,
        movements,
    } = parameters;
    let found = async {
        let id = account(&id)?;
        treasury.transfers(&id, movements, before, limit.min(ROWS)).await
    };
    match found.await {
        Ok(transfers) => data(transfers),
        Err(error) => refused(error),
    }
}

async fn charges(
    State(treasury): State<Treasury>,
    Path(id): Path<String>,
    parameters: Result<Query<Charges>, QueryRejection>,
) -> Response {
    let Charges { limit, before } = match query(parameters) {
        Ok(parameters) => parameters,
        Err(response) => return *response,
    };
    let found = async { treasury.charges(&payer(&id)?, before, limit.min(ROWS)).await };
    match found.await {
        Ok(charges) => data(charges),
        Err(error) => refused(error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    month: Option<String>,
}

async fn statement(
    State(treasury): State<Treasury>,
    Path(id): Path<String>,
    parameters: Result<Query<Statement>, QueryRejection>,
) -> Response {
    let Statement { month } = match query(parameters) {
        Ok(parameters) => parameters,
        Err(response) => return *response,
    };
    let month = match month.map_or_else(|| Ok(Month::at(unix_ms())), |month| month.parse()) {
        Ok(month) => month,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "invalid_value", error.to_string()),
    };
    let made = async { treasury.statement(&account(&id)?, month).await };
    answer(made.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spend {
    #[serde(default = "model")]
    by: String,
    #[serde(default = "thirty")]
    days: u32,
    account: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

fn model() -> String {
    "model".to_owned()
}

const fn thirty() -> u32 {
    30
}

async fn spend(State(treasury): State<Treasury>, parameters: Result<Query<Spend>, QueryRejection>) -> Response {
    let Spend {
        by,
        days,
        account,
        format,
    } = match query(parameters) {
        Ok(parameters) => parameters,
        Err(response) => return *response,
    };
    let Some(group) = group(&by) else {
        let message = "`by` is day, model, key, team, org, or tag:NAME.";
        return problem(StatusCode::BAD_REQUEST, "invalid_value", message);
    };
    let found = async {
        let account = account.as_deref().map(payer).transpose()?;
        let query = SpendQuery {
            by: group,
            since_ms: unix_ms().saturating_sub(i64::from(days).saturating_mul(86_400_000)),
            until_ms: i64::MAX,
            account,
            limit: GROUPS,
        };
        treasury.spend(&query).await
    };
    match (found.await, format) {
        (Ok(rows), Format::Json) => data(rows),
        (Ok(rows), Format::Csv) => {
            let kind = "text/csv; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], csv::spend(&by, &rows)).into_response()
        }
        (Err(error), _) => refused(error),
    }
}

fn group(by: &str) -> Option<SpendBy> {
    Some(match by {
        "day" => SpendBy::Day,
        "model" => SpendBy::Model,
        "key" => SpendBy::Key,
        "team" => SpendBy::Team,
        "org" => SpendBy::Organisation,
        by => SpendBy::Tag(by.strip_prefix("tag:").filter(|name| !name.is_empty())?.to_owned()),
    })
}

async fn standing(State(treasury): State<Treasury>) -> Response {
    answer(treasury.standing().await)
}

async fn verify(State(treasury): State<Treasury>) -> Response {
    answer(treasury.verify().await)
}

async fn checked(State(treasury): State<Treasury>) -> Response {
    match treasury.checked() {
        Ok(Some(check)) => Json(check).into_response(),
        Ok(None) => {
            let message = "The ledger was not checked since this gateway started; POST begins a check.";
            problem(StatusCode::NOT_FOUND, "not_checked", message)
        }
        Err(error) => refused(error),
    }
}

async fn forget(
    State(treasury): State<Treasury>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Response {
    answer(treasury.forget(&name, &actor.0).await)
}

/// Keys pay too, but are changed elsewhere.
fn payer(text: &str) -> Result<AccountId, TreasuryError> {
    match text.strip_prefix("key:") {
        Some(name) if !name.is_empty() => Ok(AccountId::key(name)),
        _ => Ok(account(text)?),
    }
}

fn query<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, Box<Response>> {
    let Query(parameters) = parameters.map_err(|rejection| {
        Box::new(problem(
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
            rejection.body_text(),
        ))
    })?;
    Ok(parameters)
}

fn answer<T: serde::Serialize>(outcome: Result<T, TreasuryError>) -> Response {
    match outcome {
        Ok(view) => Json(view).into_response(),
        Err(error) => refused(error),
    }
}

/// What an administrator is told of what was not done or not shown.
pub(super) fn refused(error: TreasuryError) -> Response {
    let message = error.to_string();
    let (status, code) = match &error {
        TreasuryError::NoDatabase => (StatusCode::CONFLICT, "no_database"),

        TreasuryError::Edit(_) => (StatusCode::BAD_REQUEST, "invalid_value"),
        TreasuryError::NotFound { .. }
        | TreasuryError::Create(CreateError::NoOrganisation { .. })
        | TreasuryError::Change(ChangeError::NotFound { .. })
        | TreasuryError::Deposit(DepositError::NotFound { .. })
        | TreasuryError::Withdraw(WithdrawError::NotFound { .. }) => (StatusCode::NOT_FOUND, "account_not_found"),
        TreasuryError::Forget(ForgetError::NotFound { .. }) => (StatusCode::NOT_FOUND, "node_not_found"),
        TreasuryError::Forget(ForgetError::StillLeased { .. }) => (StatusCode::CONFLICT, "node_is_live"),
        TreasuryError::Create(CreateError::Taken { .. }) => (StatusCode::CONFLICT, "account_exists"),
        TreasuryError::Deposit(DepositError::Differs { .. })
        | TreasuryError::Withdraw(WithdrawError::Differs { .. }) => (StatusCode::CONFLICT, "movement_exists"),
        TreasuryError::Withdraw(WithdrawError::Short { .. }) => (StatusCode::CONFLICT, "insufficient_balance"),
        TreasuryError::Create(CreateError::Fault(_))
        | TreasuryError::Change(ChangeError::Fault(_))
        | TreasuryError::Deposit(DepositError::Fault(_))
        | TreasuryError::Withdraw(WithdrawError::Fault(_))
        | TreasuryError::Forget(ForgetError::Fault(_))
        | TreasuryError::Fault(_)
        | TreasuryError::Random => {
            tracing::error!(cause = %Chain(&error), "an administrator's request to the ledger failed");
            (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable")
        }
        _ => (StatusCode::BAD_REQUEST, "invalid_value"),
    };
    problem(status, code, message)
}
