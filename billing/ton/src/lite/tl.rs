//! What is said to lite-servers, and what they answer: the part of TON's `lite_api` that we speak.
//!
//! The numbers of constructors follow from the lines of `lite_api.tl` beside this file, when this is compiled. Lists are
//! bounded: a number of items that the bytes cannot hold is refused before anything is set aside for them.

use tl_proto::{Bare, Boxed, TlError, TlPacket, TlRead, TlResult, TlWrite};

/// More items than this has no list that we ask for.
const MOST_ITEMS: usize = 1_024;

/// A block: where it stands, and the hash of its root cell, which is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
pub struct BlockId {
    pub workchain: i32,
    /// The highest bit for all of a workchain; else the prefix of its accounts and a bit.
    pub shard: u64,
    pub seqno: u32,
    pub root_hash: [u8; 32],
    pub file_hash: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
pub struct ZeroState {
    pub workchain: i32,
    pub root_hash: [u8; 32],
    pub file_hash: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
pub struct AccountId {
    pub workchain: i32,
    pub id: [u8; 32],
}

/// A question in an envelope; its answer has the same number.
#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "adnl.message.query", scheme = "lite/lite_api.tl")]
pub struct Query {
    pub id: [u8; 32],
    pub query: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "adnl.message.answer", scheme = "lite/lite_api.tl")]
pub struct Answer {
    pub id: [u8; 32],
    pub answer: Vec<u8>,
}

/// Around every question to a lite-server.
#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.query", scheme = "lite/lite_api.tl")]
pub struct LiteQuery {
    pub data: Vec<u8>,
}

/// In front of a question: answer when there is such a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.waitMasterchainSeqno", scheme = "lite/lite_api.tl")]
pub struct WaitForBlock {
    pub seqno: u32,
    pub timeout_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "tcp.ping", scheme = "lite/lite_api.tl")]
pub struct Ping {
    pub id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "tcp.pong", scheme = "lite/lite_api.tl")]
pub struct Pong {
    pub id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getMasterchainInfo", scheme = "lite/lite_api.tl")]
pub struct GetMasterchainInfo;

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getMasterchainInfoExt", scheme = "lite/lite_api.tl")]
pub struct GetMasterchainInfoExt {
    pub mode: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getTime", scheme = "lite/lite_api.tl")]
pub struct GetTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getVersion", scheme = "lite/lite_api.tl")]
pub struct GetVersion;

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getBlockHeader", scheme = "lite/lite_api.tl")]
pub struct GetBlockHeader {
    pub id: BlockId,
    pub mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.sendMessage", scheme = "lite/lite_api.tl")]
pub struct SendMessage {
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getAccountState", scheme = "lite/lite_api.tl")]
pub struct GetAccountState {
    pub id: BlockId,
    pub account: AccountId,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.runSmcMethod", scheme = "lite/lite_api.tl")]
pub struct RunMethod {
    /// Bits: 0 proofs, 1 proof of the state, 2 the result.
    pub mode: u32,
    pub id: BlockId,
    pub account: AccountId,
    pub method: u64,
    pub params: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getAllShardsInfo", scheme = "lite/lite_api.tl")]
pub struct GetAllShards {
    pub id: BlockId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getTransactions", scheme = "lite/lite_api.tl")]
pub struct GetTransactions {
    pub count: u32,
    pub account: AccountId,
    pub lt: u64,
    pub hash: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.lookupBlock", scheme = "lite/lite_api.tl")]
pub struct LookupBlock {
    #[tl(flags)]
    pub mode: (),
    pub workchain: i32,
    pub shard: u64,
    pub seqno: u32,
    /// By its number; else by what follows.
    #[tl(flags_bit = 0)]
    pub by_seqno: Option<()>,
    #[tl(flags_bit = 1)]
    pub lt: Option<u64>,
    #[tl(flags_bit = 2)]
    pub time: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getConfigAll", scheme = "lite/lite_api.tl")]
pub struct GetConfigAll {
    pub mode: u32,
    pub id: BlockId,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.getConfigParams", scheme = "lite/lite_api.tl")]
pub struct GetConfigParams {
    pub mode: u32,
    pub id: BlockId,
    pub list: List<i32>,
}

/// Instead of any answer.
#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.error", scheme = "lite/lite_api.tl")]
pub struct ServerError {
    pub code: i32,
    pub message: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.masterchainInfo", scheme = "lite/lite_api.tl")]
pub struct MasterchainInfo {
    pub last: BlockId,
    pub state_root_hash: [u8; 32],
    pub init: ZeroState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.masterchainInfoExt", scheme = "lite/lite_api.tl")]
pub struct MasterchainInfoExt {
    pub mode: u32,
    pub version: u32,
    pub capabilities: u64,
    pub last: BlockId,
    pub last_time: u32,
    pub now: u32,
    pub state_root_hash: [u8; 32],
    pub init: ZeroState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.currentTime", scheme = "lite/lite_api.tl")]
pub struct CurrentTime {
    pub now: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.version", scheme = "lite/lite_api.tl")]
pub struct Version {
    pub mode: u32,
    pub version: u32,
    pub capabilities: u64,
    pub now: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.blockHeader", scheme = "lite/lite_api.tl")]
pub struct BlockHeader {
    pub id: BlockId,
    pub mode: u32,
    pub header_proof: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.sendMsgStatus", scheme = "lite/lite_api.tl")]
pub struct SendStatus {
    pub status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.accountState", scheme = "lite/lite_api.tl")]
pub struct AccountState {
    pub id: BlockId,
    pub shard_block: BlockId,
    /// Two roots: of the masterchain's block, and of its state.
    pub shard_proof: Vec<u8>,
    /// Two roots: of the shard's block, and of its state.
    pub proof: Vec<u8>,
    /// Empty where there is no such account.
    pub state: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.runMethodResult", scheme = "lite/lite_api.tl")]
pub struct MethodResult {
    #[tl(flags)]
    pub mode: (),
    pub id: BlockId,
    pub shard_block: BlockId,
    #[tl(flags_bit = 0)]
    pub shard_proof: Option<Vec<u8>>,
    #[tl(flags_bit = 0)]
    pub proof: Option<Vec<u8>>,
    #[tl(flags_bit = 1)]
    pub state_proof: Option<Vec<u8>>,
    #[tl(flags_bit = 3)]
    pub init_c7: Option<Vec<u8>>,
    #[tl(flags_bit = 4)]
    pub libraries: Option<Vec<u8>>,
    pub exit_code: i32,
    #[tl(flags_bit = 2)]
    pub result: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.allShardsInfo", scheme = "lite/lite_api.tl")]
pub struct AllShards {
    pub id: BlockId,
    pub proof: Vec<u8>,
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.transactionList", scheme = "lite/lite_api.tl")]
pub struct TransactionList {
    pub ids: List<BlockId>,
    /// A root each, newest first.
    pub transactions: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlRead, TlWrite)]
#[tl(boxed, id = "liteServer.configInfo", scheme = "lite/lite_api.tl")]
pub struct ConfigInfo {
    pub mode: u32,
    pub id: BlockId,
    /// Of the block: which state it has.
    pub state_proof: Vec<u8>,
    /// Of the state.
    pub config_proof: Vec<u8>,
}

/// A list of bounded length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<'a, T: TlRead<'a>> TlRead<'a> for List<T> {
    type Repr = Bare;

    fn read_from(packet: &mut &'a [u8]) -> TlResult<Self> {
        let length = usize::try_from(u32::read_from(packet)?).map_err(|_| TlError::InvalidData)?;
        // An item has four bytes at least.
        if length > MOST_ITEMS || length > packet.len() / 4 {
            return Err(TlError::InvalidData);
        }
        (0..length)
            .map(|_| T::read_from(packet))
            .collect::<TlResult<_>>()
            .map(Self)
    }
}

impl<T: TlWrite> TlWrite for List<T> {
    type Repr = Bare;

    fn max_size_hint(&self) -> usize {
        4 + self.0.iter().map(TlWrite::max_size_hint).sum::<usize>()
    }

    fn write_to<P: TlPacket>(&self, packet: &mut P) {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).write_to(packet);
        for item in &self.0 {
            item.write_to(packet);
        }
    }
}

/// The whole of `bytes`, and nothing left over.
pub fn read<'a, T: TlRead<'a, Repr = Boxed>>(mut bytes: &'a [u8]) -> TlResult<T> {
    let value = T::read_from(&mut bytes)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(TlError::InvalidData)
    }
}

/// The number that `bytes` begin with: what they are.
pub fn constructor(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|number| u32::from_le_bytes(*number))
}

pub use tl_proto::serialize as write;

#[cfg(test)]
mod tests;
