//! The chain's configuration: what a contract may see of it, and what everything costs.
//!
//! The embedded one is the slim configuration of `@ton/sandbox` 0.41.0, as `tests/node/config.mjs` of this package writes
//! it: version 12 of the TVM, the prices that the network had until April 2026.

use billing::channel::Network;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::models::{BlockchainConfigParams, WorkchainDescription, WorkchainFormat, WorkchainFormatBasic};

const SLIM: &[u8] = include_bytes!("config/slim.boc");

/// Representation hash of the root cell of the embedded configuration.
pub const SLIM_HASH: [u8; 32] = [
    0x68, 0x48, 0xcc, 0x7b, 0x90, 0xd0, 0x39, 0xf0, 0x6f, 0xae, 0xa8, 0x6f, 0x60, 0x28, 0xc5, 0x50, 0x8c, 0xd7, 0x64,
    0xa4, 0x0a, 0xde, 0x39, 0x12, 0x21, 0xdf, 0x7f, 0x88, 0xaf, 0xfd, 0x2c, 0x0f,
];

/// By how much gas and the forwarding of messages became cheaper in April and May 2026.
const CUT: u64 = 6;

/// What gas and the forwarding of messages cost in the basic workchain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prices {
    /// As the configuration says; in the embedded one 400 nanoton for a unit of gas.
    #[default]
    Old,
    /// A sixth of it, which is about what the network takes since May 2026. Storage costs the same.
    New,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    #[error("the configuration is not a bag of cells: {0}")]
    Unreadable(String),
    #[error("parameter {index} of the configuration is missing or cannot be read: {reason}")]
    Parameter { index: u32, reason: String },
    #[error("the executor cannot use the configuration: {0}")]
    Unusable(String),
}

/// The embedded configuration as a bag of cells.
#[must_use]
pub fn slim() -> &'static [u8] {
    SLIM
}

/// Reads `config` and changes in it what must be changed before the executor can use it, then prices and network.
///
/// The executor reads workchains of an older form only (`workchain#a6`; TON has `#a7`), so parameter 12 is written anew,
/// with the one workchain 0, where it cannot be read.
pub(crate) fn prepared(
    config: &[u8],
    prices: Prices,
    network: Option<Network>,
) -> Result<BlockchainConfigParams, BadConfig> {
    let root: Cell = Boc::decode(config).map_err(|error| BadConfig::Unreadable(error.to_string()))?;
    let mut params = BlockchainConfigParams::from_raw(root);
    let readable = params.get_workchains().and_then(|workchains| workchains.get(0)).is_ok();
    if !readable {
        let mut workchains = Dict::<i32, WorkchainDescription>::new();
        workchains
            .set(0, basic_workchain())
            .and_then(|_| params.set_workchains(&workchains))
            .map_err(parameter(12))?;
    }
    if prices == Prices::New {
        let mut gas = params.get_gas_prices(false).map_err(parameter(21))?;
        gas.gas_price /= CUT;
        gas.flat_gas_price /= CUT;
        params.set_gas_prices(false, &gas).map_err(parameter(21))?;
        let mut forward = params.get_msg_forward_prices(false).map_err(parameter(25))?;
        forward.lump_price /= CUT;
        forward.bit_price /= CUT;
        forward.cell_price /= CUT;
        params.set_msg_forward_prices(false, &forward).map_err(parameter(25))?;
    }
    if let Some(Network(id)) = network {
        params.set_global_id(id).map_err(parameter(19))?;
    }
    Ok(params)
}

fn parameter(index: u32) -> impl Fn(tycho_types::error::Error) -> BadConfig {
    move |error| BadConfig::Parameter {
        index,
        reason: error.to_string(),
    }
}

fn basic_workchain() -> WorkchainDescription {
    WorkchainDescription {
        enabled_since: 1_573_821_854,
        actual_min_split: 0,
        min_split: 0,
        max_split: 4,
        active: true,
        accept_msgs: true,
        zerostate_root_hash: HashBytes::ZERO,
        zerostate_file_hash: HashBytes::ZERO,
        version: 0,
        format: WorkchainFormat::Basic(WorkchainFormatBasic {
            vm_version: -1,
            vm_mode: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use tycho_types::cell::CellFamily;

    use super::*;

    #[test]
    fn the_embedded_configuration_is_the_one_we_know() {
        let root = Boc::decode(SLIM).expect("checked in");
        assert_eq!(root.repr_hash().0, SLIM_HASH);
    }

    #[test]
    fn new_prices_are_a_sixth_of_the_old() {
        let old = prepared(SLIM, Prices::Old, None).expect("embedded");
        let new = prepared(SLIM, Prices::New, None).expect("embedded");
        let gas = |params: &BlockchainConfigParams| params.get_gas_prices(false).expect("embedded").gas_price;
        assert_eq!(gas(&old), 400 << 16);
        assert_eq!(gas(&new), (400 << 16) / 6);
        let lump = |params: &BlockchainConfigParams| params.get_msg_forward_prices(false).expect("embedded").lump_price;
        assert_eq!((lump(&old), lump(&new)), (400_000, 66_666));
    }

    #[test]
    fn a_network_is_the_global_id() {
        let params = prepared(SLIM, Prices::Old, Some(Network(-217))).expect("embedded");
        assert_eq!(params.get_global_id().expect("just set"), -217);
    }

    #[test]
    fn bytes_that_are_no_configuration_are_refused() {
        assert!(matches!(
            prepared(b"nothing", Prices::Old, None),
            Err(BadConfig::Unreadable(_))
        ));
        // An empty cell: no dictionary.
        let empty = Boc::encode(Cell::empty_cell());
        assert!(prepared(&empty, Prices::New, None).is_err());
    }
}
