//! A stream that breaks never looks whole, and one that nobody reads is given up.

use std::time::Duration;

use e2e::eventually;
use e2e::wait::SOON;

use super::{WAYS, Wire, serve, serve_with};
use crate::flow::Flow;
use crate::record;

#[tokio::test]
async fn what_breaks_off_ends_in_an_error() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        for (mode, code) in [
            ("clean-cut", "stream_truncated"),
            ("cut", "upstream_error"),
            ("cut-fin", "upstream_error"),
        ] {
            let id = format!("broken-{mode}");
            let body = wire.ask(&format!("fault/{mode}"), true);
            let request = served.request(wire.path(), &body).header("x-request-id", &id);
            let stream = Flow::begin(request).await.end().await;
            let what = format!("{wire:?} {kind} {mode}:\n{}", stream.text);
            let (text, reason, _) = match wire {
                // The client's helper refuses an error beside chunks.
                Wire::Chat => (stream.content(), stream.finish_reason(), false),
                Wire::Messages => wire.told_by(&stream),
            };
            assert_eq!((text.as_str(), reason), ("I am", None), "{what}");
            let (error, _) = wire.error_in(&stream);
            let expect = if wire == Wire::Chat {
                "server_error"
            } else {
                "api_error"
            };
            assert_eq!(error, expect, "{what}");
            let record = record::of(&served.gateway, &id).await;
            assert_eq!(
                (record.end.as_str(), record.field("code")),
                ("failed", code),
                "{record:?}"
            );
            assert_eq!(record.field("usage"), "estimated", "{record:?}");
        }
    }
}

#[tokio::test]
async fn an_upstreams_error_in_a_stream_is_told_in_the_clients_words() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let stream = served.stream(wire, "fault/err-data-no-done").await;
        let (_, message) = wire.error_in(&stream);
        let expect = match kind {
            "anthropic" => "Overloaded",
            "gemini" => "The model is overloaded.",
            _ => "upstream exploded",
        };
        assert_eq!(message, expect, "{wire:?} {kind}:\n{}", stream.text);
        if (wire, kind) == (Wire::Messages, "anthropic") {
            assert_eq!(wire.error_in(&stream).0, "overloaded_error", "{}", stream.text);
        }
    }
}

#[tokio::test]
async fn an_error_before_the_first_frame_is_a_status() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let answer = served.post(wire, &wire.ask("fault/err-first", true)).await;
        assert_eq!(answer.status, 502, "{wire:?} {kind}: {}", answer.text());
        wire.error(&answer);
    }
}

#[tokio::test]
async fn after_the_status_an_error_is_an_event_behind_heartbeats() {
    for (wire, kind) in WAYS {
        let more = "retry: {commit_after: 100ms, heartbeat: 50ms}";
        let served = serve_with(kind, more);
        let body = wire.ask("fault/slow-2000+err-data-no-done", true);
        let request = served.request(wire.path(), &body);
        let mut flow = Flow::open(request).await;
        flow.until(": keep-alive\n\n").await;
        let stream = flow.end().await;
        assert!(stream.comments() > 1, "{wire:?} {kind}:\n{}", stream.text);
        wire.error_in(&stream);
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_upstream() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let body = wire.ask("fault/tokens-1000+slow-20", true);
        let request = served.request(wire.path(), &body).header("x-request-id", "left");
        let mut flow = Flow::begin(request).await;
        flow.until(if wire == Wire::Chat {
            "\"content\":\""
        } else {
            "text_delta"
        })
        .await;
        drop(flow);
        let is_free = eventually(SOON, || served.mock.inflight() == 0).await;
        assert!(
            is_free && served.mock.cancelled() == 1,
            "{wire:?} {kind}: the upstream works on"
        );
        let record = record::of(&served.gateway, "left").await;
        assert_eq!((record.end.as_str(), record.status), ("cancelled", 200), "{record:?}");
        assert_eq!(record.field("usage"), "estimated", "{record:?}");
        if kind == "anthropic" {
            // It says at the beginning what the prompt was; that is no estimate.
            let request = served.request(wire.path(), &wire.ask("fault/tokens-2", true));
            let whole = Flow::begin(request.header("x-request-id", "stayed")).await;
            drop(whole.end().await);
            let stayed = record::of(&served.gateway, "stayed").await;
            assert_eq!(stayed.field("usage"), "upstream", "{stayed:?}");
            assert_eq!(record.usage()[..2], stayed.usage()[..2], "{record:?} {stayed:?}");
        }
    }
}

#[tokio::test]
async fn odd_line_ends_and_single_bytes_change_nothing() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        for mode in ["split", "crlf", "cr", "no-space", "comment", "bom", "unterminated"] {
            let stream = served.stream(wire, &format!("fault/tokens-3+{mode}")).await;
            let (text, _, is_done) = wire.told_by(&stream);
            assert!(is_done, "{wire:?} {kind} {mode}:\n{}", stream.text);
            assert_eq!(text.split_whitespace().count(), 3, "{wire:?} {kind} {mode}: {text}");
        }
    }
}

#[tokio::test]
async fn pieces_are_flushed_as_they_come() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let body = wire.ask("fault/tokens-4+slow-300", true);
        let began = std::time::Instant::now();
        let flow = Flow::begin(served.request(wire.path(), &body)).await;
        let first = began.elapsed();
        flow.end().await;
        let whole = began.elapsed();
        assert!(
            whole > first + Duration::from_millis(500),
            "{wire:?} {kind}: {first:?} of {whole:?}"
        );
    }
}
