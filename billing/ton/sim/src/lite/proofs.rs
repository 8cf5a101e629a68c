//! Merkle proofs of a view: of a cell all that was looked at, and hashes of the rest.

use billing::channel::Account;
use tycho_types::boc::ser::BocHeader;
use tycho_types::cell::{Cell, CellBuilder, HashBytes, UsageTree, UsageTreeMode};
use tycho_types::error::Error;
use tycho_types::merkle::MerkleProof;
use tycho_types::models::{Block, ShardStateUnsplit};

use super::view::{Side, View};

/// Of a block: its header, and which state it left.
pub(super) fn header(side: &Side) -> Result<Cell, Error> {
    proof(&side.block, |block| {
        let block: Block = block.parse()?;
        block.load_info()?;
        block.load_state_update()?;
        Ok(())
    })
}

/// Of the masterchain's state: which shards there are.
pub(super) fn shards(view: &View) -> Result<Cell, Error> {
    proof(&view.master.state, |state| {
        let state: ShardStateUnsplit = state.parse()?;
        let custom = state.load_custom()?.ok_or(Error::InvalidData)?;
        for block in custom.shards.latest_blocks() {
            block?;
        }
        Ok(())
    })
}

/// Of the masterchain's state: parameters of the configuration, or all.
pub(super) fn parameters(view: &View, wanted: Option<&[i32]>) -> Result<Cell, Error> {
    proof(&view.master.state, |state| {
        let state: ShardStateUnsplit = state.parse()?;
        let custom = state.load_custom()?.ok_or(Error::InvalidData)?;
        let list = custom.config.params.as_dict();
        match wanted {
            None => {
                for entry in list.iter() {
                    entry?.1.touch_recursive();
                }
            }
            Some(wanted) => {
                for index in wanted {
                    if let Some(found) = list.get(index.cast_unsigned())? {
                        found.touch_recursive();
                    }
                }
            }
        }
        Ok(())
    })
}

/// Of a state: an account's entry, or that there is none. And the account itself, if there is one.
pub(super) fn account(side: &Side, account: &Account) -> Result<(Cell, Option<Cell>), Error> {
    let key = HashBytes(account.hash);
    let entry = proof(&side.state, |state| {
        let state: ShardStateUnsplit = state.parse()?;
        state.load_accounts()?.get(key)?;
        Ok(())
    })?;
    let state: ShardStateUnsplit = side.state.parse()?;
    let found = state.load_accounts()?.get(key)?;
    Ok((entry, found.map(|(_, found)| found.account.into_inner())))
}

/// Bags with several roots.
pub(super) fn bag(roots: &[&Cell]) -> Vec<u8> {
    let mut bag = Vec::new();
    if let Some((first, rest)) = roots.split_first() {
        let mut header: BocHeader<'_> = BocHeader::with_root(first.as_ref());
        for root in rest {
            header.add_root(root.as_ref());
        }
        header.encode(&mut bag);
    }
    bag
}

fn proof(root: &Cell, look: impl FnOnce(&Cell) -> Result<(), Error>) -> Result<Cell, Error> {
    let seen = UsageTree::new(UsageTreeMode::OnDataAccess);
    look(&seen.track(root))?;
    CellBuilder::build_from(MerkleProof::create(root.as_ref(), seen).build()?)
}
