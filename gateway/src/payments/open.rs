//! From the section `payments` to what is at work.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU32},
};

use billing::{
    channel::{Account, ChannelId, Network},
    receipt::to_hex,
};
use billing_store::{LedgerFault, Store};
use billing_ton::{
    Chain,
    contract::Wanted,
    sources::Sources,
    toncenter::{self, Toncenter},
};

use super::{
    Offered, Payments, Refused, Senders, Shared, key,
    known::Known,
    look::Looks,
    offer::Fees,
    settling::{Settling, SettlingError},
};
use crate::{config, ledger::Ledger, limiter::Limiters, registrar::Registrar, tls};

/// Why nobody can pay. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("channels need a database; set data_dir or database")]
    NoDatabase,
    #[error("payments.payout or payments.fee_dest is no address")]
    Address,
    #[error(transparent)]
    Key(#[from] key::KeyError),
    #[error("payments.chain has no source")]
    NoSource,
    #[error("a source of the chain cannot be used")]
    Source(#[from] toncenter::SettingsError),
    #[error("the roots for the sources of the chain cannot be had")]
    Tls(#[from] tls::TlsError),
    #[error(transparent)]
    Settling(#[from] SettlingError),
    #[error("the channels in the database cannot be read")]
    Read(#[from] LedgerFault),
    #[error(
        "the database has the open channel {channel}, which pays to the key {theirs}, and the key here is {ours}: nothing \
         that it earned could be taken; bring back the file payee.key, give all gateways of one database the same \
         payments.key_file, or, if that key is lost, name the new one in payments.key_file"
    )]
    OtherKey {
        channel: Account,
        theirs: String,
        ours: String,
    },
}

impl Payments {
    /// Reads the channels that are known. The chain is asked later.
    pub(crate) async fn open(
        settings: &config::Payments,
        folder: Option<&Path>,
        store: Option<&Store>,
        ledger: &Ledger,
        limiters: &Arc<Limiters>,
        registrar: &Registrar,
    ) -> Result<Self, OpenError> {
        let store = store.ok_or(OpenError::NoDatabase)?.channels();
        let is_key_new = !key::is_there(settings.key_file.as_deref(), folder);
        let signer = key::signer(settings.key_file.as_deref(), folder)?;
        let wanted = Wanted {
            network: settings.network.0,
            payee: settings.payout().ok_or(OpenError::Address)?,
            payee_key: signer.public(),
            fee_bps: u16::try_from(settings.fee_bps).unwrap_or(u16::MAX),
            fee_dest: settings.fee_dest().ok_or(OpenError::Address)?,
            close_delay_s: u32::try_from(settings.min_close_delay.as_secs()).unwrap_or(u32::MAX),
        };
        if !registrar.allows_gateway(&wanted.payee_key) {
            tracing::warn!(
                payee_key = to_hex(&wanted.payee_key),
                "the registry does not list the key that takes payments here, or is not known: who reads it will not pay this gateway"
            );
        }
        let mut chains = settings
            .chain
            .iter()
            .map(|url| source(url, settings.network.0, settings))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let first = chains.next().ok_or(OpenError::NoSource)?;
        let sources = Sources::new(first, chains.next(), settings.two_sources_above);
        let settling = Settling::open(settings, folder, &sources).await?;
        let payee = ChannelId {
            network: wanted.network,
            account: wanted.payee,
        };
        let shared = Arc::new(Shared {
            offered: Offered {
                wanted,
                registrar: registrar.clone(),
                fees: Fees::default(),
            },
            signer,
            for_strangers: sources.for_strangers(),
            senders: Senders::new(sources.first().clone(), store.clone(), payee),
            refused: Refused::new(),
            sources,
            store,
            ledger: ledger.clone(),
            limiters: limiters.clone(),
            known: Known::default(),
            looks: Looks::default(),
            settings: settings.clone(),
            parting: Mutex::default(),
            unplaced: Mutex::default(),
            newest: AtomicU32::new(0),
            settling: Mutex::new(settling),
        });
        shared.read(0).await?;
        shared.check_keys()?;
        if is_key_new {
            shared.senders.begin().await;
        }
        shared.read_on();
        shared.first_look().await;
        Ok(Self(Some(shared)))
    }
}

impl Shared {
    /// Whether what open channels earned can be signed. With a key that the operator names we go on, for the other one
    /// may be lost; without one nobody decided that.
    fn check_keys(&self) -> Result<(), OpenError> {
        let ours = self.signer.public();
        for channel in self.known.all() {
            if channel.keys.payee == ours {
                continue;
            }
            let error = OpenError::OtherKey {
                channel: channel.id.account,
                theirs: to_hex(&channel.keys.payee),
                ours: to_hex(&ours),
            };
            if self.settings.key_file.is_none() {
                return Err(error);
            }
            tracing::error!(cause = %error, "what a channel earned cannot be signed");
        }
        Ok(())
    }
}

fn source(url: &str, network: Network, settings: &config::Payments) -> Result<Arc<dyn Chain>, OpenError> {
    let roots = if url.starts_with("https") {
        Some(tls::client(None)?)
    } else {
        None
    };
    let settings = toncenter::Settings {
        network,
        url: url.to_owned(),
        api_key: settings.chain_api_key.as_ref().map(|key| key.expose().to_owned()),
    };
    Ok(Arc::new(Toncenter::new(settings, roots.as_deref())?))
}
