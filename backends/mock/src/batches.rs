//! `/v1/batches`: each line of the input file is answered at once, by the engine itself.
//!
//! A batch is complete when it is created. The last 100 are kept.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::deliver::Reply;
use crate::journal::now_ms;
use crate::models;
use crate::refusal::Refusal;
use crate::routes::Mock;
use crate::text;
use crate::wire::Wire;

const BATCHES: usize = 100;

#[derive(Default)]
pub(crate) struct Batches(Mutex<VecDeque<Value>>);

impl Batches {
    pub(crate) fn create(&self, mock: &Mock, body: &Value, id: u64) -> Result<Value, Refusal> {
        let input = body["input_file_id"].as_str();
        let input = input.ok_or_else(|| Refusal::param("input_file_id", "`input_file_id` is needed."))?;
        let content = mock.files.content(input)?;
        let content = std::str::from_utf8(&content).map_err(|_| Refusal::bad("The file is not UTF-8."))?;
        let mut output = String::new();
        let (mut completed, mut failed) = (0, 0);
        for line in content.lines().filter(|line| !line.trim().is_empty()) {
            let (line, fine) = answer(mock, line)?;
            if fine {
                completed += 1;
            } else {
                failed += 1;
            }
            output.push_str(&line.to_string());
            output.push('\n');
            text::check_size(output.len(), false)?;
        }
        let output_file = mock.files.write(mock.next_id(), output);
        let now = now_ms() / 1000;
        let batch = json!({
            "id": format!("batch_mock_{id}"), "object": "batch", "endpoint": body["endpoint"],
            "errors": null, "input_file_id": input, "output_file_id": output_file, "error_file_id": null,
            "completion_window": body["completion_window"], "status": "completed",
            "created_at": now, "completed_at": now,
            "request_counts": {"total": completed + failed, "completed": completed, "failed": failed},
        });
        let mut batches = self.batches();
        if batches.len() == BATCHES {
            batches.pop_front();
        }
        batches.push_back(batch.clone());
        Ok(batch)
    }

    pub(crate) fn list(&self) -> Value {
        json!({"object": "list", "data": *self.batches(), "has_more": false})
    }

    pub(crate) fn retrieve(&self, id: &str) -> Result<Value, Refusal> {
        let batches = self.batches();
        let batch = batches.iter().find(|batch| batch["id"] == id);
        Ok(batch.ok_or_else(|| Refusal::not_found("batch"))?.clone())
    }

    fn batches(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output line of one input line, and whether it was answered.
fn answer(mock: &Mock, line: &str) -> Result<(Value, bool), Refusal> {
    let request: Value = serde_json::from_str(line).map_err(|_| Refusal::bad("A line of the file is not JSON."))?;
    let id = mock.next_id();
    let url = request["url"].as_str().unwrap_or_default();
    let path = url.strip_prefix("/v1").unwrap_or(url);
    let mut body = request["body"].clone();
    if !body.is_object() {
        return Err(Refusal::bad("A line of the file has no `body`."));
    }
    body["stream"] = Value::Bool(false);
    let model = body["model"].as_str().unwrap_or_default();
    let reply = models::plan(&mock.config.models, model).and_then(|plan| mock.run(path, &body, &plan, id));
    let (status, body) = match reply {
        Ok(Reply::Json(body)) => (200, body),
        Ok(_) => (
            400,
            Refusal::bad("This endpoint does not answer in JSON.").envelope(Wire::OpenAi),
        ),
        Err(refusal) => (refusal.status.as_u16(), refusal.envelope(Wire::OpenAi)),
    };
    let line = json!({
        "id": format!("batch_req_mock_{id}"), "custom_id": request["custom_id"], "error": null,
        "response": {"status_code": status, "request_id": format!("req-mock-{id}"), "body": body},
    });
    Ok((line, status == 200))
}
