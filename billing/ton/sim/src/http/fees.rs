//! What a message would cost.

use serde_json::{Value as Json, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{ComputePhase, ExtInMsgInfo, MsgInfo, OwnedMessage, StateInit, TxInfo};

use super::failure::Failure;
use super::parameters::Parameters;
use crate::machine::standard;
use crate::simulated::{MESSAGE_BYTES, Simulated};

pub(super) fn estimate(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let account = parameters.account("address")?;
    let body = cell(parameters, "body")?.ok_or_else(|| Failure::Parameter("body is missing".to_owned()))?;
    let (code, data) = (cell(parameters, "init_code")?, cell(parameters, "init_data")?);
    let init = (code.is_some() || data.is_some()).then(|| StateInit {
        code,
        data,
        ..StateInit::default()
    });
    let message = CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::ExtIn(ExtInMsgInfo {
            dst: standard(&account).into(),
            ..ExtInMsgInfo::default()
        }),
        init,
        body: body.into(),
        layout: None,
    })
    .map_err(|error| Failure::Parameter(error.to_string()))?;
    let message = Boc::encode(message);
    if message.len() > MESSAGE_BYTES {
        return Err(Failure::Parameter("the message is too large".to_owned()));
    }
    let check_signatures = !parameters.is_not_false("ignore_chksig");
    let outcome = chain
        .rehearse(&message, check_signatures)
        .map_err(|error| Failure::Refused(error.to_string()))?;
    let unreadable = |error: tycho_types::error::Error| Failure::Absent(error.to_string());
    let TxInfo::Ordinary(info) = outcome
        .transaction
        .load()
        .and_then(|transaction| transaction.load_info())
        .map_err(unreadable)?
    else {
        return Err(Failure::Absent("not an ordinary transaction".to_owned()));
    };
    let storage = info
        .storage_phase
        .map_or(0, |phase| phase.storage_fees_collected.into_inner());
    let gas = match &info.compute_phase {
        ComputePhase::Executed(phase) => phase.gas_fees.into_inner(),
        ComputePhase::Skipped(_) => 0,
    };
    let action = info.action_phase.as_ref();
    let forward = action
        .and_then(|phase| phase.total_fwd_fees)
        .map_or(0, |fees| fees.into_inner());
    let in_validators_fees = action
        .and_then(|phase| phase.total_action_fees)
        .map_or(0, |fees| fees.into_inner());
    // What validators got and no phase accounts for: bringing the message in.
    let import = outcome
        .fees
        .saturating_sub(storage)
        .saturating_sub(gas)
        .saturating_sub(in_validators_fees);
    Ok(json!({
        "@type": "query.fees",
        "source_fees": {
            "@type": "fees",
            "in_fwd_fee": number(import),
            "storage_fee": number(storage),
            "gas_fee": number(gas),
            "fwd_fee": number(forward),
        },
        "destination_fees": [],
    }))
}

/// JSON's numbers have 64 bits here, and no fee comes near.
fn number(nano: u128) -> u64 {
    u64::try_from(nano).unwrap_or(u64::MAX)
}

/// A bag of cells; absent or empty is none.
fn cell(parameters: &Parameters, name: &str) -> Result<Option<Cell>, Failure> {
    if parameters.value(name).is_none() || parameters.text(name)?.is_empty() {
        return Ok(None);
    }
    Boc::decode(parameters.bytes(name)?)
        .map(Some)
        .map_err(|error| Failure::Parameter(format!("{name} is not a bag of cells: {error}")))
}
