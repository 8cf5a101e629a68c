//! The numbers and bytes are those that TON's Python library (pytoniq-core 0.2.1) writes of the same values.

use super::*;

const BLOCK: BlockId = BlockId {
    workchain: -1,
    shard: 1 << 63,
    seqno: 7,
    root_hash: [0x11; 32],
    file_hash: [0x22; 32],
};
const ACCOUNT: AccountId = AccountId {
    workchain: 0,
    id: [0x33; 32],
};

#[test]
fn constructors_are_those_that_others_speak() {
    let check = |found: u32, expect: [u8; 4]| assert_eq!(found.to_be_bytes(), expect);
    check(Ping::TL_ID, *b"M\x08+\x9a");
    check(Pong::TL_ID, *b"\xdci\xfb\x03");
    check(Query::TL_ID, *b"\xb4\x8b\xf9z");
    check(Answer::TL_ID, *b"\x0f\xac\x84\x16");
    check(LiteQuery::TL_ID, *b"y\x8c\x06\xdf");
    check(WaitForBlock::TL_ID, *b"\xba\xea\xb8\x92");
    check(ServerError::TL_ID, *b"\xbb\xa9\xe1H");
    check(GetMasterchainInfo::TL_ID, *b"\x89\xb5\xe6.");
    check(MasterchainInfo::TL_ID, *b"\x85\x83(\x81");
    check(GetMasterchainInfoExt::TL_ID, *b"p\xa6q\xdf");
    check(MasterchainInfoExt::TL_ID, *b"\xa8\xcc\xe0\xf5");
    check(GetTime::TL_ID, *b"\x16\xadZ4");
    check(CurrentTime::TL_ID, *b"\xe9S\x00\r");
    check(GetVersion::TL_ID, *b"#+\x94\x0b");
    check(Version::TL_ID, *b"Z\x04\x91\xe5");
    check(GetBlockHeader::TL_ID, *b"!\xec\x06\x9e");
    check(BlockHeader::TL_ID, *b"u-\x82\x19");
    check(LookupBlock::TL_ID, *b"\xfa\xc8\xf7\x1e");
    check(SendMessage::TL_ID, *b"i\n\xd4\x82");
    check(SendStatus::TL_ID, *b"9P\xe5\x97");
    check(GetAccountState::TL_ID, *b"k\x89\x0e%");
    check(AccountState::TL_ID, *b"py\xc7Q");
    check(RunMethod::TL_ID, *b"\\\xc6]\xd2");
    check(MethodResult::TL_ID, *b"\xa3\x9aak");
    check(GetAllShards::TL_ID, *b"t\xd3\xfdk");
    check(AllShards::TL_ID, *b"\t\x8f\xe7-");
    check(GetTransactions::TL_ID, *b"\x1c@\xe7\xa1");
    check(TransactionList::TL_ID, *b"o&\xc6\x0b");
    check(GetConfigAll::TL_ID, *b"\x91\x1b&\xb7");
    check(GetConfigParams::TL_ID, *b"*\x11\x1c\x19");
    check(ConfigInfo::TL_ID, *b"\xae{'/");
}

#[test]
fn questions_are_written_as_others_write_them() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let ones = "11".repeat(32);
    let twos = "22".repeat(32);
    let threes = "33".repeat(32);
    let block = format!("ffffffff000000000000008007000000{ones}{twos}");
    let state = write(GetAccountState {
        id: BLOCK,
        account: ACCOUNT,
    });
    assert_eq!(hex(&state), format!("250e896b{block}00000000{threes}"));
    let by_number = LookupBlock {
        mode: (),
        workchain: -1,
        shard: 1 << 63,
        seqno: 9,
        by_seqno: Some(()),
        lt: None,
        time: None,
    };
    let expect = "1ef7c8fa01000000ffffffff000000000000008009000000";
    assert_eq!(hex(&write(by_number)), expect);
    let by_lt = LookupBlock {
        workchain: 0,
        seqno: 0,
        by_seqno: None,
        lt: Some(77),
        ..by_number
    };
    let expect = "1ef7c8fa02000000000000000000000000000080000000004d00000000000000";
    assert_eq!(hex(&write(by_lt)), expect);
    assert_eq!(read::<LookupBlock>(&write(by_lt)).expect("what was written"), by_lt);
    let parameters = write(GetConfigParams {
        mode: 0,
        id: BLOCK,
        list: List(vec![19, -1]),
    });
    assert_eq!(
        hex(&parameters),
        format!("191c112a00000000{block}0200000013000000ffffffff")
    );
    let method = write(RunMethod {
        mode: 4,
        id: BLOCK,
        account: ACCOUNT,
        method: 85_143,
        params: b"abc".to_vec(),
    });
    assert_eq!(
        hex(&method),
        format!("d25dc65c04000000{block}00000000{threes}974c01000000000003616263")
    );
    let long = write(LiteQuery { data: vec![1; 300] });
    assert_eq!(
        (long.len(), hex(&long[..12])),
        (308, "df068c79fe2c010001010101".to_owned())
    );
}

#[test]
fn a_list_that_the_bytes_cannot_hold_is_refused() {
    let written = write(TransactionList {
        ids: List(vec![BLOCK]),
        transactions: Vec::new(),
    });
    assert!(read::<TransactionList>(&written).is_ok());
    for length in [2_u32, 100, 1_025, u32::MAX] {
        let mut longer = written.clone();
        longer[4..8].copy_from_slice(&length.to_le_bytes());
        assert!(read::<TransactionList>(&longer).is_err(), "{length}");
    }
    // Nothing is left over, and nothing is missing.
    let mut left_over = written.clone();
    left_over.extend([0; 4]);
    assert!(read::<TransactionList>(&left_over).is_err());
    for length in 0..written.len() {
        assert!(read::<TransactionList>(&written[..length]).is_err(), "{length}");
    }
}
