//! What Cocoon's root contract keeps: which images, proxies and models are allowed.
//!
//! ```text
//! root: owner:MsgAddress version:uint32 data:^Data params:^Params
//! data: proxy_images:(HashmapE 256 Nothing) proxies:(HashmapE 32 Proxy) last_proxy_seqno:uint32
//!       worker_images:(HashmapE 256 Nothing) models:(HashmapE 256 Nothing)
//! proxy: kind:uint1 length:uint7 text:bytes
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

use billing::channel::Account;
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellFamily as _, CellSlice, HashBytes, Load as _, Store as _},
    dict::Dict,
    error::Error,
};

use super::{Codes, NotCocoon, Params};
use crate::contract::{
    Malformed,
    wire::{begin, cell, end, load_account, store_account},
};

/// Hashes of what is allowed.
type Hashes = BTreeSet<[u8; 32]>;

/// The registry of a network of Cocoon.
///
/// One account owns it, and can change everything in it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    pub owner: Account,
    /// Grows with each change.
    pub version: u32,
    /// SHA-256 over the measurements of virtual machines that may be proxies.
    pub proxy_images: Hashes,
    /// The same of those that may be workers.
    pub worker_images: Hashes,
    /// SHA-256 of `name@commit:hash of the files`.
    pub models: Hashes,
    /// By number, in the order in which they were registered.
    pub proxies: BTreeMap<u32, ProxyEntry>,
    /// The number of the proxy that was registered last, whether it still is or not.
    pub last_proxy: u32,
    pub params: Params,
}

/// A proxy's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEntry {
    /// `address:port` for all, or two with a space between: for workers, then for clients. At most 127 bytes.
    Text(String),
    /// Of a kind that nobody has defined, or no text: Cocoon passes over it.
    Other(Cell),
}

impl ProxyEntry {
    /// Where workers and clients connect; `None` where Cocoon would not find them either.
    #[must_use]
    pub fn addresses(&self) -> Option<(SocketAddrV4, SocketAddrV4)> {
        let Self::Text(text) = self else {
            return None;
        };
        let parse = |text: &str| text.parse().ok();
        match text.split_once(' ') {
            None => parse(text).map(|both| (both, both)),
            Some((workers, clients)) => Some((parse(workers)?, parse(clients)?)),
        }
    }

    fn store(&self) -> Cell {
        match self {
            Self::Other(cell) => cell.clone(),
            Self::Text(text) => {
                // Nobody can register a longer one: seven bits are its length.
                let text = text.as_bytes().get(..127).unwrap_or(text.as_bytes());
                cell(|to| {
                    to.store_u8(u8::try_from(text.len()).unwrap_or(127))?;
                    to.store_raw(text, u16::try_from(text.len() * 8).unwrap_or(1_016))
                })
            }
        }
    }

    fn load(value: CellSlice<'_>) -> Result<Self, Error> {
        if let Some(text) = text(value) {
            return Ok(Self::Text(text));
        }
        let mut other = CellBuilder::new();
        other.store_slice(value)?;
        Ok(Self::Other(other.build()?))
    }
}

/// The text of an entry that is nothing but one.
fn text(mut value: CellSlice<'_>) -> Option<String> {
    // The kind is the highest bit, and 0.
    let length = value.load_u8().ok().filter(|head| head >> 7 == 0)?;
    let mut bytes = vec![0; usize::from(length)];
    value.load_raw(&mut bytes, u16::from(length) * 8).ok()?;
    value.is_empty().then(|| String::from_utf8(bytes).ok())?
}

impl Registry {
    #[must_use]
    pub fn encode(&self) -> Cell {
        let data = cell(|to| {
            store_hashes(to, &self.proxy_images)?;
            store_proxies(to, &self.proxies)?;
            to.store_u32(self.last_proxy)?;
            store_hashes(to, &self.worker_images)?;
            store_hashes(to, &self.models)
        });
        cell(|to| {
            store_account(to, &self.owner)?;
            to.store_u32(self.version)?;
            to.store_reference(data)?;
            to.store_reference(self.params.encode(Codes::All))
        })
    }

    /// What stands beside a hash in a list is passed over, as Cocoon does.
    pub fn decode(root: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(root)?;
        let owner = load_account(&mut from, "the registry's owner")?;
        let version = from.load_u32()?;
        let data = from.load_reference_cloned()?;
        let params = from.load_reference_cloned()?;
        end(&from)?;
        // First, because its form is the form of all.
        let params = Params::decode(&params)?;
        let mut from = begin(&data)?;
        let registry = Self {
            owner,
            version,
            proxy_images: load_hashes(&mut from)?,
            proxies: load_proxies(&mut from)?,
            last_proxy: from.load_u32()?,
            worker_images: load_hashes(&mut from)?,
            models: load_hashes(&mut from)?,
            params,
        };
        end(&from)?;
        Ok(registry)
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, NotCocoon> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

fn load_hashes(from: &mut CellSlice<'_>) -> Result<Hashes, NotCocoon> {
    let dict = Dict::<HashBytes, ()>::load_from(from)?;
    let keys = dict.keys().map(|key| key.map(|HashBytes(hash)| hash));
    keys.collect::<Result<_, _>>().map_err(|_| NotCocoon::List)
}

fn load_proxies(from: &mut CellSlice<'_>) -> Result<BTreeMap<u32, ProxyEntry>, NotCocoon> {
    let dict = Dict::<u32, CellSlice<'_>>::load_from(from)?;
    let entries = dict.iter().map(|entry| {
        let (number, value) = entry?;
        Ok::<_, Error>((number, ProxyEntry::load(value)?))
    });
    entries.collect::<Result<_, _>>().map_err(|_| NotCocoon::List)
}

fn store_hashes(to: &mut CellBuilder, hashes: &Hashes) -> Result<(), Error> {
    let mut dict = Dict::<HashBytes, ()>::new();
    for hash in hashes {
        dict.set(HashBytes(*hash), ())?;
    }
    dict.store_into(to, Cell::empty_context())
}

fn store_proxies(to: &mut CellBuilder, proxies: &BTreeMap<u32, ProxyEntry>) -> Result<(), Error> {
    let mut dict = Dict::<u32, CellSlice<'_>>::new();
    let entries: Vec<_> = proxies.iter().map(|(number, entry)| (*number, entry.store())).collect();
    for (number, entry) in &entries {
        dict.set(*number, entry.as_slice()?)?;
    }
    dict.store_into(to, Cell::empty_context())
}
