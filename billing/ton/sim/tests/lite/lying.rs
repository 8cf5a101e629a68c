//! One server that lies, whatever it lies about, is not believed.

use std::sync::Arc;

use billing::channel::{Account, Network};
use billing_ton::{
    Chain as _,
    chain::{ChainError, Status},
    lite::{Address, LiteServers, MOST_APART, Settings, SettingsError, adnl::ServerKey, tl},
};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder},
};

use crate::scene::{Scene, Twist, UNIT, account, paying};

/// Changes answers to questions with this constructor.
fn twisting<A>(constructor: u32, change: impl Fn(&mut A) + Send + Sync + 'static) -> Twist
where
    A: for<'a> tl_proto::TlRead<'a, Repr = tl_proto::Boxed> + tl_proto::TlWrite<Repr = tl_proto::Boxed>,
{
    Arc::new(move |question, truth| {
        if tl::constructor(question) != Some(constructor) {
            return Some(truth);
        }
        // An error stays one.
        Some(match tl::read::<A>(&truth) {
            Ok(mut answer) => {
                change(&mut answer);
                tl::write(answer)
            }
            Err(_) => truth,
        })
    })
}

fn about_states(change: impl Fn(&mut tl::AccountState) + Send + Sync + 'static) -> Twist {
    twisting(tl::GetAccountState::TL_ID, change)
}

async fn funded() -> (Scene, Account) {
    let scene = Scene::new();
    let (seed, wallet) = scene.wallet(7, 5 * UNIT);
    scene.wallet(8, 3 * UNIT);
    scene.tick();
    let message = paying(&seed, &wallet, 0, account(1), scene.chain.now() + 60);
    scene.chain.send(&message).await.expect("it is taken");
    scene.tick();
    (scene, wallet.account())
}

/// What a client makes of a server that lies about the state of `asked`, alone and with an honest one after it.
async fn refused(scene: &Scene, asked: Account, twist: Twist) -> String {
    let liar = scene.lying(1, twist).await;
    let honest = scene.honest(2).await;
    let truth = scene.chain.account(asked).await.expect("an answer");
    let both = scene.client(&[&liar, &honest], 2);
    assert_eq!(both.account(asked).await.expect("the honest one answers"), truth);
    let alone = scene.client(&[&liar], 1);
    match alone.account(asked).await {
        Err(ChainError::Contradiction(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lie_about_an_account_is_found() {
    let (scene, wallet) = funded().await;
    let check = async |twist: Twist, expect: &str| {
        let reason = refused(&scene, wallet, twist).await;
        assert!(reason.contains(expect), "{reason}");
    };
    check(about_states(|answer| answer.state.clear()), "not the one").await;
    check(about_states(|answer| answer.proof.clear()), "no bag").await;
    check(about_states(|answer| answer.shard_proof.clear()), "no bag").await;
    check(about_states(|answer| answer.shard_block.seqno += 1), "not the newest").await;
    check(
        about_states(|answer| answer.shard_block.root_hash[0] ^= 1),
        "not the newest",
    )
    .await;
    check(
        about_states(|answer| answer.shard_block.shard = 1 << 62),
        "not the newest",
    )
    .await;
    check(
        about_states(|answer| answer.proof = answer.shard_proof.clone()),
        "another cell",
    )
    .await;
    check(
        about_states(|answer| answer.shard_proof = answer.proof.clone()),
        "another cell",
    )
    .await;
    check(
        about_states(|answer| answer.state = Boc::encode(Cell::default())),
        "not the one",
    )
    .await;
}

#[tokio::test]
async fn a_richer_account_of_the_same_form_is_found() {
    let (scene, wallet) = funded().await;
    let other = scene.wallet(9, 1_000 * UNIT).1.account();
    scene.tick();
    // A true state of another account, with its true proof.
    let question = tl::GetAccountState {
        id: newest(&scene).await,
        account: tl::AccountId {
            workchain: 0,
            id: other.hash,
        },
    };
    let answer = scene
        .front
        .answer(&tl::write(tl::LiteQuery {
            data: tl::write(question),
        }))
        .await;
    let rich: tl::AccountState = tl::read(&answer).expect("an answer");
    let whole = rich.clone();
    let reason = refused(&scene, wallet, about_states(move |answer| *answer = whole.clone())).await;
    // Its proof leaves out what shows our account: that is not absence.
    assert!(reason.contains("leaves out"), "{reason}");
    let state = rich.state;
    let reason = refused(&scene, wallet, about_states(move |answer| answer.state = state.clone())).await;
    assert!(reason.contains("not the one"), "{reason}");
}

#[tokio::test]
async fn an_account_that_is_there_cannot_be_denied() {
    let (scene, wallet) = funded().await;
    // The proof that some other account is not there, for ours.
    let absent = tl::GetAccountState {
        id: newest(&scene).await,
        account: tl::AccountId {
            workchain: 0,
            id: [0xee; 32],
        },
    };
    let answer = scene
        .front
        .answer(&tl::write(tl::LiteQuery {
            data: tl::write(absent),
        }))
        .await;
    let absent: tl::AccountState = tl::read(&answer).expect("an answer");
    assert!(absent.state.is_empty());
    let reason = refused(&scene, wallet, about_states(move |answer| *answer = absent.clone())).await;
    // Its proof leaves out our account, or shows that it is there.
    assert!(
        reason.contains("leaves out") || reason.contains("not the one"),
        "{reason}"
    );
    // And one that is not there cannot be made up.
    let reason = refused(
        &scene,
        account(0xee),
        about_states(|answer| answer.state = Boc::encode(Cell::default())),
    )
    .await;
    assert!(reason.contains("not the one"), "{reason}");
}

#[tokio::test]
async fn any_bit_of_a_proof_counts() {
    let (scene, wallet) = funded().await;
    let honest = scene.honest(2).await;
    let truth = scene.chain.account(wallet).await.expect("an answer");
    // One client, many lies: a byte further at each answer.
    let counter = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let turns = Arc::clone(&counter);
    let liar = scene
        .lying(
            1,
            about_states(move |answer| {
                let turn = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let all = [&mut answer.shard_proof, &mut answer.proof, &mut answer.state];
                let [one, two, three] = all;
                let bytes = one.iter_mut().chain(two).chain(three);
                let length = bytes.size_hint().0;
                if let Some(byte) = bytes.into_iter().nth(turn * 7 % length.max(1)) {
                    *byte ^= 0x10;
                }
            }),
        )
        .await;
    let alone = scene.client(&[&liar], 1);
    let both = scene.client(&[&liar, &honest], 2);
    let mut refused = 0;
    for _ in 0..150 {
        match alone.account(wallet).await {
            // In a bag there are bytes that say nothing of cells: an index, a checksum that is not there.
            Ok(state) => assert_eq!(state, truth),
            Err(error) => {
                assert!(matches!(error, ChainError::Contradiction(_)), "{error:?}");
                refused += 1;
            }
        }
        assert_eq!(both.account(wallet).await.expect("the honest one answers"), truth);
    }
    assert!(refused > 140, "{refused}");
}

#[tokio::test]
async fn servers_that_name_two_blocks_are_both_doubted() {
    let (scene, wallet) = funded().await;
    let lie: Twist = twisting(tl::GetMasterchainInfo::TL_ID, |info: &mut tl::MasterchainInfo| {
        info.last.root_hash[5] ^= 1;
    });
    let (liar, honest) = (scene.lying(1, lie).await, scene.honest(2).await);
    for servers in [[&liar, &honest], [&honest, &liar]] {
        let client = scene.client(&servers, 2);
        let doubted = client.account(wallet).await;
        assert!(matches!(doubted, Err(ChainError::Contradiction(_))), "{doubted:?}");
    }
    // With one that is believed alone, what it names has no proof.
    let alone = scene.client(&[&liar], 1);
    assert!(alone.account(wallet).await.is_err());
}

#[tokio::test]
async fn nobody_holds_us_in_the_past() {
    let (scene, wallet) = funded().await;
    let past = newest(&scene).await;
    let lie: Twist = twisting(tl::GetMasterchainInfo::TL_ID, move |info: &mut tl::MasterchainInfo| {
        info.last = past;
    });
    let (liar, honest) = (scene.lying(1, lie).await, scene.honest(2).await);
    let client = scene.client(&[&honest, &liar], 2);
    for _ in 0..MOST_APART {
        scene.chain.tick().expect("it runs");
    }
    assert_eq!(client.account(wallet).await.expect("an answer").head.seqno, past.seqno);
    scene.chain.tick().expect("it runs");
    let apart = client.account(wallet).await;
    assert!(matches!(apart, Err(ChainError::Unreachable(_))), "{apart:?}");
    assert!(apart.is_err_and(|error| error.to_string().contains("is behind, or lies")));
}

#[tokio::test]
async fn a_forged_history_is_found() {
    let (scene, wallet) = funded().await;
    let truth = scene.chain.transactions(wallet, None, 9).await.expect("an answer");
    assert_eq!(truth.len(), 2);
    let check = async |twist: Twist| {
        let liar = scene.lying(1, twist).await;
        let honest = scene.honest(2).await;
        let alone = scene.client(&[&liar], 1);
        let found = alone.transactions(wallet, None, 9).await;
        assert!(found.is_err(), "{found:?}");
        let both = scene.client(&[&liar, &honest], 2);
        assert_eq!(both.transactions(wallet, None, 9).await.expect("an answer"), truth);
    };
    let older = truth[0].cell.clone();
    // The newest is left out; it is replaced; nothing is told at all; what follows is of nobody.
    check(twisting(
        tl::GetTransactions::TL_ID,
        move |answer: &mut tl::TransactionList| {
            answer.transactions = older.clone();
        },
    ))
    .await;
    check(twisting(
        tl::GetTransactions::TL_ID,
        |answer: &mut tl::TransactionList| {
            answer.transactions = Boc::encode(Cell::default());
        },
    ))
    .await;
    check(twisting(
        tl::GetTransactions::TL_ID,
        |answer: &mut tl::TransactionList| {
            answer.transactions.clear();
        },
    ))
    .await;
}

#[tokio::test]
async fn a_forged_price_is_found() {
    let (scene, _) = funded().await;
    let truth = scene.chain.config_parameter(21).await.expect("an answer");
    let lies: [Twist; 3] = [
        twisting(tl::GetConfigParams::TL_ID, |answer: &mut tl::ConfigInfo| {
            answer.config_proof = answer.state_proof.clone();
        }),
        twisting(tl::GetConfigParams::TL_ID, |answer: &mut tl::ConfigInfo| {
            answer.state_proof = answer.config_proof.clone();
        }),
        twisting(tl::GetConfigParams::TL_ID, |answer: &mut tl::ConfigInfo| {
            let mut cell = CellBuilder::new();
            cell.store_u32(1).expect("room");
            answer.config_proof = Boc::encode(cell.build().expect("a cell"));
        }),
    ];
    for lie in lies {
        let (liar, honest) = (scene.lying(1, lie).await, scene.honest(2).await);
        let alone = scene.client(&[&liar], 1);
        let refused = alone.config_parameter(21).await;
        assert!(matches!(refused, Err(ChainError::Contradiction(_))), "{refused:?}");
        let both = scene.client(&[&liar, &honest], 2);
        assert_eq!(both.config_parameter(21).await.expect("an answer"), truth);
    }
    // The answer to another question: the parameter is left out, which is not absence.
    let question = tl::GetConfigParams {
        mode: 0,
        id: newest(&scene).await,
        list: tl::List(vec![19]),
    };
    let answer = scene
        .front
        .answer(&tl::write(tl::LiteQuery {
            data: tl::write(question),
        }))
        .await;
    let other: tl::ConfigInfo = tl::read(&answer).expect("an answer");
    let lie = twisting(tl::GetConfigParams::TL_ID, move |answer: &mut tl::ConfigInfo| {
        *answer = other.clone()
    });
    let liar = scene.lying(1, lie).await;
    let refused = scene.client(&[&liar], 1).config_parameter(21).await;
    assert!(matches!(refused, Err(ChainError::Contradiction(_))), "{refused:?}");
}

#[tokio::test]
async fn who_keeps_a_message_or_refuses_it_changes_nothing() {
    let (scene, wallet) = funded().await;
    let seed = billing_ton::Seed::from_bytes([7; 32]);
    let ours = billing_ton::Wallet::new(scene.chain.network(), seed.public_key());
    assert_eq!(ours.account(), wallet);
    let refusing: Twist = Arc::new(|question, truth| {
        if tl::constructor(question) != Some(tl::SendMessage::TL_ID) {
            return Some(truth);
        }
        Some(tl::write(tl::ServerError {
            code: 0,
            message: b"never".to_vec(),
        }))
    });
    let (liar, honest) = (scene.lying(1, refusing).await, scene.honest(2).await);
    let message = paying(&seed, &ours, 1, account(2), scene.chain.now() + 60);
    let both = scene.client(&[&liar, &honest], 2);
    both.send(&message).await.expect("the honest one takes it");
    scene.tick();
    assert_ne!(
        scene.chain.account(account(2)).await.expect("an answer").status,
        Status::Nonexistent
    );
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_passed_over() {
    let (scene, wallet) = funded().await;
    let ending: Twist = Arc::new(|_, _| None);
    let nonsense: Twist = Arc::new(|_, _| Some(vec![1, 2, 3, 4, 5]));
    let limited: Twist = Arc::new(|_, _| {
        Some(tl::write(tl::ServerError {
            code: 228,
            message: b"too many requests\nat once".to_vec(),
        }))
    });
    let truth = scene.chain.account(wallet).await.expect("an answer");
    for bad in [ending, nonsense, limited.clone()] {
        let bad = scene.lying(1, bad).await;
        let (one, other) = (scene.honest(2).await, scene.honest(3).await);
        let client = scene.client(&[&bad, &one, &other], 2);
        assert_eq!(client.account(wallet).await.expect("two are enough"), truth);
        let few = scene.client(&[&bad, &one], 2);
        assert!(few.account(wallet).await.is_err());
    }
    let bad = scene.lying(1, limited).await;
    let refused = scene.client(&[&bad], 1).head().await;
    assert!(matches!(refused, Err(ChainError::Limited)), "{refused:?}");
}

#[tokio::test]
async fn a_server_with_another_key_is_not_spoken_to() {
    let (scene, wallet) = funded().await;
    let server = scene.honest(1).await;
    let wrong = Address {
        key: ServerKey::from_seed(&[9; 32]).public(),
        ..server.address
    };
    let client = LiteServers::new(Settings {
        network: scene.chain.network(),
        servers: vec![wrong],
        agreeing: 1,
    })
    .expect("good settings");
    let refused = client.account(wallet).await;
    assert!(matches!(refused, Err(ChainError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_chain_of_another_network_is_refused() {
    let (scene, wallet) = funded().await;
    let server = scene.honest(1).await;
    let client = LiteServers::new(Settings {
        network: Network::MAINNET,
        servers: vec![server.address],
        agreeing: 1,
    })
    .expect("good settings");
    let is_other = |found: Option<ChainError>| {
        assert!(
            matches!(
                found,
                Some(ChainError::Network {
                    wanted: Network::MAINNET,
                    ..
                })
            ),
            "{found:?}"
        );
    };
    is_other(client.head().await.err());
    is_other(client.account(wallet).await.err());
    is_other(client.transactions(wallet, None, 1).await.err());
    is_other(client.config_parameter(21).await.err());
}

#[test]
fn settings_that_prove_nothing_are_refused() {
    let key = |byte| ServerKey::from_seed(&[byte; 32]).public();
    let at = "127.0.0.1:1".parse().expect("an address");
    let check = |keys: &[[u8; 32]], agreeing, expect: SettingsError| {
        let settings = Settings {
            network: Network::MAINNET,
            servers: keys.iter().map(|key| Address { at, key: *key }).collect(),
            agreeing,
        };
        assert_eq!(LiteServers::new(settings).err(), Some(expect));
    };
    check(&[key(1)], 0, SettingsError::NoneAgree);
    check(
        &[],
        1,
        SettingsError::TooFew {
            servers: 0,
            agreeing: 1,
        },
    );
    check(
        &[key(1)],
        2,
        SettingsError::TooFew {
            servers: 1,
            agreeing: 2,
        },
    );
    check(&[key(1), key(2), key(1)], 2, SettingsError::Twice(at));
    let mut none = [0xff; 32];
    none[0] = 2;
    check(&[none], 1, SettingsError::Key(at));
}

async fn newest(scene: &Scene) -> tl::BlockId {
    let question = tl::write(tl::LiteQuery {
        data: tl::write(tl::GetMasterchainInfo),
    });
    let answer = scene.front.answer(&question).await;
    tl::read::<tl::MasterchainInfo>(&answer).expect("an answer").last
}
