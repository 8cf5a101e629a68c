//! Why a payment lets nobody in. Which status that is, only `rescue` knows.

use std::sync::Arc;

use billing::channel::{
    AccessRefusal, VoucherRefusal,
    x402::{DecodeError, PaymentRefusal},
};
use billing_store::ledger::{AddError, CloseError, LedgerFault, RaiseError};

use super::{accept::AcceptError, offer::Unwanted};

/// In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("This gateway takes no payments by channel. Send an API key.")]
    Off,
    #[error("The header PAYMENT-SIGNATURE cannot be read: {0}.")]
    Header(#[from] DecodeError),
    #[error("The payment does not fit: {0}.")]
    Payment(#[from] PaymentRefusal),
    /// Not our terms.
    #[error("The channel is not taken: {0}.")]
    Unwanted(#[from] Unwanted),
    #[error("The voucher is not good: {0}.")]
    Voucher(#[from] VoucherRefusal),
    #[error("The access proof is not good: {0}.")]
    Access(#[from] AccessRefusal),
    /// Never by chance: an address follows from both.
    #[error("The channel of this address is known with other terms or keys than the payment names.")]
    Others,
    #[error("The channel is closed, or about to be. Open another one.")]
    Ended,
    #[error("The channel was paid from before this gateway knew it. Open another one, with a new salt.")]
    Used,
    #[error("This voucher is known already, and whoever has seen it may show it. Show an access proof.")]
    Known,
    #[error("Show an access proof in PAYMENT-SIGNATURE.")]
    Unproved,
    #[error("The notice is not understood: {0}.")]
    Notice(&'static str),
    #[error("The chain does not show the channel at the moment. Retry in some minutes.")]
    Unseen,
    #[error("Too many new channels are being looked up. Retry.")]
    Busy,
    /// The chain has something against it, or says nothing.
    #[error("The channel is not taken: {0}.")]
    Chain(#[source] Arc<AcceptError>),
    #[error("There is no channel of this address here.")]
    NotFound,
    #[error("{0}")]
    Close(CloseError),
    #[error("The database of the gateway does not answer, so that the payment cannot be kept. Retry.")]
    Store(#[from] LedgerFault),
}

impl From<AcceptError> for PaymentError {
    fn from(error: AcceptError) -> Self {
        Self::Chain(Arc::new(error))
    }
}

impl From<RaiseError> for PaymentError {
    fn from(error: RaiseError) -> Self {
        match error {
            RaiseError::Fault(fault) => Self::Store(fault),
            RaiseError::Closed(_) => Self::Ended,
            RaiseError::NotFound(_) => Self::NotFound,
            RaiseError::Keys(_) => Self::Others,
            error => {
                tracing::error!(cause = %crate::layers::rescue::Chain(&error), "a voucher is not on its account");
                Self::Busy
            }
        }
    }
}

impl From<AddError> for PaymentError {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Fault(fault) => Self::Store(fault),
            AddError::Closed(_) => Self::Ended,
            AddError::Claimed { .. } => Self::Used,
            error => {
                tracing::error!(cause = %crate::layers::rescue::Chain(&error), "a channel cannot be kept");
                Self::Busy
            }
        }
    }
}

impl From<CloseError> for PaymentError {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Fault(fault) => Self::Store(fault),
            CloseError::NotFound(_) => Self::NotFound,
            CloseError::Closed(_) => Self::Ended,
            error => Self::Close(error),
        }
    }
}
