//! `mulberry channel list --gateway-config FILE`: the channels by which a gateway pays its workers, as it says that they
//! stand. Nothing is changed, and the gateway has to run: its books are its own.

use std::path::PathBuf;

use backends::serve::BoxError;
use http::Method;
use serde_json::Value;

use super::write;
use crate::{
    cli::{ConfigArgs, key::Output},
    commands::{
        columns::{Column, table},
        place::Place,
        usage::plain,
    },
};

pub(super) async fn list(config: PathBuf, output: Output) -> Result<(), BoxError> {
    let place = Place::find(None, ConfigArgs { config: Some(config) })?;
    let remote = place.remote("channel list")?;
    let answer = match remote.ask(Method::GET, "wages", None).await {
        Ok(answer) => answer,
        Err(error) => return Err(error.unless_unreached()?.into()),
    };
    if output == Output::Json {
        return write(&format!("{answer:#}\n"));
    }
    let wages = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<[String; 8]> = wages.iter().map(row).collect();
    write(&table(
        &[
            Column::Text("WORKERS"),
            Column::Text("STATE"),
            Column::Number("PAID IN"),
            Column::Number("TAKEN"),
            Column::Number("EARNED"),
            Column::Number("AT RISK"),
            Column::Number("OWED"),
            Column::Text("CHANNEL"),
        ],
        &rows,
    ))
}

fn row(wage: &Value) -> [String; 8] {
    let channel = &wage["channel"];
    let state = match (&wage["quarantined"], channel["phase"].as_str()) {
        (Value::Bool(true), _) => "quarantined",
        (_, Some(phase)) => phase,
        (_, None) => "on credit",
    };
    let workers = wage["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let workers: Vec<&str> = workers.iter().filter_map(Value::as_str).collect();
    [
        plain(&workers.join(", ")),
        plain(state),
        text(&channel["deposited"]),
        text(&channel["claimed"]),
        text(&channel["spent"]),
        text(&channel["at_risk"]),
        text(&wage["owed"]),
        text(&channel["id"]),
    ]
}

/// Of an answer; nothing, where there is nothing.
fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}
