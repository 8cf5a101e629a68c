//! What a message to a channel must bring for gas.

use billing::Nano;
use tycho_types::boc::Boc;
use tycho_types::models::{GasLimitsPrices, MsgForwardPrices};

/// What the basic workchain takes for gas and for forwarding, from parameters 21 and 25 of the chain's configuration.
///
/// Prices change by vote of the validators: read them when you send, and keep none.
/// A source may lie about them: too low, and messages come to nothing; too high, and the wallet is empty when it must
/// settle. So they are bounded: what is below [`LEAST_GAS`] and [`LEAST_FORWARDING`] counts as that, and what would cost
/// more than [`MOST_NEEDED`] is refused.
#[derive(Clone, Debug)]
pub struct Prices {
    gas: GasLimitsPrices,
    forwarding: MsgForwardPrices,
}

/// Nanoton for a unit of gas: less than a chain takes, and twice that is what [`Prices::bring`] brings, more than it took
/// in 2026.
pub const LEAST_GAS: u64 = 40;
/// Nanoton for forwarding a message, with the same margin.
pub const LEAST_FORWARDING: u64 = 40_000;
/// What one message may need: more than ten times the dearest one at the prices of before 2026.
pub const MOST_NEEDED: Nano = Nano::saturating(100_000_000);

/// What a source says of prices and cannot be used, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrices {
    #[error("parameter {index} of the chain's configuration is not a table of prices")]
    Form { index: u32 },
    #[error(
        "at the prices that the source says a message needs {needs}, and at most {MOST_NEEDED} is ever brought; ask another \
         source, and if it says the same, a newer version of this program"
    )]
    TooDear { needs: Nano },
}

/// What costs gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    TopUp,
    Settle,
    /// A settle with `close`.
    Close,
    RequestClose,
    FinishClose,
}

impl Operation {
    pub const ALL: [Self; 5] = [
        Self::TopUp,
        Self::Settle,
        Self::Close,
        Self::RequestClose,
        Self::FinishClose,
    ];

    /// Units of gas that it uses at most, on the dearest path that succeeds. Of a top-up, what the contract takes for it.
    #[must_use]
    pub const fn gas(self) -> u64 {
        match self {
            Self::TopUp => 8_000,
            Self::Settle => 10_156,
            Self::Close => 10_291,
            Self::RequestClose => 6_656,
            Self::FinishClose => 5_122,
        }
    }

    /// Messages that it sends at most.
    const fn messages(self) -> u128 {
        match self {
            Self::TopUp | Self::RequestClose | Self::FinishClose => 2,
            Self::Settle => 3,
            Self::Close => 4,
        }
    }
}

impl Prices {
    /// From the two parameters as bags of cells, as [`Chain::config_parameter`](crate::Chain::config_parameter) gives them.
    pub fn read(parameter_21: &[u8], parameter_25: &[u8]) -> Result<Self, BadPrices> {
        let prices = Self {
            gas: parsed(21, parameter_21)?,
            forwarding: parsed(25, parameter_25)?,
        };
        let needs = Operation::ALL
            .map(|operation| prices.least(operation))
            .into_iter()
            .max();
        match needs {
            Some(needs) if needs > MOST_NEEDED => Err(BadPrices::TooDear { needs }),
            _ => Ok(prices),
        }
    }

    /// The least that `operation` needs beside what it pays in, where all parties are in the basic workchain.
    #[must_use]
    pub fn least(&self, operation: Operation) -> Nano {
        let gas = self.gas.compute_gas_fee(operation.gas()).into_inner();
        let gas = gas.max(u128::from(LEAST_GAS.saturating_mul(operation.gas())));
        let lump = self.forwarding.lump_price.max(LEAST_FORWARDING);
        let forwarding = u128::from(lump).saturating_mul(operation.messages());
        // The note's nanoton.
        let least = gas.saturating_add(forwarding).saturating_add(1);
        u64::try_from(least).map_or(Nano::MOST, Nano::saturating)
    }

    /// What to bring: twice the least, for prices may rise on the way and rent grows by the second. What is not needed
    /// comes back.
    #[must_use]
    pub fn bring(&self, operation: Operation) -> Nano {
        let least = self.least(operation);
        least.saturating_add(least)
    }
}

fn parsed<T>(index: u32, parameter: &[u8]) -> Result<T, BadPrices>
where
    T: for<'a> tycho_types::cell::Load<'a>,
{
    Boc::decode(parameter)
        .ok()
        .and_then(|cell| cell.parse::<T>().ok())
        .ok_or(BadPrices::Form { index })
}
