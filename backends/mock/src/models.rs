//! `/v1/models`: the friendly names. The fault modes are for those who know them; `/_modes` lists them.

use serde_json::{Value, json};

use crate::fault::Plan;
use crate::refusal::Refusal;

const CREATED: u64 = 1_700_000_000;
/// Names that the friendly engine always answers to.
const FRIENDLY: &str = "mock";

/// The plan that a model's name stands for.
pub(crate) fn plan(configured: &[String], model: &str) -> Result<Plan, Refusal> {
    if model == FRIENDLY || configured.iter().any(|name| name == model) {
        return Ok(Plan::default());
    }
    Plan::of_model(model).ok_or_else(|| Refusal::unknown_model(model))
}

pub(crate) fn list(configured: &[String]) -> Value {
    let others = configured.iter().filter(|name| *name != FRIENDLY).cloned();
    let names = std::iter::once(FRIENDLY.to_owned()).chain(others);
    let data: Vec<_> = names.map(|name| entry(&name)).collect();
    json!({"object": "list", "data": data})
}

pub(crate) fn retrieve(configured: &[String], model: &str) -> Result<Value, Refusal> {
    // Clients send the slash of `fault/…` either way.
    let model = model.replace("%2F", "/").replace("%2f", "/");
    plan(configured, &model).map(|_| entry(&model))
}

fn entry(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": "mock"})
}
