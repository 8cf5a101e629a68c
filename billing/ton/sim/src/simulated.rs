//! A chain of TON in this process, for development and tests.
//!
//! Contracts run as they do on TON ([`crate::Machine`]); blocks, validators and shards do not exist: whoever has this
//! process is the chain, and [`Simulated::fund`] makes coins out of nothing. Nothing of it is worth anything, or proves
//! anything about the network.
//!
//! Nothing runs in the background. With [`Blocks::OnDemand`] a block is made when a message comes, when somebody asks and
//! messages wait, or when somebody asks and the newest block is old; with [`Blocks::Manual`] only [`Simulated::tick`] makes
//! one. With [`Clock::Manual`] the same calls give the same chain, from the seed.
//!
//! What was answered survives: with a folder, each block is on the disk before anything of it is told, and two processes
//! cannot have one folder. What is not in a block does not survive: messages that wait, a planned change of prices, a halt.
//!
//! ```
//! use billing::Nano;
//! use billing::channel::Account;
//! use billing_ton::Chain;
//! use billing_ton_sim::{Settings, Simulated};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = Simulated::in_memory(Settings::for_tests(7))?;
//! let account = Account { workchain: 0, hash: [1; 32] };
//! chain.fund(account, Nano::new(5_000_000_000).ok_or("too much")?)?;
//! chain.tick()?;
//! let state = futures_util::FutureExt::now_or_never(chain.account(account)).ok_or("it waits for nothing")??;
//! assert_eq!(state.balance, 5_000_000_000);
//! chain.advance(86_400)?;
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing::Nano;
use billing::channel::{Account, Network};
use billing_ton::chain::{Cursor, Head};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::config::{Prices, slim};
use crate::disk::{Disk, Entry, Genesis, OpenError};
use crate::machine::Machine;
use crate::world::{External, Making, Mint, Refused, World};

mod answers;
#[cfg(any(feature = "http", feature = "lite-server"))]
mod ask;
mod blocks;
mod contract;
mod replay;

#[cfg(feature = "http")]
pub(crate) use answers::MESSAGE_BYTES;
#[cfg(feature = "lite-server")]
pub(crate) use ask::Newest;
#[cfg(any(feature = "http", feature = "lite-server"))]
pub(crate) use ask::Which;

/// The network id of simulated chains: what is signed for one is worth nothing on a network that has value.
pub const DEVELOPMENT: Network = Network(-217);

/// What a chain is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub network: Network,
    pub clock: Clock,
    pub blocks: Blocks,
    /// Prices of the first block. Later ones: [`Simulated::change_prices`].
    pub prices: Prices,
    /// How many blocks a block must have on top before anybody is told of it. Above 0 blocks can be taken back.
    pub finality_lag: u32,
    /// Where randomness that contracts see comes from.
    pub seed: [u8; 32],
    /// The file is replaced by a shorter one when it is longer than this.
    pub compact_above_bytes: u64,
    /// And then this many transactions of each account are kept.
    pub keep_transactions: usize,
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    OnDemand,
    Manual,
}

impl Settings {
    /// As `mulberry demo` has it: real time, blocks on demand, today's prices, final at once.
    #[must_use]
    pub fn for_development() -> Self {
        Self {
            network: DEVELOPMENT,
            clock: Clock::Real,
            blocks: Blocks::OnDemand,
            prices: Prices::New,
            finality_lag: 0,
            seed: [0; 32],
            compact_above_bytes: 64 << 20,
            keep_transactions: 10_000,
        }
    }

    /// All in the test's hands: a clock that stands, blocks by [`Simulated::tick`], everything from `seed`.
    #[must_use]
    pub fn for_tests(seed: u64) -> Self {
        Self {
            clock: Clock::Manual(1_790_000_000),
            blocks: Blocks::Manual,
            prices: Prices::Old,
            seed: Sha256::digest(seed.to_be_bytes()).into(),
            ..Self::for_development()
        }
    }
}

/// A simulated chain. Clones are the same chain.
#[derive(Clone)]
pub struct Simulated {
    network: Network,
    state: Arc<Mutex<State>>,
}

/// A block that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMade {
    pub head: Head,
    pub transactions: Vec<(Account, Cursor)>,
    /// Messages that came to nothing.
    pub refused: Vec<Refused>,
}

/// Why no block was made.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    #[error("the chain is halted; resume it first")]
    Halted,
    /// Nothing happened: what waited still waits.
    #[error("the block cannot be written down: {0}")]
    Disk(#[source] std::io::Error),
    #[error("too many messages wait; make a block first")]
    Full,
}

pub(crate) struct State {
    settings: Settings,
    old: Machine,
    new: Machine,
    world: World,
    disk: Option<Disk>,
    genesis: Genesis,
    offset_s: i64,
    waiting: Vec<External>,
    mints: Vec<Mint>,
    halted: bool,
    /// From which block on which prices.
    change: Option<(u32, Prices)>,
    /// How long the file may be before it is replaced.
    compact_above_bytes: u64,
}

impl Simulated {
    /// A chain that ends with the process.
    pub fn in_memory(settings: Settings) -> Result<Self, OpenError> {
        let genesis = genesis(&settings);
        let world = World::new(genesis.time, settings.prices, settings.finality_lag);
        Self::of(settings, genesis, world, None)
    }

    /// The chain in `folder`; begins one if there is none.
    ///
    /// Its network must be that of `settings`. Its seed and finality lag are those that it was begun with.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, OpenError> {
        let (disk, entries) = Disk::open(folder, &genesis(&settings))?;
        let (genesis, world) = replay::replay(entries, &settings).ok_or_else(|| OpenError::NotAChain {
            path: folder.join("chain"),
        })?;
        Self::of(settings, genesis, world, Some(disk))
    }

    fn of(settings: Settings, genesis: Genesis, world: World, disk: Option<Disk>) -> Result<Self, OpenError> {
        let network = settings.network;
        let machine = |prices| Machine::on_network(slim(), prices, network);
        let offset_s = match settings.clock {
            Clock::Real => world.tip().offset_s,
            // It stands where the chain stands, if that is later.
            Clock::Manual(time) => (i64::from(world.tip().head.time) - i64::from(time)).max(0),
        };
        let state = State {
            old: machine(Prices::Old)?,
            new: machine(Prices::New)?,
            world,
            disk,
            genesis,
            offset_s,
            waiting: Vec::new(),
            mints: Vec::new(),
            halted: false,
            change: None,
            compact_above_bytes: settings.compact_above_bytes,
            settings,
        };
        Ok(Self {
            network,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Gives `account` coins out of nothing. With blocks on demand they are there when this returns.
    pub fn fund(&self, account: Account, amount: Nano) -> Result<(), TickError> {
        let mut state = self.state();
        if state.mints.len() >= blocks::WAITING {
            return Err(TickError::Full);
        }
        state.mints.push(Mint {
            to: account,
            amount: u128::from(amount.get()),
        });
        state.catch_up().or_else(unless_halted)
    }

    /// Makes a block of what waits, an empty one if nothing does.
    pub fn tick(&self) -> Result<BlockMade, TickError> {
        self.state().block()
    }

    /// Moves the clock forward. The next block has the new time; with blocks on demand it is made now.
    pub fn advance(&self, seconds: u32) -> Result<(), TickError> {
        let mut state = self.state();
        state.offset_s = state.offset_s.saturating_add(i64::from(seconds));
        match state.settings.blocks {
            Blocks::Manual => Ok(()),
            Blocks::OnDemand => state.block().and_then(|_| state.catch_up()).or_else(unless_halted),
        }
    }

    /// Unix seconds by the chain's clock, which the next block will have.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.state().now()
    }

    /// No block is made from here on; messages are taken and wait.
    pub fn halt(&self) {
        self.state().halted = true;
    }

    /// Ends [`Self::halt`]. What waited is in the next block.
    pub fn resume(&self) -> Result<(), TickError> {
        let mut state = self.state();
        state.halted = false;
        state.catch_up()
    }

    /// Gas and forwarding cost as in `prices` from block `seqno` on, or from the next one if that is later.
    pub fn change_prices(&self, prices: Prices, seqno: u32) {
        self.state().change = Some((seqno, prices));
    }

    /// Takes back the newest `depth` blocks, or as many as are not final, with all that happened in them. Their messages are
    /// lost, as on a fork that did not win. How many blocks it were.
    pub fn take_back(&self, depth: u32) -> Result<u32, TickError> {
        self.state().take_back(depth)
    }

    /// How many messages and coins wait for a block.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.mints.len()
    }

    /// Drops what waits for a block, as nodes do with messages that they cannot place. How many it were.
    pub fn drop_waiting(&self) -> usize {
        let mut state = self.state();
        let dropped = state.waiting.len() + state.mints.len();
        state.waiting.clear();
        state.mints.clear();
        dropped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it changed nothing: a block is applied whole, when it is on the disk.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A halted chain takes everything, and lets it wait.
fn unless_halted(error: TickError) -> Result<(), TickError> {
    match error {
        TickError::Halted => Ok(()),
        error => Err(error),
    }
}

fn genesis(settings: &Settings) -> Genesis {
    Genesis {
        network: settings.network,
        time: settings.clock.now(0),
        seed: settings.seed,
        finality_lag: settings.finality_lag,
    }
}

impl State {
    fn now(&self) -> u32 {
        // Never back: not after a restart with another clock, and not when the computer's is set.
        self.settings.clock.now(self.offset_s).max(self.world.tip().head.time)
    }

    fn machine(&self, prices: Prices) -> &Machine {
        match prices {
            Prices::Old => &self.old,
            Prices::New => &self.new,
        }
    }

    fn making(&self) -> Making<'_> {
        let tip = self.world.tip();
        let seqno = tip.head.seqno.saturating_add(1);
        let prices = match self.change {
            Some((from, prices)) if seqno >= from => prices,
            _ => tip.prices,
        };
        Making {
            machine: self.machine(prices),
            time: self.now(),
            offset_s: self.offset_s,
            prices,
            seed: Sha256::new()
                .chain_update(self.genesis.seed)
                .chain_update(seqno.to_be_bytes())
                .finalize()
                .into(),
        }
    }

    /// What comes first in a file of this chain.
    fn beginning(&self) -> Entry {
        Entry::Genesis(self.genesis.clone())
    }
}

#[cfg(test)]
mod tests;
