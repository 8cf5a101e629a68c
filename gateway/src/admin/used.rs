//! What was used, from the records of requests, and what was paid for it.

use std::collections::HashMap;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use billing::RequestRecord;
use billing_store::{GroupBy, ReadError, Reader, UsageQuery, UsageRow, ledger::Paid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, data, money::refused, problem};
use crate::{treasury::Units, wall_clock::unix_ms};

/// Groups that are answered with at most.
const GROUPS: u32 = 1000;
/// Requests that are answered with at most.
const REQUESTS: u32 = 1000;
/// The beginning and the duration of a request are each rounded down.
const ROUNDED_MS: i64 = 2;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageParameters {
    #[serde(default)]
    by: By,
    #[serde(default = "thirty")]
    days: u32,
}

const fn thirty() -> u32 {
    30
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Model,
    Key,
    Day,
    Upstream,
}

#[derive(Serialize, ToSchema)]
pub(super) struct UsageView {
    group: Option<String>,
    requests: u64,
    failures: u64,
    prompt: u64,
    cached: u64,
    completion: u64,
    reasoning: u64,
    /// Requests whose tokens were estimated.
    estimated: u64,
}

pub(super) async fn usage(
    State(admin): State<Admin>,
    parameters: Result<Query<UsageParameters>, QueryRejection>,
) -> Response {
    let Query(parameters) = match parameters {
        Ok(parameters) => parameters,
        Err(rejection) => return bad_query(&rejection),
    };
    let Some(reader) = &admin.reader else {
        return no_database();
    };
    let query = UsageQuery {
        since_ms: unix_ms().saturating_sub(i64::from(parameters.days).saturating_mul(86_400_000)),
        until_ms: i64::MAX,
        group_by: match parameters.by {
            By::Model => GroupBy::Model,
            By::Key => GroupBy::Key,
            By::Day => GroupBy::Day,
            By::Upstream => GroupBy::Upstream,
        },
        limit: GROUPS,
    };
    let view = |row: UsageRow| UsageView {
        group: row.group,
        requests: row.requests,
        failures: row.failures,
        prompt: row.usage.prompt,
        cached: row.usage.cached,
        completion: row.usage.completion,
        reasoning: row.usage.reasoning,
        estimated: row.estimated,
    };
    match reader.usage(query).await {
        Ok(rows) => data(rows.into_iter().map(view).collect::<Vec<_>>()),
        Err(error) => unreadable(&error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestsParameters {
    #[serde(default = "fifty")]
    limit: u32,
}

const fn fifty() -> u32 {
    50
}

#[derive(Serialize, ToSchema)]
pub(super) struct RequestView {
    request_id: String,
    started_at_ms: i64,
    key: Option<String>,
    endpoint: String,
    model: String,
    backend: Option<String>,
    upstream: Option<String>,
    status: u16,
    end: &'static str,
    stream: bool,
    attempts: u32,
    usage: UsageCounts,
    usage_source: &'static str,
    ttft_ms: Option<u32>,
    duration_ms: u32,
    error_code: Option<String>,
    /// What the worker earned that answered, in GRAM (TON); `null` where it is not paid.
    wage: Option<WageOf>,
    /// What its account paid; `null` where nobody did, and where several requests had this id.
    cost: Option<Units>,
    /// Of the cost.
    currency: Option<String>,
}

/// What a worker earned by a request, and what it held then that pays for it.
#[derive(Serialize, ToSchema)]
pub(super) struct WageOf {
    amount: String,
    /// The channel that it went into; `null` where it is owed.
    channel: Option<String>,
    /// The channel's highest voucher then.
    voucher_max: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct UsageCounts {
    prompt: u64,
    cached: u64,
    completion: u64,
    reasoning: u64,
}

pub(super) async fn requests(
    State(admin): State<Admin>,
    parameters: Result<Query<RequestsParameters>, QueryRejection>,
) -> Response {
    let Query(parameters) = match parameters {
        Ok(parameters) => parameters,
        Err(rejection) => return bad_query(&rejection),
    };
    let Some(reader): Option<&Reader> = admin.reader.as_ref() else {
        return no_database();
    };
    let records = match reader.recent(parameters.limit.min(REQUESTS)).await {
        Ok(records) => records,
        Err(error) => return unreadable(&error),
    };
    let ids: Vec<&str> = records.iter().map(|record| record.request_id.as_str()).collect();
    let paid = match admin.treasury.paid(&ids).await {
        Ok(paid) => paid,
        Err(error) => return refused(error),
    };
    let paid: HashMap<String, Paid> = paid.into_iter().map(|paid| (paid.request_id.clone(), paid)).collect();
    let view = |record: RequestRecord| {
        let paid = paid
            .get(&record.request_id)
            .filter(|paid| is_within(paid.at_ms, record.started_at_ms, record.duration_ms));
        view(record, paid)
    };
    data(records.into_iter().map(view).collect::<Vec<_>>())
}

/// Whether it was charged while the request ran: another of the same id may have cost nothing.
fn is_within(at_ms: i64, started_at_ms: i64, duration_ms: u32) -> bool {
    let end_ms = started_at_ms.saturating_add(i64::from(duration_ms));
    (started_at_ms..=end_ms.saturating_add(ROUNDED_MS)).contains(&at_ms)
}

fn view(record: RequestRecord, paid: Option<&Paid>) -> RequestView {
    RequestView {
        cost: paid.map(|paid| Units(paid.amount)),
        currency: paid.map(|paid| paid.currency.to_string()),
        request_id: record.request_id,
        started_at_ms: record.started_at_ms,
        key: record.key,
        endpoint: record.endpoint.into_owned(),
        model: record.model,
        backend: record.backend,
        upstream: record.upstream,
        status: record.status,
        end: record.end.as_str(),
        stream: record.stream,
        attempts: record.attempts,
        usage: UsageCounts {
            prompt: record.usage.prompt,
            cached: record.usage.cached,
            completion: record.usage.completion,
            reasoning: record.usage.reasoning,
        },
        usage_source: record.source.as_str(),
        ttft_ms: record.ttft_ms,
        duration_ms: record.duration_ms,
        error_code: record.error_code,
        wage: record.wage.map(|wage| WageOf {
            amount: wage.amount.to_string(),
            channel: wage.channel.map(|channel| channel.to_string()),
            voucher_max: wage.channel.map(|_| wage.voucher_max.to_string()),
        }),
    }
}

fn bad_query(rejection: &QueryRejection) -> Response {
    problem(StatusCode::BAD_REQUEST, "invalid_parameter", rejection.body_text())
}

fn no_database() -> Response {
    let message = "This gateway keeps nothing on disk (data_dir is null), so there are no records.";
    problem(StatusCode::NOT_FOUND, "no_database", message)
}

fn unreadable(error: &ReadError) -> Response {
    tracing::error!(%error, "the records cannot be read");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "database_error", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_belongs_to_the_request_that_ran_then() {
        let check = |at_ms, expect: bool| assert_eq!(is_within(at_ms, 1000, 50), expect, "at {at_ms}");
        check(999, false);
        check(1000, true);
        check(1052, true);
        check(1053, false);
        assert!(is_within(i64::MAX, i64::MAX, u32::MAX));
    }
}
