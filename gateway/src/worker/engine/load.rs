//! Load: how much an engine is doing, in its own words.
//!
//! vLLM, SGLang and TGI tell it on `/metrics` (Prometheus text), llama.cpp on `/slots`; Ollama does not tell.

use backends::kind::Kind;
use serde_json::Value;

use super::{Engine, look};

/// Requests that an engine has, whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
}

/// What it says; `None` where it says nothing.
pub(crate) async fn ask(engine: &Engine, kind: Kind) -> Option<Load> {
    match kind {
        Kind::Vllm => metrics(engine, "vllm:num_requests_running", "vllm:num_requests_waiting").await,
        Kind::SgLang => metrics(engine, "sglang:num_running_reqs", "sglang:num_queue_reqs").await,
        Kind::Tgi => metrics(engine, "tgi_batch_current_size", "tgi_queue_size").await,
        Kind::LlamaCpp => {
            let (status, body) = look::get(engine, "/slots").await?;
            status.is_success().then(|| slots(&body)).flatten()
        }
        _ => None,
    }
}

async fn metrics(engine: &Engine, running: &str, waiting: &str) -> Option<Load> {
    let (status, body) = look::get(engine, "/metrics").await?;
    let text = std::str::from_utf8(&body).ok().filter(|_| status.is_success())?;
    Some(Load {
        running: sum(text, running)?,
        waiting: sum(text, waiting).unwrap_or(0),
    })
}

/// The sum of a gauge over its labels; `None` where there is no such gauge.
fn sum(text: &str, name: &str) -> Option<u32> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        // A label may hold a space; the value is what follows the labels, and a time may follow it.
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    let values: Vec<f64> = values.filter(|value| value.is_finite() && *value >= 0.0).collect();
    // A count, however a gauge writes it; saturates.
    (!values.is_empty()).then(|| values.iter().sum::<f64>().round() as u32)
}

/// llama.cpp's list of slots.
fn slots(body: &[u8]) -> Option<Load> {
    let slots: Vec<Value> = serde_json::from_slice(body).ok()?;
    let running = slots.iter().filter(|slot| slot["is_processing"] == true).count();
    Some(Load {
        running: u32::try_from(running).unwrap_or(u32::MAX),
        waiting: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed_over_their_labels() {
        let text = "# HELP vllm:num_requests_running Number of requests\n\
                    # TYPE vllm:num_requests_running gauge\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 3.0\n\
                    vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 2.0 1700000000\n\
                    vllm:num_requests_running_total 99\n\
                    vllm:num_requests_waiting NaN\n\
                    bare 7\n";
        assert_eq!(sum(text, "vllm:num_requests_running"), Some(5));
        assert_eq!(sum(text, "vllm:num_requests_waiting"), None);
        assert_eq!(sum(text, "bare"), Some(7));
        assert_eq!(sum(text, "nothing"), None);
    }

    #[test]
    fn busy_slots_are_counted() {
        let body = br#"[{"id":0,"is_processing":true},{"id":1,"is_processing":false},{"id":2,"is_processing":true}]"#;
        assert_eq!(slots(body), Some(Load { running: 2, waiting: 0 }));
        assert_eq!(slots(b"{}"), None);
    }
}
