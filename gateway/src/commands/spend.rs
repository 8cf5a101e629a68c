//! `mulberry spend`

use backends::serve::BoxError;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{
    account::{rows, shown},
    columns::{Column, cell, table},
    desk::Desk,
    place::write,
    remote::segment,
};
use crate::cli::money::SpendArgs;

pub(super) async fn run(args: SpendArgs) -> Result<(), BoxError> {
    let output = args.place.output;
    let mut desk = Desk::find(args.place, "spend")?;
    let mut path = format!("spend?by={}&days={}", segment(&args.by), args.days);
    if let Some(account) = &args.account {
        path.push_str(&format!("&account={}", segment(account.as_str())));
    }
    if args.csv {
        path.push_str("&format=csv");
        let whole = desk.open(Method::GET, &path, None).await?.collect().await?.to_bytes();
        return write(&String::from_utf8_lossy(&whole));
    }
    let answer = desk.get(&path).await?;
    shown(output, &answer, |answer| sums(&args.by, answer))
}

fn sums(by: &str, answer: &Value) -> String {
    let title = match by {
        "day" => "DAY",
        "key" => "KEY",
        "team" => "TEAM",
        "org" => "ORGANISATION",
        "model" => "MODEL",
        _ => "TAG",
    };
    let rows: Vec<[String; 8]> = rows(answer)
        .map(|row| {
            let group = match &row["group"] {
                Value::Null => "(none)".to_owned(),
                group => cell(group),
            };
            [
                group,
                cell(&row["requests"]),
                cell(&row["prompt"]),
                cell(&row["cached"]),
                cell(&row["completion"]),
                cell(&row["reasoning"]),
                cell(&row["amount"]),
                cell(&row["currency"]),
            ]
        })
        .collect();
    let columns = [
        Column::Text(title),
        Column::Number("REQUESTS"),
        Column::Number("PROMPT"),
        Column::Number("CACHED"),
        Column::Number("COMPLETION"),
        Column::Number("REASONING"),
        Column::Number("AMOUNT"),
        Column::Text("CURRENCY"),
    ];
    table(&columns, &rows)
}
