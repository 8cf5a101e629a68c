//! `mulberry account`

use backends::serve::BoxError;
use http::Method;
use serde_json::{Value, json};

use super::{
    columns::{Column, cell, list, table},
    desk::Desk,
    place::{tell, write},
    remote::segment,
};
use crate::{
    cli::{
        key::Output,
        money::{AccountArgs, AccountCommand, MovementArgs},
    },
    tls,
    treasury::{AccountEdit, Movement},
};

#[derive(Debug, thiserror::Error)]
enum AccountCommandError {
    #[error("nothing to change was named; see `mulberry account update --help`")]
    Nothing,
    #[error("no secure random bytes can be had from this system; name the movement with --id")]
    Random,
}

pub(super) async fn run(args: AccountArgs) -> Result<(), BoxError> {
    let output = args.place.output;
    let mut desk = Desk::find(args.place, "account list")?;
    match args.command {
        AccountCommand::Create {
            account,
            currency,
            edit,
        } => {
            let mut body = json!(edit.into_edit());
            body["id"] = account.as_str().into();
            if let Some(currency) = currency {
                body["currency"] = currency.into();
            }
            let made = desk.ask(Method::POST, "accounts", Some(body)).await?;
            tell(&desk.told())?;
            shown(output, &made, one)
        }
        AccountCommand::List => {
            let answer = desk.get("accounts").await?;
            shown(output, &answer, all)
        }
        AccountCommand::Show { account } => {
            let answer = desk.get(&path(account.as_str(), "")).await?;
            shown(output, &answer, one)
        }
        AccountCommand::Update { account, edit } => {
            let edit = edit.into_edit();
            if edit == AccountEdit::default() {
                return Err(AccountCommandError::Nothing.into());
            }
            update(&mut desk, account.as_str(), &edit, output).await
        }
        AccountCommand::Disable { account } => switch(&mut desk, account.as_str(), true, output).await,
        AccountCommand::Enable { account } => switch(&mut desk, account.as_str(), false, output).await,
        AccountCommand::Deposit { movement } => moved(&mut desk, "deposits", movement, output).await,
        AccountCommand::Withdraw { movement } => moved(&mut desk, "withdrawals", movement, output).await,
        AccountCommand::Transfers { account, limit } => {
            let path = path(account.as_str(), &format!("/transfers?limit={limit}"));
            let answer = desk.get(&path).await?;
            shown(output, &answer, transfers)
        }
        AccountCommand::Charges { account, limit } => {
            let path = path(account.as_str(), &format!("/charges?limit={limit}"));
            let answer = desk.get(&path).await?;
            shown(output, &answer, charges)
        }
        AccountCommand::Statement { account, month } => {
            let query = month.map(|month| format!("?month={}", segment(&month)));
            let path = path(account.as_str(), &format!("/statement{}", query.unwrap_or_default()));
            let answer = desk.get(&path).await?;
            shown(output, &answer, statement)
        }
    }
}

async fn switch(desk: &mut Desk, account: &str, disabled: bool, output: Output) -> Result<(), BoxError> {
    let edit = AccountEdit {
        disabled: Some(disabled),
        ..AccountEdit::default()
    };
    update(desk, account, &edit, output).await
}

async fn update(desk: &mut Desk, account: &str, edit: &AccountEdit, output: Output) -> Result<(), BoxError> {
    let changed = desk.ask(Method::PATCH, &path(account, ""), Some(json!(edit))).await?;
    tell(&desk.told())?;
    shown(output, &changed, one)
}

async fn moved(desk: &mut Desk, kind: &str, args: MovementArgs, output: Output) -> Result<(), BoxError> {
    // Named before it is asked, so that who does not hear the answer can ask again.
    let id = match args.id {
        Some(id) => id,
        None => random().ok_or(AccountCommandError::Random)?,
    };
    let movement = Movement {
        id: Some(id.clone()),
        amount: args.amount,
        currency: args.currency,
        memo: args.memo,
    };
    let path = path(args.account.as_str(), &format!("/{kind}"));
    let answer = match desk.ask(Method::POST, &path, Some(json!(movement))).await {
        Ok(answer) => answer,
        Err(error) => {
            tell(&format!(
                "this movement is called {id}: said again with `--id {id}` it is done at most once"
            ))?;
            return Err(error);
        }
    };
    tell(&desk.told())?;
    shown(output, &answer, |answer| {
        let was = if answer["is_new"] == true {
            ""
        } else {
            " (done before; nothing changed)"
        };
        format!(
            "{} {} {} {}{was}\nbalance {} {}\n",
            cell(&answer["kind"]),
            cell(&answer["amount"]),
            cell(&answer["currency"]),
            cell(&answer["id"]),
            cell(&answer["balance"]),
            cell(&answer["currency"]),
        )
    })
}

fn random() -> Option<String> {
    let bytes = tls::random::<12>()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Below `/admin/v1/`.
fn path(account: &str, rest: &str) -> String {
    format!("accounts/{}{rest}", segment(account))
}

pub(super) fn shown(output: Output, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), BoxError> {
    write(&match output {
        Output::Text => text(answer),
        Output::Json => format!("{answer:#}\n"),
    })
}

/// The rows of a list.
pub(super) fn rows(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["data"].as_array().into_iter().flatten()
}

fn all(answer: &Value) -> String {
    let rows: Vec<[String; 8]> = rows(answer)
        .map(|account| {
            [
                cell(&account["id"]),
                state(account),
                cell(&account["currency"]),
                cell(&account["balance"]),
                cell(&account["spent"]["total"]),
                cell(&account["spent"]["day"]),
                cell(&account["available"]),
                budget(account),
            ]
        })
        .collect();
    let columns = [
        Column::Text("ACCOUNT"),
        Column::Text("STATE"),
        Column::Text("CURRENCY"),
        Column::Number("BALANCE"),
        Column::Number("SPENT"),
        Column::Number("TODAY"),
        Column::Number("AVAILABLE"),
        Column::Text("BUDGET"),
    ];
    table(&columns, &rows)
}

fn one(account: &Value) -> String {
    let tags = account["tags"].as_object().into_iter().flatten();
    let tags: Vec<String> = tags
        .map(|(name, value)| format!("{}={}", super::usage::plain(name), cell(value)))
        .collect();
    let credit = match (&account["level"], &account["credit"]) {
        (level, Value::Null) if level == "organisation" => "unlimited".to_owned(),
        (_, credit) => cell(credit),
    };
    list(&[
        ("account", cell(&account["id"])),
        ("organisation", cell(&account["organisation"])),
        ("state", state(account)),
        ("currency", cell(&account["currency"])),
        ("balance", cell(&account["balance"])),
        ("credit", credit),
        ("spent", cell(&account["spent"]["total"])),
        ("today", cell(&account["spent"]["day"])),
        ("month", cell(&account["spent"]["month"])),
        ("leased", cell(&account["leased"])),
        ("available", cell(&account["available"])),
        ("budget", budget(account)),
        (
            "tags",
            if tags.is_empty() {
                "-".to_owned()
            } else {
                tags.join(" ")
            },
        ),
        ("created", cell(&account["created_at"])),
    ])
}

fn state(account: &Value) -> String {
    let state = if account["disabled"] == true {
        "disabled"
    } else {
        "active"
    };
    state.to_owned()
}

fn budget(account: &Value) -> String {
    let spans = ["total", "day", "month"].iter();
    let set = spans.filter_map(|span| Some(format!("{span}={}", account["budget"][span].as_str()?)));
    let set: Vec<String> = set.collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

fn transfers(answer: &Value) -> String {
    let rows: Vec<[String; 7]> = rows(answer)
        .map(|transfer| {
            [
                cell(&transfer["at"]),
                cell(&transfer["kind"]),
                cell(&transfer["debit"]),
                cell(&transfer["credit"]),
                cell(&transfer["amount"]),
                cell(&transfer["currency"]),
                [&transfer["id"], &transfer["memo"]].map(cell).join(" "),
            ]
        })
        .collect();
    let columns = [
        Column::Text("AT"),
        Column::Text("KIND"),
        Column::Text("FROM"),
        Column::Text("TO"),
        Column::Number("AMOUNT"),
        Column::Text("CURRENCY"),
        Column::Text("ID AND MEMO"),
    ];
    table(&columns, &rows)
}

fn charges(answer: &Value) -> String {
    let rows: Vec<[String; 9]> = rows(answer)
        .map(|charge| {
            [
                cell(&charge["at"]),
                cell(&charge["request_id"]),
                cell(&charge["kind"]),
                cell(&charge["key"]),
                cell(&charge["model"]),
                cell(&charge["end"]),
                cell(&charge["amount"]),
                cell(&charge["currency"]),
                cell(&charge["held"]),
            ]
        })
        .collect();
    let columns = [
        Column::Text("AT"),
        Column::Text("REQUEST"),
        Column::Text("KIND"),
        Column::Text("KEY"),
        Column::Text("MODEL"),
        Column::Text("END"),
        Column::Number("AMOUNT"),
        Column::Text("CURRENCY"),
        Column::Number("HELD"),
    ];
    table(&columns, &rows)
}

fn statement(answer: &Value) -> String {
    let mut text = list(&[
        ("account", cell(&answer["account"])),
        ("month", cell(&answer["month"])),
        ("currency", cell(&answer["currency"])),
        ("opening", cell(&answer["opening"])),
        ("deposited", cell(&answer["deposited"])),
        ("withdrawn", cell(&answer["withdrawn"])),
        ("spent", cell(&answer["spent"])),
        ("closing", cell(&answer["closing"])),
    ]);
    let rows: Vec<[String; 3]> = answer["models"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| [cell(&row["group"]), cell(&row["requests"]), cell(&row["amount"])])
        .collect();
    text.push('\n');
    let columns = [
        Column::Text("MODEL"),
        Column::Number("REQUESTS"),
        Column::Number("AMOUNT"),
    ];
    text.push_str(&table(&columns, &rows));
    text
}
