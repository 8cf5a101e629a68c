//! A block of the chain as TON writes it: cells whose hashes add up, so that what a front says of it can be proven.
//!
//! The simulated chain has one block where TON has two: here it is one of the masterchain and one of the basechain, with
//! the same number. Both states are whole: all accounts, the configuration, the list of shards. Of the blocks there is
//! what leads to a state: who looks for messages, transactions or signatures in them finds nothing. An update says that a
//! state came from itself, for what was before is not kept.

use billing::channel::Network;
use billing_ton::lite::tl::BlockId;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes, Lazy, LazyExotic};
use tycho_types::error::Error;
use tycho_types::merkle::{MerkleUpdate, make_pruned_branch};
use tycho_types::models::{
    Block, BlockExtra, BlockInfo, BlockRef, BlockchainConfig, BlockchainConfigParams, CurrencyCollection,
    DepthBalanceInfo, McStateExtra, OptionalAccount, ShardAccount, ShardAccounts, ShardDescription, ShardHashes,
    ShardIdent, ShardStateUnsplit, ValidatorInfo, ValueFlow,
};

use crate::simulated::Newest;

/// A block with its state.
pub(super) struct Side {
    pub(super) id: BlockId,
    pub(super) block: Cell,
    pub(super) state: Cell,
}

/// One block of the simulated chain, in both workchains.
pub(super) struct View {
    pub(super) time: u32,
    pub(super) master: Side,
    pub(super) shard: Side,
}

impl View {
    pub(super) fn of(newest: &Newest<'_>, network: Network) -> Result<Self, Error> {
        let shard_state = state_of(newest, network, ShardIdent::BASECHAIN)?;
        let shard = side(newest, network, &shard_state)?;
        let mut master_state = state_of(newest, network, ShardIdent::MASTERCHAIN)?;
        let description = ShardDescription {
            seqno: shard.id.seqno,
            reg_mc_seqno: shard.id.seqno,
            start_lt: start(newest.tip.lt),
            end_lt: newest.tip.lt,
            root_hash: HashBytes(shard.id.root_hash),
            file_hash: HashBytes(shard.id.file_hash),
            before_split: false,
            before_merge: false,
            want_split: false,
            want_merge: false,
            nx_cc_updated: false,
            next_catchain_seqno: 0,
            next_validator_shard: shard.id.shard,
            min_ref_mc_seqno: shard.id.seqno,
            gen_utime: newest.tip.head.time,
            split_merge_at: None,
            fees_collected: CurrencyCollection::ZERO,
            funds_created: CurrencyCollection::ZERO,
        };
        let params = BlockchainConfigParams::from_raw(newest.parameters.clone().ok_or(Error::InvalidData)?);
        let address = params.get::<tycho_types::models::ConfigParam0>()?;
        master_state.set_custom(Some(&McStateExtra {
            shards: ShardHashes::from_shards([(&ShardIdent::BASECHAIN, &description)])?,
            config: BlockchainConfig {
                address: address.unwrap_or_default(),
                params,
            },
            validator_info: ValidatorInfo {
                validator_list_hash_short: 0,
                catchain_seqno: 0,
                nx_cc_updated: false,
            },
            prev_blocks: Default::default(),
            after_key_block: false,
            last_key_block: None,
            block_create_stats: None,
            global_balance: master_state.total_balance.checked_add(&shard_state.total_balance)?,
        }))?;
        Ok(Self {
            time: newest.tip.head.time,
            master: side(newest, network, &master_state)?,
            shard,
        })
    }

    /// The side that `workchain` is; `None` where there is no such.
    pub(super) fn side(&self, workchain: i32) -> Option<&Side> {
        match workchain {
            -1 => Some(&self.master),
            0 => Some(&self.shard),
            _ => None,
        }
    }
}

/// A state with its accounts, and without what only the masterchain has.
fn state_of(newest: &Newest<'_>, network: Network, shard: ShardIdent) -> Result<ShardStateUnsplit, Error> {
    let mut accounts = ShardAccounts::new();
    for (account, state) in newest.world.final_states() {
        if i32::from(account.workchain) != shard.workchain() {
            continue;
        }
        let cell = Boc::decode(&state.cell).map_err(|_| Error::InvalidData)?;
        // A deleted one is not among the accounts.
        let OptionalAccount(Some(found)) = cell.parse()? else {
            continue;
        };
        let balance = DepthBalanceInfo {
            split_depth: 0,
            balance: found.balance,
        };
        let entry = ShardAccount {
            account: Lazy::from_raw(cell)?,
            last_trans_hash: HashBytes(state.last.hash),
            last_trans_lt: state.last.lt,
        };
        accounts.set(HashBytes(account.hash), balance, entry)?;
    }
    Ok(ShardStateUnsplit {
        global_id: network.0,
        shard_ident: shard,
        seqno: newest.tip.head.seqno,
        gen_utime: newest.tip.head.time,
        gen_lt: newest.tip.lt,
        min_ref_mc_seqno: newest.tip.head.seqno,
        out_msg_queue_info: no_queues()?,
        total_balance: accounts.root_extra().balance.clone(),
        accounts: Lazy::new(&accounts)?,
        ..ShardStateUnsplit::default()
    })
}

/// `OutMsgQueueInfo` with nothing in it: two lists and the first one's logical time, and no more.
fn no_queues() -> Result<Cell, Error> {
    let mut queues = CellBuilder::new();
    queues.store_bit_zero()?;
    queues.store_u64(0)?;
    queues.store_bit_zero()?;
    queues.store_bit_zero()?;
    queues.build()
}

/// The block that left `state`.
fn side(newest: &Newest<'_>, network: Network, state: &ShardStateUnsplit) -> Result<Side, Error> {
    let shard = state.shard_ident;
    let seqno = newest.tip.head.seqno;
    let state = CellBuilder::build_from(state)?;
    let (hash, depth) = (*state.repr_hash(), state.repr_depth());
    let pruned = make_pruned_branch(state.as_ref(), 0, Cell::empty_context())?;
    let before = BlockRef {
        end_lt: newest.before.map_or(0, |block| block.lt),
        seqno: seqno.saturating_sub(1),
        root_hash: HashBytes(newest.before.map_or([0; 32], |block| block.hash)),
        file_hash: HashBytes(newest.before.map_or([0; 32], |block| block.hash)),
    };
    let mut info = BlockInfo {
        seqno,
        shard,
        gen_utime: newest.tip.head.time,
        start_lt: start(newest.tip.lt),
        end_lt: newest.tip.lt,
        min_ref_mc_seqno: seqno,
        master_ref: (!shard.is_masterchain()).then(|| Lazy::new(&before)).transpose()?,
        ..BlockInfo::default()
    };
    info.set_prev_ref_single(&before);
    let block = CellBuilder::build_from(Block {
        global_id: network.0,
        info: Lazy::new(&info)?,
        value_flow: Lazy::new(&ValueFlow::default())?,
        state_update: LazyExotic::new(&MerkleUpdate {
            old_hash: hash,
            new_hash: hash,
            old_depth: depth,
            new_depth: depth,
            old: pruned.clone(),
            new: pruned,
        })?,
        out_msg_queue_updates: None,
        extra: Lazy::new(&BlockExtra::default())?,
    })?;
    Ok(Side {
        id: BlockId {
            workchain: shard.workchain(),
            shard: shard.prefix(),
            seqno,
            root_hash: block.repr_hash().0,
            file_hash: Boc::file_hash(Boc::encode(&block)).0,
        },
        block,
        state,
    })
}

/// A block's logical times begin at a multiple of a million.
fn start(lt: u64) -> u64 {
    lt / 1_000_000 * 1_000_000
}
