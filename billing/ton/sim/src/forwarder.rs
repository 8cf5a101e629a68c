//! A contract for our own tests: it sends whatever message anybody hands it, and is worth nobody's coins.

use billing::channel::Account;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellSliceParts, HashBytes};
use tycho_types::models::{
    CurrencyCollection, ExtInMsgInfo, MsgInfo, OwnedMessage, OwnedRelaxedMessage, RelaxedIntMsgInfo, RelaxedMsgInfo,
    StateInit, StdAddr,
};
use tycho_types::num::Tokens;

/// An internal message is let in; an external one is accepted, and the message in its body's reference is sent; a method
/// answers the data's 32 bits.
const CODE: [u8; 25] = [
    0xff, 0x00, // SETCP 0
    0x20, 0xdd, // DUP IFNOTRET
    0x20, 0xc1, 0x00, // DUP 0 LESSINT
    0x98, // PUSHCONT of 8 bytes
    0xf8, 0x00, // ACCEPT
    0x30, 0xd4, 0x30, // DROP LDREF DROP
    0x73, 0xfb, 0x00, // 3 PUSHINT SENDRAWMSG
    0xe0, // IFJMP
    0x30, // DROP
    0xed, 0x44, 0xd0, 0xd7, 0x0b, 0x1f, // c4 PUSHCTR CTOS 32 PLDU
    0x00, // NOP
];

/// The `n`th forwarder's address, and what it is deployed with.
pub(crate) fn forwarder(n: u32) -> (Account, StateInit) {
    let mut code = CellBuilder::new();
    code.store_raw(&CODE, 200).expect("fits");
    let mut data = CellBuilder::new();
    data.store_u32(n).expect("fits");
    let init = StateInit {
        code: Some(code.build().expect("fits")),
        data: Some(data.build().expect("fits")),
        ..StateInit::default()
    };
    let hash = CellBuilder::build_from(&init).expect("fits").repr_hash().0;
    (Account { workchain: 0, hash }, init)
}

/// Asks forwarder `n` to send `nano` to `to`; the first time it must be `deployed` by it. As a bag of cells.
pub(crate) fn ask_to_send(n: u32, to: &Account, nano: u128, deploy: bool) -> Vec<u8> {
    let (account, init) = forwarder(n);
    let inner = OwnedRelaxedMessage {
        info: RelaxedMsgInfo::Int(RelaxedIntMsgInfo {
            ihr_disabled: true,
            // The chain puts the sender's address here.
            src: None,
            dst: StdAddr::new(to.workchain, HashBytes(to.hash)).into(),
            value: CurrencyCollection {
                tokens: Tokens::new(nano),
                ..CurrencyCollection::ZERO
            },
            ..RelaxedIntMsgInfo::default()
        }),
        init: None,
        body: CellSliceParts::default(),
        layout: None,
    };
    let mut body = CellBuilder::new();
    body.store_reference(CellBuilder::build_from(inner).expect("fits"))
        .expect("fits");
    let body: Cell = body.build().expect("fits");
    let message = OwnedMessage {
        info: MsgInfo::ExtIn(ExtInMsgInfo {
            dst: StdAddr::new(0, HashBytes(account.hash)).into(),
            ..ExtInMsgInfo::default()
        }),
        init: deploy.then_some(init),
        body: body.into(),
        layout: None,
    };
    Boc::encode(CellBuilder::build_from(message).expect("fits"))
}
