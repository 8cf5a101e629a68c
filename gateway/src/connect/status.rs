//! Status: how it stands with the gateway, for the app and for whoever looks.

use backends::body::BoxBody;
use billing::channel::payer::Phase;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use super::{Cashier, Link, Standing, forward::via, link::Why};
use crate::{
    config::KeyDigest,
    payer::teller::{Picture, unready},
    rescue::full,
};

pub(super) const PATH: &str = "/mulberry/status";

pub(super) fn answer(link: &Link, cashier: Option<&Cashier>) -> Response<BoxBody> {
    let mut document = document(link);
    if let Some(cashier) = cashier {
        document["payment"] = payment(cashier);
    }
    let mut response = Response::new(full(document.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Nothing in it is of any request.
pub(crate) fn document(link: &Link) -> Value {
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| said.insert(name.to_owned(), value);
    say("gateway", json!(link.gateway().address.as_str()));
    say("policy", json!(link.policy()));
    let standing = link.standing();
    let standing = standing.borrow().clone();
    let (word, why) = match standing {
        Standing::Up(up) => match up.attested() {
            Some(attested) => {
                let verdict = attested.verdict();
                say("via", json!(via(&up)));
                say("tier", json!(verdict.tier()));
                say("promise", json!(verdict.tier().promise()));
                say("image", json!(verdict.image()));
                say("expires", json!(verdict.expires()));
                say("key_sha256", json!(KeyDigest(*up.peer.spki_sha256()).to_string()));
                say("verdict", json!(verdict));
                ("verified", None)
            }
            None => ("late", None),
        },
        Standing::Dialling(why) => ("dialling", why),
        Standing::Refused(why) => ("refused", Some(why)),
    };
    say("standing", json!(word));
    if let Some(Why { code, sentence, .. }) = why {
        say("why", json!({ "code": code, "message": sentence }));
    }
    Value::Object(said)
}

/// How the channel stands. Amounts are nanoton.
fn payment(cashier: &Cashier) -> Value {
    let (kept, now) = (cashier.kept(), cashier.picture());
    let (word, advice) = standing(&kept.name, &now);
    let mut said = json!({
        "channel": kept.name,
        "address": kept.id.account.to_string(),
        "network": kept.id.network.to_string(),
        "standing": word,
        "deposited": now.deposited,
        "claimed": now.claimed,
        "charged": now.charged,
        "signed": now.signed,
        "at_risk": now.at_risk,
        "requests": now.open,
        "left_today": now.left_today,
        "limits": {
            "budget_day": now.limits.day,
            "exposure": now.limits.exposure,
            "window": now.limits.window,
        },
        "close_at": now.close_at,
        "advice": advice,
    });
    if let Some(why) = cashier.trouble() {
        said["why"] = why.into();
    }
    said
}

/// In a word, and what can be done.
fn standing(name: &str, now: &Picture) -> (&'static str, String) {
    if now.is_broken {
        let advice = "the channel's records could not be written: free the disk, and start again";
        return ("broken", advice.to_owned());
    }
    if let Some(halt) = now.halt {
        let advice = format!("{halt} Look at its receipts, and close the channel with `mulberry channel close {name}`");
        return ("halted", advice);
    }
    match now.phase {
        Phase::Open if now.left_today.is_zero() => (
            "spent",
            "the day's budget is used up: raise --budget-day, or wait for the next day (UTC)".to_owned(),
        ),
        Phase::Open if now.charged.saturating_add(now.limits.window) > now.deposited => (
            "open",
            format!("it is nearly used up: pay in with `mulberry channel topup {name} AMOUNT`"),
        ),
        Phase::Open => ("open", "nothing".to_owned()),
        phase @ (Phase::Opening | Phase::Offered | Phase::Waking) => ("waiting", unready(phase).to_owned()),
        Phase::Leaving | Phase::Quarantined | Phase::Signed => (
            "leaving",
            format!("get back what is left with `mulberry channel close {name}`"),
        ),
        Phase::Gone => ("closed", "open another one with `mulberry channel open`".to_owned()),
    }
}
