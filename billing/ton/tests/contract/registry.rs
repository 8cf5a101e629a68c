//! The registry in the Rust virtual machine, beside what the official executor said of the same messages.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use billing::channel::{Account, Network};
use billing_ton::chain::{AccountState, Chain, ChainError, Cursor, Head, Status, Transaction};
use billing_ton::contract::Malformed;
use billing_ton::registry::{
    self, CODE, CODE_HASH, Charter, Fee, Lists, MOST_OWNERS, NotRegistry, Older, ReadError, Request, State, Vote,
    judge, signed_bytes,
};
use billing_ton_sim::{At, Machine, Outcome, Prices, nonexistent, slim};
use futures_util::future::BoxFuture;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes, Store};
use tycho_types::models::{IntMsgInfo, MsgInfo, ShardAccount, StateInit, StdAddr};
use tycho_types::num::Tokens;

use crate::codec::{data, opened};
use crate::document::{grouped, thrown, ton};
use crate::fixtures::{File, NEW_CONFIG, OLD_CONFIG, Scenario, hex, replay, same};
use crate::machine::{Pair, START, TON, party};
use crate::random::{Random, messages};

const DOCUMENT: &str = include_str!("../../../../docs/registry.md");
const SOURCE: &str = include_str!("../../contracts/registry.tolk");
const HISTORIES: usize = 400;
const MESSAGES_EACH: usize = 40;
const HISTORIES_OF_A_FAULT: usize = 120;

fn recorded() -> [(Machine, Vec<Scenario>); 2] {
    let old = include_str!("../../contracts/fixtures/old/registry.json");
    let new = include_str!("../../contracts/fixtures/new/registry.json");
    [(OLD_CONFIG, old), (NEW_CONFIG, new)].map(|(config, theme)| {
        let machine = Machine::new(config, Prices::Old).expect("the configuration that is checked in");
        let file: File = serde_json::from_str(theme).expect("a fixture");
        assert_eq!(file.code_hash, hex(&CODE_HASH), "run `npm run fixtures`");
        (machine, file.scenarios)
    })
}

#[test]
fn both_executors_come_to_the_same_states() {
    let mut compared = 0;
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |step, _, outcome| {
                same(&format!("{}: {}", scenario.name, step.name), step, outcome);
                compared += 1;
            });
        }
    }
    assert!(compared > 250, "only {compared} steps were found");
}

#[test]
fn everything_is_read_and_written_back_bit_for_bit() {
    let (mut requests, mut states) = (0, 0);
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |step, _, outcome| {
                let Ok(outcome) = outcome else { return };
                let told = format!("{}: {}", scenario.name, step.name);
                let kept = data(&outcome.state).expect("it stays");
                let state = State::decode(&kept).expect("the contract wrote it");
                assert_eq!(state.encode(), kept, "{told}");
                states += 1;
                let (_, init, body) = opened(&step.message());
                if outcome.exit_code() == Some(0) {
                    let request = Request::decode(&body).expect("it was understood");
                    assert_eq!(request.encode(), body, "{told}");
                    requests += 1;
                }
                if let Some(Ok(first)) = init.and_then(|init| init.data).map(|data| State::decode(&data)) {
                    let account = registry::account(first.network, &first.charter);
                    assert_eq!(account, scenario.account(), "{told}");
                }
            });
        }
    }
    assert!(requests > 80 && states > 200, "{requests} requests, {states} states");
}

fn owners() -> [Pair; 4] {
    // The last is none.
    [11, 12, 13, 14].map(Pair::new)
}

fn charter() -> Charter {
    Charter {
        delay_s: 86_400,
        threshold: 2,
        veto_threshold: 1,
        owners: owners()[..3].iter().map(Pair::public).collect(),
        most_fee_bps: 500,
        fee_dest: party(0x33),
        lists: Lists {
            images: Some(BTreeMap::from([([7; 32], 2)])),
            gateways: Some(BTreeSet::from([[8; 32]])),
            models: None,
        },
    }
}

/// Random proposals, vetoes and applications, most of them wrong: what happens is what the rules of `docs/registry.md` say.
struct History<'a> {
    random: Random,
    machine: &'a Machine,
    init: StateInit,
    account: Account,
    network: Network,
    state: ShardAccount,
    now: u32,
    lt: u64,
    told: String,
    changes: usize,
}

impl<'a> History<'a> {
    fn new(history: usize, machine: &'a Machine, code: Cell) -> Self {
        let mut random = Random(history as u64);
        let network = [Network::MAINNET, Network::TESTNET][random.below(2) as usize];
        let first = Charter {
            threshold: 1 + random.below(3) as u8,
            veto_threshold: 1 + random.below(3) as u8,
            ..charter()
        };
        let init = StateInit {
            code: Some(code),
            ..registry::state_init(network, &first)
        };
        let hash = CellBuilder::build_from(&init).expect("a state init").repr_hash().0;
        Self {
            random,
            machine,
            init,
            account: Account { workchain: 0, hash },
            network,
            state: nonexistent(),
            now: START,
            lt: 1_000_000,
            told: format!("seed {history}"),
            changes: 0,
        }
    }

    fn kept(&self) -> Option<State> {
        data(&self.state).map(|data| State::decode(&data).expect("the contract wrote it"))
    }

    fn balance(&self) -> u128 {
        let account = self.state.load_account().expect("an account");
        account.map_or(0, |account| account.balance.tokens.into_inner())
    }

    fn play(mut self) -> usize {
        self.deliver(&Request::Rent, TON, true);
        for at in 0..MESSAGES_EACH {
            self.told = format!("{}, message {at}", self.told.split(',').next().unwrap_or_default());
            self.now += [1, 60, 4_000, 50_000, 90_000][self.random.below(5) as usize];
            let (request, is_right) = self.some_request();
            let value = match self.random.below(8) {
                0 => self.random.below(10_000_000),
                _ => TON / 4,
            };
            let (was, before) = (self.kept().expect("open"), self.balance());
            let outcome = self.deliver(&request, value, false);
            let is = self.kept().expect("it stays");
            let told = &self.told;
            let expected = self.expected(&was, &request, is_right);
            if value == TON / 4 {
                let expected = expected.unwrap_or_else(|| was.clone());
                assert_eq!(is, expected, "{told}: {request:?}");
            } else {
                assert!(is == was || Some(is) == expected, "{told}: {request:?}");
            }
            // Rent of a few days is next to nothing.
            let least = before.min(50_000_000).saturating_sub(1_000_000);
            assert!(self.balance() >= least, "{told}: gas came out of the reserve");
            self.changes += usize::from(outcome.exit_code() == Some(0) && request != Request::Rent);
        }
        self.changes
    }

    /// And whether all of its signatures are what they should be.
    fn some_request(&mut self) -> (Request, bool) {
        let kept = self.kept().expect("open");
        let seqno = match self.random.below(6) {
            0 => kept.seqno.wrapping_sub(1),
            1 => kept.seqno + 1,
            _ => kept.seqno,
        };
        let vote = match self.random.below(5) {
            0 | 1 => return (Request::Apply { query_id: 1 }, true),
            2 => Vote::Veto,
            _ => Vote::Propose,
        };
        let proposed = self.some_charter();
        let meant = match vote {
            Vote::Propose => proposed.hash(),
            Vote::Veto => kept.pending.as_ref().map_or([0; 32], |pending| pending.charter.hash()),
        };
        let (mut tag, mut network, mut account, mut number, mut hash) =
            (vote, self.network, self.account, seqno, meant);
        let mut is_right = true;
        match self.random.below(14) {
            0 => tag = if vote == Vote::Veto { Vote::Propose } else { Vote::Veto },
            1 => network = Network(self.network.0 ^ 1),
            2 => account.hash[3] ^= 1,
            3 => number ^= 8,
            4 => hash[0] ^= 1,
            _ => {}
        }
        if (tag, network, account, number, hash) != (vote, self.network, self.account, seqno, meant) {
            is_right = false;
        }
        let bytes = signed_bytes(tag, network, &account, number, &hash);
        let who = self.random.below(16);
        let mut signatures = BTreeMap::new();
        for (at, owner) in owners().iter().enumerate() {
            // The stranger rarely.
            if who & 1 << at != 0 && (at < 3 || self.random.once_in(4)) {
                signatures.insert(owner.public(), owner.sign_bytes(&bytes));
            }
        }
        let is_right = is_right || signatures.is_empty();
        let request = match vote {
            Vote::Propose => Request::Propose {
                query_id: 1,
                seqno,
                signatures,
                charter: proposed,
            },
            Vote::Veto => Request::Veto {
                query_id: 1,
                seqno,
                signatures,
            },
        };
        (request, is_right)
    }

    fn some_charter(&mut self) -> Charter {
        let mut charter = charter();
        match self.random.below(8) {
            0 => charter.threshold = self.random.below(5) as u8,
            1 => charter.veto_threshold = self.random.below(5) as u8,
            2 => charter.delay_s = [3_599, 3_600, 7_776_000, 7_776_001][self.random.below(4) as usize],
            3 => charter.most_fee_bps = [0, 10_000, 10_001][self.random.below(3) as usize],
            4 => {
                charter.owners.pop_first();
            }
            5 => charter.lists.images = None,
            _ => {}
        }
        charter
    }

    /// What the rules say comes of it; `None` where nothing does.
    fn expected(&self, was: &State, request: &Request, is_right: bool) -> Option<State> {
        let counts = |signatures: &BTreeMap<[u8; 32], [u8; 64]>, least: u8| {
            let all_own = signatures.keys().all(|key| was.charter.owners.contains(key));
            is_right && all_own && signatures.len() >= usize::from(least)
        };
        let mut next = was.clone();
        next.seqno += 1;
        match request {
            Request::Rent => return None,
            Request::Propose {
                seqno,
                signatures,
                charter,
                ..
            } => {
                let is_due = *seqno == was.seqno && was.pending.is_none();
                if !is_due || !counts(signatures, was.charter.threshold) || !is_sound(charter) {
                    return None;
                }
                next.pending = Some(registry::Pending {
                    apply_at: self.now + was.charter.delay_s,
                    charter: charter.clone(),
                });
            }
            Request::Veto { seqno, signatures, .. } => {
                if *seqno != was.seqno || was.pending.is_none() || !counts(signatures, was.charter.veto_threshold) {
                    return None;
                }
                next.pending = None;
            }
            Request::Apply { .. } => {
                let pending = next.pending.take().filter(|pending| self.now >= pending.apply_at)?;
                next.charter = pending.charter;
            }
        }
        Some(next)
    }

    fn deliver(&mut self, request: &Request, value: u64, opens: bool) -> Outcome {
        let address = |account: &Account| StdAddr::new(account.workchain, HashBytes(account.hash));
        let info = MsgInfo::Int(IntMsgInfo {
            ihr_disabled: true,
            bounce: true,
            src: address(&party(0x44)).into(),
            dst: address(&self.account).into(),
            value: Tokens::new(u128::from(value)).into(),
            created_lt: self.lt,
            created_at: self.now,
            ..IntMsgInfo::default()
        });
        let mut message = CellBuilder::new();
        info.store_into(&mut message, Cell::empty_context()).expect("a header");
        message.store_bit(opens).expect("room");
        if opens {
            message.store_bit_one().expect("room");
            let init = CellBuilder::build_from(&self.init).expect("a state init");
            message.store_reference(init).expect("room");
        }
        message.store_bit_one().expect("room");
        message.store_reference(request.encode()).expect("room");
        self.lt += 1_000_000;
        let at = At {
            lt: self.lt,
            now: self.now,
            seed: [0; 32],
        };
        let message = message.build().expect("ordinary");
        let outcome = self
            .machine
            .execute(&self.account, &self.state, message, at)
            .expect("internal messages are taken");
        self.state = outcome.state.clone();
        outcome
    }
}

fn is_sound(charter: &Charter) -> bool {
    let owners = charter.owners.len();
    let among = |threshold: u8| (1..=owners).contains(&usize::from(threshold));
    owners <= MOST_OWNERS
        && among(charter.threshold)
        && among(charter.veto_threshold)
        && (3_600..=7_776_000).contains(&charter.delay_s)
        && charter.most_fee_bps <= 10_000
}

#[test]
fn random_messages_follow_the_rules() {
    let machine = Machine::new(slim(), Prices::New).expect("embedded");
    let histories = messages(HISTORIES * MESSAGES_EACH).div_ceil(MESSAGES_EACH);
    let changes: usize = (0..histories)
        .map(|history| History::new(history, &machine, registry::code()).play())
        .sum();
    assert!(changes > histories * 2, "{changes}");
}

#[test]
fn every_fault_is_noticed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/fixtures/registry_faults");
    let faults: Vec<_> = std::fs::read_dir(folder)
        .expect("the faults are checked in")
        .map(|file| file.expect("a file").path())
        .collect();
    assert!(faults.len() >= 16, "{faults:?}");
    let survived: Vec<_> = faults.iter().filter(|fault| survives(fault)).collect();
    assert!(survived.is_empty(), "nobody noticed {survived:?}");
}

fn survives(fault: &Path) -> bool {
    let code = Boc::decode(std::fs::read(fault).expect("a file")).expect("a cell");
    let machine = Machine::new(slim(), Prices::New).expect("embedded");
    (0..HISTORIES_OF_A_FAULT).all(|history| {
        let history = History::new(history, &machine, code.clone());
        catch_unwind(AssertUnwindSafe(|| history.play())).is_ok()
    })
}

fn account_state(state: &State) -> AccountState {
    AccountState {
        head: Head { seqno: 5, time: START },
        balance: 1,
        last: None,
        status: Status::Active {
            code: Boc::encode(registry::code()),
            data: Boc::encode(state.encode()),
        },
    }
}

#[test]
fn a_registry_with_one_thing_wrong_is_refused_by_name() {
    let state = State::newborn(Network::MAINNET, charter());
    let account = registry::account(Network::MAINNET, &charter());
    let good = account_state(&state);
    let read = judge(Network::MAINNET, account, &good).expect("as it should be");
    assert_eq!((read.account(), read.charter(), read.seqno()), (account, &charter(), 0));
    assert_eq!((read.pending(), read.head().seqno), (None, 5));
    let check = |change: &dyn Fn(&mut AccountState, &mut Account), expect: NotRegistry| {
        let (mut state, mut account) = (good.clone(), account);
        change(&mut state, &mut account);
        assert_eq!(judge(Network::MAINNET, account, &state), Err(expect));
    };
    check(
        &|_, account| account.workchain = -1,
        NotRegistry::Workchain { workchain: -1 },
    );
    check(&|state, _| state.status = Status::Nonexistent, NotRegistry::NotThere);
    check(&|state, _| state.status = Status::Uninitialised, NotRegistry::NotThere);
    check(&|state, _| state.status = Status::Frozen, NotRegistry::Frozen);
    let with = |code: Cell, data: Vec<u8>| {
        move |state: &mut AccountState, _: &mut Account| {
            let code = Boc::encode(&code);
            let data = data.clone();
            state.status = Status::Active { code, data };
        }
    };
    check(&with(Cell::empty_cell(), Vec::new()), NotRegistry::Code);
    check(
        &with(registry::code(), b"nothing".to_vec()),
        NotRegistry::Data(Malformed::NoCells),
    );
    check(
        &with(registry::code(), Boc::encode(Cell::empty_cell())),
        NotRegistry::Data(Malformed::Short),
    );
    let elsewhere = State::newborn(Network::TESTNET, charter());
    check(
        &with(registry::code(), Boc::encode(elsewhere.encode())),
        NotRegistry::Network {
            wanted: Network::MAINNET,
            found: Network::TESTNET,
        },
    );
}

/// A chain that says one thing of every account.
struct Says(AccountState);

impl Chain for Says {
    fn network(&self) -> Network {
        Network::MAINNET
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        Box::pin(async { Ok(self.0.head) })
    }

    fn account(&self, _: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn transactions(
        &self,
        _: Account,
        _: Option<Cursor>,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn send<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        Box::pin(async { Err(ChainError::Refused("nothing is sent here".to_owned())) })
    }

    fn config_parameter(&self, _: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        Box::pin(async { Ok(None) })
    }
}

#[tokio::test]
async fn it_is_read_from_a_chain_that_is_not_stuck() {
    let state = State::newborn(Network::MAINNET, charter());
    let account = registry::account(Network::MAINNET, &charter());
    let chain = Says(account_state(&state));
    let read = registry::read(&chain, account, u64::from(START) + 5)
        .await
        .expect("it is there");
    assert_eq!(read.charter(), &charter());
    let late = registry::read(&chain, account, u64::from(START) + 86_400).await;
    assert!(matches!(late, Err(ReadError::Stale { age_s: 86_400 })), "{late:?}");
    assert_eq!(read.follows(0), Ok(()));
    assert_eq!(read.follows(3), Err(Older { seen: 3, found: 0 }));
}

/// Whatever a registry says, what is left is allowed by the operator, too.
#[test]
fn it_only_narrows() {
    let mut random = Random(5);
    for _ in 0..2_000 {
        let key = |random: &mut Random| [random.below(4) as u8; 32];
        let set = |random: &mut Random| {
            let keys = (0..random.below(4)).map(|_| [random.below(4) as u8; 32]).collect();
            (!random.once_in(3)).then_some(keys)
        };
        let images = set(&mut random).map(|keys: BTreeSet<_>| {
            keys.into_iter()
                .map(|key| (key, random.below(8) as u8))
                .collect::<BTreeMap<_, _>>()
        });
        let charter = Charter {
            most_fee_bps: random.below(10_001) as u16,
            fee_dest: party(random.below(2) as u8),
            lists: Lists {
                images: images.clone(),
                gateways: set(&mut random),
                models: set(&mut random),
            },
            ..charter()
        };
        let state = account_state(&State::newborn(Network::MAINNET, charter.clone()));
        let read = judge(Network::MAINNET, party(1), &state).expect("a registry");
        let (image, local) = (key(&mut random), random.below(8) as u8);
        let roles = read.roles(&image, local);
        assert_eq!(roles & !local, 0, "a role that the operator does not allow");
        let listed = images.as_ref().map(|images| images.get(&image).copied().unwrap_or(0));
        assert_eq!(
            roles & !listed.unwrap_or(u8::MAX),
            0,
            "a role that the registry does not allow"
        );
        let fee = Fee {
            bps: random.below(10_001) as u16,
            dest: party(random.below(2) as u8),
        };
        let asked = read.fee(fee);
        assert_eq!(asked.dest, fee.dest);
        assert!(asked.bps <= fee.bps);
        let most = if fee.dest == charter.fee_dest {
            charter.most_fee_bps
        } else {
            0
        };
        assert_eq!(asked.bps, fee.bps.min(most));
        let which = key(&mut random);
        let is_listed = |list: &Option<BTreeSet<_>>| list.as_ref().is_none_or(|keys| keys.contains(&which));
        assert_eq!(read.allows_gateway(&which), is_listed(&charter.lists.gateways));
        assert_eq!(read.allows_model(&which), is_listed(&charter.lists.models));
    }
}

/// Nothing panics on whatever an account may say.
#[test]
fn what_is_not_of_the_scheme_is_refused() {
    let mut random = Random(9);
    for _ in 0..2_000 {
        let mut builder = CellBuilder::new();
        let operations = [0x7267_7072, 0x7267_7665, 0x7267_6170, random.next() as u32];
        builder.store_u32(operations[random.below(4) as usize]).expect("room");
        for _ in 0..random.below(14) {
            builder.store_u64(random.next()).expect("room");
        }
        for _ in 0..random.below(4) {
            builder.store_reference(charter().encode()).expect("room");
        }
        let cell = builder.build().expect("ordinary");
        if let Ok(request) = Request::decode(&cell) {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        assert!(State::decode(&cell).is_err() && Charter::decode(&cell).is_err());
    }
    let longer = |cell: &Cell| {
        let mut builder = CellBuilder::new();
        builder.store_slice(cell.as_slice().expect("ordinary")).expect("room");
        builder.store_bit_one().expect("room");
        builder.build().expect("ordinary")
    };
    assert_eq!(Charter::decode(&longer(&charter().encode())), Err(Malformed::Long));
    let crowd = Charter {
        owners: (0..=MOST_OWNERS).map(|at| [at as u8; 32]).collect(),
        ..charter()
    };
    assert_eq!(Charter::decode(&crowd.encode()), Err(Malformed::Long));
}

fn has_row(row: &str) {
    assert!(
        DOCUMENT.lines().any(|line| line == row),
        "docs/registry.md lacks the row\n{row}"
    );
}

const MEASURED: [(&str, &str, &str); 5] = [
    ("a proposal that two sign", "a whole life", "propose"),
    ("a veto that one signs", "taken back", "veto"),
    ("`apply`", "a whole life", "apply"),
    (
        "a proposal that sixteen sign",
        "sixteen of sixteen",
        "propose by sixteen",
    ),
    ("a charter of 200 models", "size", "two hundred models"),
];

#[test]
fn the_document_says_what_the_code_does() {
    assert_eq!(registry::code().repr_hash().0, CODE_HASH);
    has_row(&format!("| code hash | `{}` |", hex(&CODE_HASH)));
    has_row(&format!(
        "| code | `billing/ton/contracts/registry.boc`, {} bytes |",
        grouped(CODE.len() as u64)
    ));
    for code in thrown(SOURCE) {
        assert!(
            DOCUMENT.contains(&format!("\n| {code} | ")),
            "docs/registry.md lacks {code}"
        );
    }
    let [(_, old), (_, new)] = &recorded();
    let find = |scenarios: &[Scenario], scenario: &str, named: &str| {
        let found = scenarios
            .iter()
            .find(|found| found.name == scenario)
            .expect("it was played");
        let step = found
            .steps
            .iter()
            .rfind(|step| step.name == named && step.exit == Some(0));
        let step = step.expect("it was recorded");
        (step.gas, step.fees())
    };
    for (name, scenario, named) in MEASURED {
        let ((gas, old), (_, new)) = (find(old, scenario, named), find(new, scenario, named));
        has_row(&format!("| {name} | {} | {} | {} |", grouped(gas), ton(old), ton(new)));
    }
    let tests = include_str!("registry.rs");
    let promises: Vec<_> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `registry::"))
        .collect();
    assert!(promises.len() >= 8, "{promises:?}");
    for (_, test) in promises {
        assert!(tests.contains(&format!("fn {test}()")), "{test}");
    }
}
