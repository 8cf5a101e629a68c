//! Why a transaction of a channel changed nothing.

/// What a channel, or the machine that runs it, had against a message. The channel is as it was, and the coins went back
/// if the message could bounce and brought enough for that.
///
/// `docs/contract.md` has the codes as a table, and a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the message brought too little for what it should credit; ask `get_topup_fee`, and bring some more")]
    LowValue,
    #[error("the channel is closing: nothing can be paid in, nor the clock started again; open a new one")]
    Closing,
    #[error("nobody asked to close the channel; send request_close first")]
    NotClosing,
    #[error("the delay is not over; finish_close works from `close_at` on")]
    TooEarly,
    #[error("the payer's voucher is missing, or not signed for this channel, network and amount")]
    Voucher,
    #[error("the payee's signature is not one for this channel, network, amount and kind (take or close)")]
    PayeeSignature,
    #[error("only the payer's account can start the clock")]
    NotPayer,
    #[error("all that is taken was paid before, or nothing is there to pay it with")]
    NothingToPay,
    #[error("more is taken than the voucher allows; the payer must sign a higher one")]
    OverMax,
    #[error("nothing can be paid into a channel outside the basic workchain")]
    NotBasechain,
    #[error("no channel knows this operation")]
    UnknownOperation,
    #[error("the message or the channel's data are not of the scheme to the last bit")]
    Malformed,
    #[error("a number is beyond what the chain can say: an amount of 2^120 nanoton, or a time after 2106")]
    Range,
    #[error("the message brought too little for gas; the rest comes back, so bring more")]
    OutOfGas,
    #[error("the message brought too little to send what follows from it; the rest comes back, so bring more")]
    TooLittleToSend,
    #[error("one of the terms' accounts cannot be sent to")]
    Undeliverable,
    /// Not one of ours.
    #[error("the machine says {0}")]
    Other(i32),
}

impl Failure {
    /// All that have a code of their own.
    pub const ALL: [Self; 16] = [
        Self::LowValue,
        Self::Closing,
        Self::NotClosing,
        Self::TooEarly,
        Self::Voucher,
        Self::PayeeSignature,
        Self::NotPayer,
        Self::NothingToPay,
        Self::OverMax,
        Self::NotBasechain,
        Self::UnknownOperation,
        Self::Malformed,
        Self::Range,
        Self::OutOfGas,
        Self::TooLittleToSend,
        Self::Undeliverable,
    ];

    /// From the exit code of the compute phase; `None` for success.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<Self> {
        match code {
            0 | 1 => None,
            _ => Some(Self::coded(code, &Self::ALL[..14])),
        }
    }

    /// From the result code of the action phase; `None` for success.
    #[must_use]
    pub fn from_action_code(code: i32) -> Option<Self> {
        match code {
            0 => None,
            _ => Some(Self::coded(code, &Self::ALL[14..])),
        }
    }

    fn coded(code: i32, among: &[Self]) -> Self {
        among
            .iter()
            .find(|failure| failure.code() == code)
            .copied()
            .unwrap_or(Self::Other(code))
    }

    /// Of the compute phase; of the action phase for the last two.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::LowValue => 200,
            Self::Closing => 201,
            Self::NotClosing => 202,
            Self::TooEarly => 203,
            Self::Voucher => 204,
            Self::PayeeSignature => 205,
            Self::NotPayer => 206,
            Self::NothingToPay => 207,
            Self::OverMax => 208,
            Self::NotBasechain => 209,
            Self::UnknownOperation => 0xffff,
            Self::Malformed => 9,
            Self::Range => 5,
            // What the virtual machine calls out of gas, before the sign is turned for the exit code.
            Self::OutOfGas => -14,
            Self::TooLittleToSend => 37,
            Self::Undeliverable => 36,
            Self::Other(code) => code,
        }
    }
}
