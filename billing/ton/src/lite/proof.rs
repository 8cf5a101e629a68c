//! Checks what a lite-server says against the hash of a masterchain block, and believes nothing else.
//!
//! 1. [`header`]: the block with this hash has this header, and names the state that it left.
//! 2. [`shard`]: the masterchain's state lists the newest block of the shard that an account is in.
//! 3. [`account`]: that shard block's state has this account, or none at this address.
//! 4. [`parameter`]: the masterchain's state has this configuration.
//!
//! Each step is a Merkle proof: cells whose hashes add up to a known one, with what is not needed left out. What was left
//! out is an error when it is needed, and never absence.
//! The layouts are those of TON's `block.tlb`. That the first hash is of a block of the chain is not checked here.

use billing::channel::Account;
use tycho_types::{
    boc::{
        Boc,
        de::{BocHeader, Options},
    },
    cell::{Cell, CellFamily as _, CellSlice, DynCell, HashBytes, Load},
    dict::{AugDict, Dict},
    error::Error,
    merkle::MerkleProofRef,
    models::{self, DepthBalanceInfo, IntAddr, OptionalAccount},
};

use super::tl::BlockId;
use crate::{
    address,
    chain::{Cursor, Status},
};

const BLOCK: u32 = 0x11ef_55aa;
const BLOCK_INFO: u32 = 0x9bc7_a987;
const STATE: u32 = 0x9023_afe2;
const MASTERCHAIN_EXTRA: u16 = 0xcc26;
/// Of a shard that has a whole workchain.
pub(super) const WHOLE: u64 = 1 << 63;
pub(super) const MASTERCHAIN: i32 = -1;

/// Why a proof proves nothing, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error("a proof is no bag of cells")]
    Bag,
    #[error("a proof has {found} roots, and {expected} are needed")]
    Roots { found: usize, expected: usize },
    #[error("a proof is of another cell than the one that was asked for")]
    Hash,
    #[error("a proof has another form, or leaves out what is needed")]
    Form,
    #[error("the block has another number, or is of another shard, than it is said to be")]
    Place,
    /// A server could choose another shard, whose state has no such account.
    #[error("the block is not the newest one of the shard that the account is in")]
    Shard,
    #[error("the account's state is not the one that the block has")]
    State,
    #[error("the state is of another account")]
    Account,
}

impl From<Error> for Unproven {
    fn from(_: Error) -> Self {
        Self::Form
    }
}

/// What a block says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Tells networks apart.
    pub(super) network: i32,
    /// Unix seconds.
    pub(super) time: u32,
    /// Hash of the state that the block left.
    state: HashBytes,
}

/// An account as a block left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) balance: u128,
    pub(super) last: Option<Cursor>,
    pub(super) status: Status,
}

/// The roots of a bag.
pub(super) fn roots<const N: usize>(bag: &[u8]) -> Result<[Cell; N], Unproven> {
    let roots = all_roots(bag)?;
    let found = roots.len();
    roots.try_into().map_err(|_| Unproven::Roots { found, expected: N })
}

pub(super) fn all_roots(bag: &[u8]) -> Result<Vec<Cell>, Unproven> {
    let header = BocHeader::decode(bag, &Options::default()).map_err(|_| Unproven::Bag)?;
    let cells = header.finalize(Cell::empty_context()).map_err(|_| Unproven::Bag)?;
    let roots = header.roots().iter().map(|root| cells.get(*root));
    roots.collect::<Option<_>>().ok_or(Unproven::Bag)
}

/// The header of the block `id`, of a proof.
pub(super) fn header(proof: &DynCell, id: &BlockId) -> Result<Header, Unproven> {
    let block = opened(proof, &HashBytes(id.root_hash))?;
    let mut from = block.as_slice()?;
    if from.load_u32()? != BLOCK {
        return Err(Unproven::Form);
    }
    let network = from.load_u32()?.cast_signed();
    let mut info = from.load_reference_as_slice()?;
    let _value_flow = from.load_reference()?;
    let update = from.load_reference()?;
    if info.load_u32()? != BLOCK_INFO {
        return Err(Unproven::Form);
    }
    // Version and flags.
    info.skip_first(32 + 16, 0)?;
    let seqno = info.load_u32()?;
    // The number of a vertical block: there was none yet.
    info.skip_first(32, 0)?;
    let (workchain, shard) = shard_ident(&mut info)?;
    if (seqno, workchain, shard) != (id.seqno, id.workchain, id.shard) {
        return Err(Unproven::Place);
    }
    Ok(Header {
        network,
        time: info.load_u32()?,
        state: new_state(update)?,
    })
}

/// The newest block of the shard of `account` that the masterchain block `master` knows of. `said` is which one a server
/// means; two roots prove it.
pub(super) fn shard(proof: &[u8], master: &BlockId, account: &Account, said: &BlockId) -> Result<Header, Unproven> {
    let [block, state] = roots(proof)?;
    let header = header(block.as_ref(), master)?;
    let mut extra = masterchain_extra(&state, &header, master)?;
    let shards = Dict::<i32, Cell>::load_from(&mut extra)?;
    let tree = shards.get(i32::from(account.workchain))?.ok_or(Unproven::Shard)?;
    let mut prefix = 0_u64;
    let mut depth = 0_u32;
    let mut node = tree;
    // bt_leaf$0 leaf:ShardDescr; bt_fork$1 left:^ right:^. A prefix has 60 bits at most.
    let leaf = loop {
        let mut from = node.as_slice()?;
        if !from.load_bit()? {
            break from.load_remaining();
        }
        if depth >= 60 {
            return Err(Unproven::Form);
        }
        let is_right = bit(&account.hash, depth);
        prefix |= u64::from(is_right) << (63 - depth);
        depth += 1;
        let left = from.load_reference_cloned()?;
        let right = from.load_reference_cloned()?;
        node = if is_right { right } else { left };
    };
    let expected = BlockId {
        workchain: account.workchain.into(),
        shard: prefix | (WHOLE >> depth),
        ..described(leaf)?
    };
    if expected != *said {
        return Err(Unproven::Shard);
    }
    Ok(header)
}

/// The account as the block `id` left it, of two roots and its state. No state says that there is no account, and that too
/// is proven. `id` is a block of the account's shard.
pub(super) fn account(
    proof: &[u8],
    id: &BlockId,
    account: &Account,
    state: &[u8],
) -> Result<(Header, Found), Unproven> {
    let [block, shard_state] = roots(proof)?;
    let header = header(block.as_ref(), id)?;
    let accounts = opened_state(&shard_state, &header, id)?.accounts;
    let accounts: Accounts = AugDict::load_from(&mut accounts.as_slice()?)?;
    let Some((_, leaf)) = accounts.get(HashBytes(account.hash))? else {
        if !state.is_empty() {
            return Err(Unproven::State);
        }
        let nothing = Found {
            balance: 0,
            last: None,
            status: Status::Nonexistent,
        };
        return Ok((header, nothing));
    };
    if state.is_empty() {
        return Err(Unproven::State);
    }
    let [state] = roots(state)?;
    if state.repr_hash() != leaf.account.hash(0) || state.level() != 0 {
        return Err(Unproven::State);
    }
    let last = (leaf.lt != 0).then_some(Cursor {
        lt: leaf.lt,
        hash: leaf.hash.0,
    });
    let (balance, status) = unpacked(&state, account)?;
    Ok((header, Found { balance, last, status }))
}

/// The configuration parameter `index` as of the masterchain block `master`: `None` where there is none.
pub(super) fn parameter(
    state_proof: &[u8],
    config_proof: &[u8],
    master: &BlockId,
    index: u32,
) -> Result<(Header, Option<Cell>), Unproven> {
    let [block] = roots(state_proof)?;
    let header = header(block.as_ref(), master)?;
    let [state] = roots(config_proof)?;
    let mut extra = masterchain_extra(&state, &header, master)?;
    // The list of shards, and the address of the contract that keeps the configuration.
    Dict::<i32, Cell>::load_from(&mut extra)?;
    extra.skip_first(256, 0)?;
    let list = Dict::<u32, Cell>::from_raw(Some(extra.load_reference_cloned()?));
    let found = list.get(index)?;
    // Whatever was left out of it makes its level greater.
    if found.as_ref().is_some_and(|cell| cell.level() != 0) {
        return Err(Unproven::Form);
    }
    Ok((header, found))
}

/// What a Merkle proof is of, if it is of `hash`.
fn opened<'a>(proof: &'a DynCell, hash: &HashBytes) -> Result<&'a DynCell, Unproven> {
    // It compares the hash of what is there with the one that it says.
    let proof: MerkleProofRef<'a> = proof.parse_exotic()?;
    if proof.hash == *hash {
        Ok(proof.cell)
    } else {
        Err(Unproven::Hash)
    }
}

/// Of an update, the hash of what it led to.
fn new_state(update: &DynCell) -> Result<HashBytes, Unproven> {
    const MERKLE_UPDATE: u8 = 4;
    if !update.is_exotic() {
        return Err(Unproven::Form);
    }
    let mut from = update.as_slice_allow_exotic();
    if from.load_u8()? != MERKLE_UPDATE {
        return Err(Unproven::Form);
    }
    from.skip_first(256, 0)?;
    Ok(from.load_u256()?)
}

/// What a shard's state refers to.
struct Opened<'a> {
    accounts: &'a DynCell,
    /// Of the masterchain.
    custom: Option<&'a DynCell>,
}

type Accounts = AugDict<HashBytes, DepthBalanceInfo, Leaf>;

fn opened_state<'a>(proof: &'a Cell, header: &Header, id: &BlockId) -> Result<Opened<'a>, Unproven> {
    let mut from = opened(proof.as_ref(), &header.state)?.as_slice()?;
    if from.load_u32()? != STATE {
        return Err(Unproven::Form);
    }
    from.skip_first(32, 0)?;
    let (workchain, shard) = shard_ident(&mut from)?;
    let seqno = from.load_u32()?;
    if (seqno, workchain, shard) != (id.seqno, id.workchain, id.shard) {
        return Err(Unproven::Place);
    }
    // A vertical number, seconds, a logical time, the oldest masterchain block that is referred to, a flag.
    from.skip_first(32 + 32 + 64 + 32 + 1, 0)?;
    let has_custom = from.load_bit()?;
    let _queues = from.load_reference()?;
    let accounts = from.load_reference()?;
    let _balances = from.load_reference()?;
    let custom = has_custom.then(|| from.load_reference()).transpose()?;
    Ok(Opened { accounts, custom })
}

/// What the masterchain's state has beside accounts, from the list of shards on.
fn masterchain_extra<'a>(proof: &'a Cell, header: &Header, master: &BlockId) -> Result<CellSlice<'a>, Unproven> {
    let custom = opened_state(proof, header, master)?.custom.ok_or(Unproven::Form)?;
    let mut from = custom.as_slice()?;
    if from.load_u16()? != MASTERCHAIN_EXTRA {
        return Err(Unproven::Form);
    }
    Ok(from)
}

/// `shard_ident$00 prefix_bits:(#<= 60) workchain_id:int32 prefix:uint64`, with the prefix as block ids write it.
fn shard_ident(from: &mut CellSlice<'_>) -> Result<(i32, u64), Unproven> {
    let bits = from.load_u8()?;
    let workchain = from.load_u32()?.cast_signed();
    let prefix = from.load_u64()?;
    if bits > 60 || prefix & (WHOLE >> bits).wrapping_mul(2).wrapping_sub(1) != 0 {
        return Err(Unproven::Form);
    }
    Ok((workchain, prefix | (WHOLE >> bits)))
}

/// The block that a shard's description names.
fn described(mut leaf: CellSlice<'_>) -> Result<BlockId, Unproven> {
    if !matches!(leaf.load_small_uint(4)?, 0xa | 0xb) {
        return Err(Unproven::Form);
    }
    let seqno = leaf.load_u32()?;
    // The masterchain block that it was registered in, and logical times.
    leaf.skip_first(32 + 64 + 64, 0)?;
    Ok(BlockId {
        workchain: 0,
        shard: 0,
        seqno,
        root_hash: leaf.load_u256()?.0,
        file_hash: leaf.load_u256()?.0,
    })
}

/// An entry of the list of accounts.
struct Leaf {
    /// Left out as a rule: its hash counts.
    account: Cell,
    hash: HashBytes,
    lt: u64,
}

impl<'a> Load<'a> for Leaf {
    fn load_from(from: &mut CellSlice<'a>) -> Result<Self, Error> {
        Ok(Self {
            account: from.load_reference_cloned()?,
            hash: from.load_u256()?,
            lt: from.load_u64()?,
        })
    }
}

fn unpacked(state: &Cell, account: &Account) -> Result<(u128, Status), Unproven> {
    let OptionalAccount(found) = state.parse()?;
    let Some(found) = found else {
        return Ok((0, Status::Nonexistent));
    };
    let is_it = matches!(&found.address, IntAddr::Std(it) if address::from_std(it).as_ref() == Some(account));
    if !is_it {
        return Err(Unproven::Account);
    }
    let status = match found.state {
        models::AccountState::Uninit => Status::Uninitialised,
        models::AccountState::Frozen(_) => Status::Frozen,
        models::AccountState::Active(init) => Status::Active {
            code: Boc::encode(init.code.unwrap_or_default()),
            data: Boc::encode(init.data.unwrap_or_default()),
        },
    };
    Ok((found.balance.tokens.into_inner(), status))
}

/// The bit `index` of an account's address.
fn bit(hash: &[u8; 32], index: u32) -> bool {
    let byte = hash.get(index as usize / 8).copied().unwrap_or_default();
    byte >> (7 - index % 8) & 1 == 1
}
