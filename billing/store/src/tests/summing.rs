use billing::{End, RequestRecord, Usage, UsageSource};

use super::scene::{Scene, on_both};
use super::{all, record, sqlite, write};
use crate::{GroupBy, Store, UsageQuery, UsageRow};

on_both![
    by_model,
    by_key_with_a_group_for_none,
    by_upstream,
    by_day_newest_first,
    a_limit_keeps_the_first_groups,
    since_is_in_and_until_is_out,
    no_requests_give_no_rows,
    a_millisecond_later_is_another_span,
];

const DAY_MS: i64 = 86_400_000;

/// Five requests of two keys, models and days.
async fn store(scene: &Scene) -> Store {
    let store = scene.open().await;
    let first = record("1");
    let mut second = record("2");
    second.model = "gpt-oss-20b".into();
    second.source = UsageSource::Estimated;
    let mut third = record("3");
    third.started_at_ms += DAY_MS;
    third.end = End::Failed;
    third.key = Some("team-b".into());
    let mut fourth = record("4");
    fourth.started_at_ms += DAY_MS;
    fourth.end = End::Cancelled;
    fourth.upstream = Some("gpu-2".into());
    let fifth = RequestRecord {
        end: End::Refused,
        key: None,
        upstream: None,
        usage: Usage::default(),
        source: UsageSource::None,
        ..record("5")
    };
    write(&store, [first, second, third, fourth, fifth]).await;
    store
}

/// group, requests, failures, estimated; the tokens follow from how many had usage.
type Line = (Option<&'static str>, u64, u64, u64, u64);

async fn check(scene: &Scene, query: UsageQuery, expect: &[Line]) {
    let rows = store(scene).await.usage(query).await.expect("readable");
    let expect: Vec<_> = expect
        .iter()
        .map(|&(group, requests, failures, estimated, used)| UsageRow {
            group: group.map(str::to_owned),
            requests,
            failures,
            estimated,
            usage: Usage {
                prompt: 40 * used,
                cached: 60 * used,
                completion: 20 * used,
                reasoning: 10 * used,
            },
        })
        .collect();
    assert_eq!(rows, expect);
}

async fn by_model(scene: Scene) {
    check(
        &scene,
        all(GroupBy::Model),
        &[(Some("qwen3-8b"), 4, 1, 0, 3), (Some("gpt-oss-20b"), 1, 0, 1, 1)],
    )
    .await;
}

async fn by_key_with_a_group_for_none(scene: Scene) {
    check(
        &scene,
        all(GroupBy::Key),
        &[
            (Some("team-a"), 3, 0, 1, 3),
            (None, 1, 0, 0, 0),
            (Some("team-b"), 1, 1, 0, 1),
        ],
    )
    .await;
}

async fn by_upstream(scene: Scene) {
    check(
        &scene,
        all(GroupBy::Upstream),
        &[
            (Some("gpu-1"), 3, 1, 1, 3),
            (None, 1, 0, 0, 0),
            (Some("gpu-2"), 1, 0, 0, 1),
        ],
    )
    .await;
}

async fn by_day_newest_first(scene: Scene) {
    check(
        &scene,
        all(GroupBy::Day),
        &[(Some("2026-11-22"), 2, 1, 0, 2), (Some("2026-11-21"), 3, 0, 1, 2)],
    )
    .await;
}

async fn a_limit_keeps_the_first_groups(scene: Scene) {
    let query = UsageQuery {
        limit: 1,
        ..all(GroupBy::Day)
    };
    check(&scene, query, &[(Some("2026-11-22"), 2, 1, 0, 2)]).await;
}

async fn since_is_in_and_until_is_out(scene: Scene) {
    let first = record("").started_at_ms;
    let query = UsageQuery {
        since_ms: first,
        until_ms: first + DAY_MS,
        ..all(GroupBy::Day)
    };
    check(&scene, query, &[(Some("2026-11-21"), 3, 0, 1, 2)]).await;
}

async fn a_millisecond_later_is_another_span(scene: Scene) {
    let first = record("").started_at_ms;
    let query = UsageQuery {
        since_ms: first + 1,
        until_ms: first + DAY_MS + 1,
        ..all(GroupBy::Day)
    };
    check(&scene, query, &[(Some("2026-11-22"), 2, 1, 0, 2)]).await;
}

async fn no_requests_give_no_rows(scene: Scene) {
    let store = scene.open().await;
    assert_eq!(store.usage(all(GroupBy::Key)).await.expect("readable"), []);
    assert_eq!(store.recent(5).await.expect("readable"), []);
}

#[tokio::test]
async fn a_span_of_time_is_found_by_index() {
    let store = store(&Scene::sqlite()).await;
    for group_by in [GroupBy::Model, GroupBy::Key, GroupBy::Day, GroupBy::Upstream] {
        let mut conn = store.writer.acquire().await.expect("free");
        let sql = format!("EXPLAIN QUERY PLAN {}", crate::usage::sql(group_by, &conn.db()));
        drop(conn);
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(0_i64)
            .bind(1_i64)
            .bind(10_i64)
            .fetch_all(sqlite(&store.writer))
            .await
            .expect("the statement is valid");
        assert!(
            plan.iter()
                .any(|step| step.3.contains("SEARCH requests USING INDEX requests_by_started_at")),
            "{group_by:?}: {plan:?}"
        );
    }
}
