//! The caller's clock, in milliseconds. It may be set, ahead or back.

/// Whether `span_ms` or more have passed since.
pub(super) const fn is_past(since_ms: i64, span_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(since_ms) >= span_ms
}
